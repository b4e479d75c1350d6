"""``aamc complete --stream`` against servers of both dialects: the text as it comes, fallback, and an interruption."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aamc_models.testing import Script, StubServer

from aamc_sdk import get_plugin_manager
from aamc_sdk.log import open_store
from aamc_sdk.testing import run_command
from aamc_sdk.types import Attempt

PRICES = "prices: {input: 1.0, output: 2.0}"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


def write_pool(stub: StubServer, folder: Path, *names: str, provider: str = "openai") -> Path:
    endpoint = f"endpoint: {{provider: {provider}, base_url: '{stub.url}/v1', retries: 0}}"
    path = folder / "pool.yaml"
    path.write_text("candidates:\n" + "".join(f"  - {{name: {name}, {PRICES}, {endpoint}}}\n" for name in names))
    return path


def attempts(url: str) -> list[Attempt]:
    with closing(open_store(url, get_plugin_manager())) as store:
        return list(store.experience(0).attempts)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_stream_is_printed_priced_and_logged(provider: str, stub: StubServer, tmp_path: Path) -> None:
    stub.default = Script(text="In Paris, of course.", prompt_tokens=100, output_tokens=50)
    pool, store = write_pool(stub, tmp_path, "only", provider=provider), f"sqlite:{tmp_path / 'state.db'}"
    status, out, err = run_command("complete", "Where?", "--pool", str(pool), "--store", store, "--stream", "--option", "temperature=0.5")
    assert (status, out) == (0, "In Paris, of course.\n"), err
    (attempt,) = attempts(store)
    assert (attempt.cost_usd, attempt.cost_source) == (pytest.approx((100 + 50 * 2) / 1e6), "priced")
    assert 0 < attempt.first_token_ms <= attempt.latency_ms
    assert (stub.requests[0].body["temperature"], stub.requests[0].body["stream"]) == (0.5, True)


def test_an_answer_that_breaks_off_is_an_error_and_its_text_is_not_told_twice(stub: StubServer, tmp_path: Path) -> None:
    stub.default = Script(text="In Paris, of course.", fault="cut")
    pool = write_pool(stub, tmp_path, "first", "second")
    status, out, err = run_command("complete", "Where?", "--pool", str(pool), "--stream")
    assert status == 1
    assert out.startswith("In Paris")
    assert "cut its answer" in err
    assert len(stub.requests) == 1


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_broken_event_is_a_failed_call_and_no_gap_in_the_answer(provider: str, stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["first"] = Script(text="In Paris, of course.", fault="bad_json")
    pool, store = write_pool(stub, tmp_path, "first", provider=provider), f"sqlite:{tmp_path / 'state.db'}"
    status, out, err = run_command("complete", "Where?", "--pool", str(pool), "--store", store, "--stream")
    assert (status, out) == (1, ""), err
    assert "model 'first' sent a broken event: " in err
    assert [(attempt.status, attempt.candidate) for attempt in attempts(store)] == [("error", "first")]
    pool = write_pool(stub, tmp_path, "first", "second", provider=provider)
    assert all(run_command("complete", "Where?", "--pool", str(pool), "--stream")[0] == 0 for _ in range(4))


def test_an_interruption_ends_the_call_at_the_server_and_is_logged(stub: StubServer, tmp_path: Path) -> None:
    stub.default = Script(text="one two three four five six seven eight", chunks=8, pace_ms=2000, output_tokens=8)
    pool, store = write_pool(stub, tmp_path, "slow"), f"sqlite:{tmp_path / 'state.db'}"
    listens = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # tests that run in the background have it ignored
    program = f"import signal; {listens}; from aamc_sdk.cli import main; main()"
    command = [sys.executable, "-c", program, "complete", "Count", "--pool", str(pool), "--store", store, "--stream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    assert process.stdout.read(3) == b"one"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert b"interrupted" in err
    assert stub.wait(lambda stub: stub.counts("slow").cancelled == 1)
    (attempt,) = attempts(store)
    assert (attempt.status, attempt.cost_source) == ("cancelled", "estimated")
    assert not math.isnan(attempt.cost_usd)


def test_a_closed_pipe_ends_the_call_at_the_server_and_is_logged(stub: StubServer, tmp_path: Path) -> None:
    stub.default = Script(text="one two three four five six seven eight", chunks=8, pace_ms=500, output_tokens=8)
    pool, store = write_pool(stub, tmp_path, "slow"), f"sqlite:{tmp_path / 'state.db'}"
    command = [sys.executable, "-m", "aamc_sdk.cli", "complete", "Count", "--pool", str(pool), "--store", store, "--stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"one"
        process.stdout.close()
        process.wait(60)
    (attempt,) = attempts(store)
    assert (attempt.status, attempt.cost_source) == ("cancelled", "estimated")
