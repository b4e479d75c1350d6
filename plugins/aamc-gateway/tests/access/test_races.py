"""Several processes share one budget: what they admit together fits into it, whatever becomes of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

lasting_backend = pytest.mark.parametrize("store_url", ["sqlite", "redis", "postgres"], indirect=True)
SCRIPT = Path(__file__).parent / "budget_process.py"


class Worker:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.read()


@contextmanager
def worker(url: str, lease_s: float = 30.0) -> Iterator[Worker]:
    command = [sys.executable, str(SCRIPT), url, str(lease_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
            if process.poll() is None:
                process.communicate("end\n", timeout=60)
        finally:
            process.kill()


def admit_in_the_end(one: Worker, count: int) -> None:
    """Admit requests, some of which fit only after another process's lease has ended."""
    end = time.monotonic() + 60
    while count:
        assert time.monotonic() < end
        count -= int(one.ask(f"admit {count}"))


@lasting_backend
def test_processes_that_race_for_a_budget_worth_ten_admit_ten(store_url: str) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(store_url)) for _ in range(3)]
        for one in workers:
            one.tell("admit 50")
        admitted = [int(one.read()) for one in workers]
        assert sum(admitted) == 10
        for one in workers:
            assert one.ask("settle 0.05") == "settled"
        for one in workers:
            one.tell("admit 50")
        assert sum(int(one.read()) for one in workers) == 5


@lasting_backend
def test_what_a_killed_process_had_reserved_is_given_back(store_url: str) -> None:
    with worker(store_url) as survivor, worker(store_url, lease_s=1.0) as killed:
        assert killed.ask("admit 4") == "4"
        assert killed.ask("settle 0.1") == "settled"
        assert killed.ask("admit 6") == "6"
        assert survivor.ask("admit 1") == "0"
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        admit_in_the_end(survivor, 6)
        assert survivor.ask("admit 1") == "0"  # what was settled stays charged


@lasting_backend
def test_a_process_that_was_frozen_longer_than_its_lease_is_still_charged(store_url: str) -> None:
    with worker(store_url) as other, worker(store_url, lease_s=1.0) as frozen:
        assert frozen.ask("admit 10") == "10"
        frozen.process.send_signal(signal.SIGSTOP)
        admit_in_the_end(other, 4)
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.ask("settle 0.06") == "settled"
        assert other.ask("settle 0.06") == "settled"  # 0.84 of 1 USD are spent
        assert other.ask("admit 5") == "1"
