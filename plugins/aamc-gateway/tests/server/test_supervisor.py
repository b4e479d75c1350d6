"""The processes of a gateway."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.server.processes.supervisor import _Workers
from aamc_gateway.testing import GatewayProcess
from forked_gateway import ForkedGateway

ECHO = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}


class Worker:
    """A process during whose start the gateway is asked to end."""

    exitcode = -signal.SIGTERM

    def __init__(self, workers: _Workers) -> None:
        self._workers, self.pid = workers, None
        self.ends = False

    def start(self) -> None:
        self._workers.ending = True
        self._workers.signal(signal.SIGTERM)

    def is_alive(self) -> bool:
        return not self.ends

    def terminate(self) -> None:
        self.ends = True


def test_a_gateway_that_is_asked_to_end_while_a_worker_starts_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = _Workers(cast("Any", None), 2, socket.socket(), lambda: None)
    made: list[Worker] = []

    def process(**_: Any) -> Worker:
        made.append(Worker(workers))
        return made[-1]

    monkeypatch.setattr(workers._context, "Process", process)
    monkeypatch.setattr(workers, "_pause", lambda: pytest.fail("it waits for a worker that was not asked to end"))
    assert workers.watch() == 0
    assert [each.ends for each in made] == [True]


def test_a_gateway_whose_workers_never_serve_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("gateway: {limitz: {}}\n")
    workers = _Workers(Launch(config=str(file)), 1, socket.socket(), lambda: pytest.fail("no worker serves"))
    assert workers.watch() == 1
    assert caplog.messages[-1] == "no worker has started in 3 tries, so the gateway ends; the errors above say why"


@pytest.mark.parametrize("serving", [True, False])
def test_a_worker_that_ends_is_started_again_as_long_as_one_has_served(monkeypatch: pytest.MonkeyPatch, serving: bool) -> None:
    workers = _Workers(cast("Any", None), 1, socket.socket(), lambda: None)
    if serving:
        workers._ready.release()
    monkeypatch.setattr("aamc_gateway.server.processes.supervisor._RESTART_S", 0.01)
    made: list[Worker] = []

    def process(**_: Any) -> Worker:
        made.append(Worker(workers))
        made[-1].ends, made[-1].exitcode = True, 0
        monkeypatch.setattr(made[-1], "start", lambda: None if len(made) < 10 else Worker.start(made[-1]))
        return made[-1]

    monkeypatch.setattr(workers._context, "Process", process)
    assert workers.watch() == (0 if serving else 1)
    assert len(made) == (10 if serving else 3)


def test_a_worker_that_keeps_ending_leaves_the_others_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = _Workers(cast("Any", None), 2, socket.socket(), lambda: None)
    monkeypatch.setattr("aamc_gateway.server.processes.supervisor._RESTART_S", 0.01)
    made: list[Worker] = []

    def process(**_: Any) -> Worker:
        made.append(Worker(workers))
        starts_slowly = len(made) == 2
        made[-1].ends, made[-1].exitcode = not starts_slowly, 0
        if starts_slowly:
            monkeypatch.setattr(made[-1], "is_alive", lambda: not workers.ending)
        monkeypatch.setattr(made[-1], "start", lambda: None if len(made) < 12 else Worker.start(made[-1]))
        return made[-1]

    monkeypatch.setattr(workers._context, "Process", process)
    assert workers.watch() == 0
    assert len(made) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_that_is_asked_to_end_ends(tmp_path: Path, workers: int) -> None:
    """It waits for its pool, a pipe. Without a handler the signal would end it too, but not the first process of a container."""
    gateway = ForkedGateway(tmp_path, [ECHO], settings={"workers": workers})
    (tmp_path / "pool.yaml").unlink()
    os.mkfifo(tmp_path / "pool.yaml")
    gateway.process = gateway._launched()
    try:
        with (tmp_path / "pool.yaml").open("w"):  # returns when the start reads
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(60) == 0
    finally:
        gateway.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux shows the limits of other processes")
@pytest.mark.one_python
def test_a_worker_may_open_as_many_files_as_its_hard_limit_allows(tmp_path: Path) -> None:
    """Beyond the soft limit, often 1,024, connections would be closed at once, without a line in the log."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        with GatewayProcess(tmp_path, [ECHO]) as gateway:
            assert resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
