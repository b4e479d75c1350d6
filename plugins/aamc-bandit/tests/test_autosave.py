"""Saving now and then: on time, at the end, and after failures."""

from __future__ import annotations

import threading
import time

from aamc_bandit.thompson.autosave import AutoSave

from aamc_sdk.errors import OutputError


class Disk:
    """Counts what is saved; fails while it is full."""

    def __init__(self, full: bool = False) -> None:
        self.saved = 0
        self.full = full
        self.tried = threading.Semaphore(0)

    def save(self) -> None:
        try:
            if self.full:
                raise OutputError("no space left; free some space")
            self.saved += 1
        finally:
            self.tried.release()


def test_it_saves_every_so_often_and_once_more_at_the_end() -> None:
    disk = Disk()
    auto = AutoSave(disk.save, 0.01)
    assert all(disk.tried.acquire(timeout=60) for _ in range(3))
    auto.close()
    saved = disk.saved
    auto.close()
    time.sleep(0.05)
    assert disk.saved == saved >= 4


def test_a_long_interval_does_not_hold_up_the_end() -> None:
    disk = Disk()
    began = time.monotonic()
    AutoSave(disk.save, 3600).close()
    assert disk.saved == 1
    assert time.monotonic() - began < 10


def test_a_full_disk_is_told_once_and_tried_again(caplog) -> None:
    disk = Disk(full=True)
    auto = AutoSave(disk.save, 0.01)
    assert all(disk.tried.acquire(timeout=60) for _ in range(3))
    disk.full = False
    auto.close()
    assert disk.saved >= 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "free some space" in messages[0]
    assert "saved again" in messages[1]


def test_an_error_that_nobody_foresaw_does_not_end_saving(caplog) -> None:
    fails, saved = [ZeroDivisionError("a mistake of ours"), RuntimeError("the log is away")], threading.Event()

    def save() -> None:
        if fails:
            raise fails.pop()
        saved.set()

    auto = AutoSave(save, 0.01)
    assert saved.wait(60)
    auto.close()
    assert "a mistake of ours" in caplog.text
    assert "Traceback" in caplog.text
