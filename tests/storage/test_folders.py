from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from aamc_sdk.errors import OutputError
from aamc_sdk.storage import locked, path_inside


def test_two_processes_cannot_write_one_folder(tmp_path) -> None:
    holder = (
        "import sys, pathlib\nfrom aamc_sdk.storage.folders import locked\nwith locked(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OutputError, match="another process is writing"), locked(tmp_path / "run"):
            pytest.fail("two hold the lock")
        process.kill()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_a_new_folder_is_taken_and_let_go_of_by_many(tmp_path) -> None:
    together = threading.Barrier(6)

    def take(_: int) -> int:
        together.wait()
        held = 0
        for _ in range(100):
            with suppress(OutputError), locked(tmp_path / "run"):
                held += 1
        return held

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(take, range(6))) > 0


def test_a_folder_that_cannot_be_locked_is_an_error(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OutputError, match=r"cannot lock .*Operation not supported"), locked(tmp_path / "run"):
        pytest.fail("it is not held")


def test_a_path_inside_a_folder_must_not_lead_out_of_it_by_links(tmp_path) -> None:
    folder, latest = tmp_path / "run", tmp_path / "latest"
    (folder / "figures").mkdir(parents=True)
    latest.symlink_to(folder)
    (folder / "inner.html").symlink_to("report.html")
    for names in (("report.html",), ("inner.html",), ("figures", "cost.png")):
        assert path_inside(latest, *names) == latest.joinpath(*names)
    (folder / "outer.html").symlink_to(tmp_path / "missing")
    (folder / "elsewhere").symlink_to(tmp_path)
    for names in (("outer.html",), ("elsewhere", "cost.png")):
        with pytest.raises(OutputError, match=r"a link leads to .*, out of .*; remove the link"):
            path_inside(folder, *names)
