from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aamc_bench import grid
from aamc_bench.grid import GridJob, JobsFailed, run_grid, slug

from aamc_sdk.errors import CheckpointError, OutputError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.storage import read_json, write_json

HERE = "bench_jobs"


def jobs(numbers: range, **more: Any) -> list[GridJob]:
    return [GridJob(f"job-{number}", f"{HERE}:square", {"number": number, **more}) for number in numbers]


def runs(folder: Path) -> int:
    """How often any job was begun."""
    return sum(len(path.read_text().splitlines()) for path in folder.glob("jobs/*/began"))


def test_results_come_back_by_key_and_in_order(tmp_path: Path) -> None:
    assert list(run_grid(jobs(range(3)), tmp_path, 2, NoProgress()).items()) == [("job-0", 0), ("job-1", 1), ("job-2", 4)]
    assert runs(tmp_path) == 3


def test_a_second_start_does_no_job_again(tmp_path: Path) -> None:
    run_grid(jobs(range(2)), tmp_path, 2, NoProgress())
    assert run_grid(jobs(range(3)), tmp_path, 1, NoProgress()) == {"job-0": 0, "job-1": 1, "job-2": 4}
    assert runs(tmp_path) == 3


def test_a_job_with_other_arguments_is_refused(tmp_path: Path) -> None:
    run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    with pytest.raises(OutputError, match="made with other arguments"):
        run_grid(jobs(range(1), exponent=3), tmp_path, 1, NoProgress())


@pytest.mark.parametrize("content", ["", '{"schema": 1, "argu', "[]", "{}", '{"arguments": {"number": 0}}'])
def test_a_damaged_result_is_refused_with_the_file_to_delete(tmp_path: Path, content: str) -> None:
    file = tmp_path / "jobs" / "job-0.json"
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(CheckpointError) as refused:
        run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    assert str(refused.value).startswith(f"{file} ")
    assert str(refused.value).endswith(f"; delete {file}, and do its job again with --resume {tmp_path}")
    file.unlink()
    assert run_grid(jobs(range(1)), tmp_path, 1, NoProgress()) == {"job-0": 0}


@pytest.mark.parametrize("result", [None, {}, 5])
def test_a_result_that_was_changed_is_refused(tmp_path: Path, result: object) -> None:
    run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    file = tmp_path / "jobs" / "job-0.json"
    write_json(file, read_json(file) | {"result": result})
    with pytest.raises(CheckpointError, match=r"job-0\.json was changed after it was written; delete .*job-0\.json, and do its job again"):
        run_grid(jobs(range(1)), tmp_path, 1, NoProgress())


def test_a_job_of_an_earlier_version_without_a_result_is_done_again(tmp_path: Path) -> None:
    run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    file = tmp_path / "jobs" / "job-0.json"
    write_json(file, {"schema": 1, "arguments": read_json(file)["arguments"], "result": None})
    assert run_grid(jobs(range(1)), tmp_path, 1, NoProgress()) == {"job-0": 0}


def test_a_file_of_a_job_that_was_changed_is_named_with_the_result_to_delete(tmp_path: Path) -> None:
    run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    (tmp_path / "jobs" / "job-0" / "began").write_text("garbage")
    with pytest.raises(
        CheckpointError, match=r"job-0/began was changed after it was written, or its saved hash was; delete .*job-0\.json, and do its job again"
    ):
        run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    (tmp_path / "jobs" / "job-0.json").unlink()
    assert run_grid(jobs(range(1)), tmp_path, 1, NoProgress()) == {"job-0": 0}


def test_a_result_is_kept_even_if_its_function_has_been_renamed(tmp_path: Path) -> None:
    run_grid(jobs(range(1)), tmp_path, 1, NoProgress())
    assert run_grid([GridJob("job-0", f"{HERE}:talk", {"number": 0})], tmp_path, 1, NoProgress()) == {"job-0": 0}


def test_a_job_that_exits_fails_with_its_status(tmp_path: Path) -> None:
    with pytest.raises(JobsFailed, match="SystemExit: 3"):
        run_grid([GridJob("exits", f"{HERE}:leave")], tmp_path, 1, NoProgress())


def test_a_job_that_fails_stops_no_other(tmp_path: Path) -> None:
    with pytest.raises(JobsFailed, match="1 of 3 jobs failed, first job-1: ValueError: unlucky 1") as caught:
        run_grid(jobs(range(3), unlucky=1), tmp_path, 1, NoProgress())
    assert caught.value.results == {"job-0": 0, "job-2": 4}
    assert "Traceback" in (tmp_path / "jobs" / "job-1.log").read_text()


def test_a_job_that_is_killed_stops_no_other(tmp_path: Path) -> None:
    with pytest.raises(JobsFailed, match="killed by signal 9"):
        run_grid([GridJob("dies", f"{HERE}:die"), *jobs(range(1))], tmp_path, 1, NoProgress())
    assert run_grid(jobs(range(1)), tmp_path, 1, NoProgress()) == {"job-0": 0}


def test_workers_keep_what_they_print_to_themselves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_grid([GridJob("talks", f"{HERE}:talk")], tmp_path, 1, NoProgress())
    assert "aloud" not in "".join(capfd.readouterr())
    assert "said aloud" in (tmp_path / "jobs" / "talks.log").read_text()


@pytest.mark.parametrize(("said", "expected"), [(None, 1), ("2", 2)])
def test_workers_share_the_cores_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, expected: int
) -> None:
    monkeypatch.setattr(grid, "_cores", lambda: 2)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv(grid.THREADS, raising=False)
    if said is not None:
        monkeypatch.setenv(grid.THREADS, said)
    found = run_grid([GridJob(name, f"{HERE}:count_threads") for name in ("a", "b")], tmp_path, 2, NoProgress())
    assert found == dict.fromkeys("ab", min(expected, cores()))
    assert os.environ.get(grid.THREADS) == said


def cores() -> int:
    return len(os.sched_getaffinity(0))


SCRIPT = f"""
import signal, sys
from pathlib import Path
from aamc_bench import grid
from aamc_bench.grid import GridJob, run_grid
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.storage import read_json, write_json
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests in the background has it ignored
    jobs = [GridJob("quick", "{HERE}:square", {{"number": 2}}), GridJob("slow", "{HERE}:wait", {{"seconds": 300}})]
    run_grid(jobs, Path(sys.argv[1]), 1, NoProgress())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_is_done_survives_a_stop_and_no_job_outlives_it(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "grid.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "grid"
    process = subprocess.Popen(
        [sys.executable, script, folder], env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)}, stderr=subprocess.DEVNULL
    )
    pid = int(until(lambda: folder.joinpath("jobs", "slow", "pid").read_text()))
    process.send_signal(how)
    process.wait(60)
    until(lambda: gone(pid))
    assert runs(folder) == 1
    assert run_grid([GridJob("quick", f"{HERE}:square", {"number": 2})], folder, 1, NoProgress()) == {"quick": 4}
    assert runs(folder) == 1


def until(condition: Any, seconds: float = 120) -> Any:
    """Wait for something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if result := condition():
                return result
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("key", ["", "a/b", "../a", "a b", ".hidden"])
def test_a_key_that_names_no_file_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="names its files"):
        GridJob(key, "x:y")


def test_any_text_becomes_part_of_a_key() -> None:
    assert slug("llmrouter:../data/My Set/") == "llmrouter-..-data-My-Set"
