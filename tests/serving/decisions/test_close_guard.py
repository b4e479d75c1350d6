"""The guard whose closing waits for the work in progress."""

import threading

import pytest

from aamc_sdk.errors import StoreError
from aamc_sdk.serving.decisions.close_guard import CloseGuard


def shut(door):
    """Return whether a guard admits no work."""
    try:
        with door:
            return False
    except StoreError:
        return True


def test_closing_waits_for_what_is_inside_and_lets_nothing_more_in():
    door, closed = CloseGuard(), threading.Event()
    closing = threading.Thread(target=lambda: (door.close(), closed.set()))
    with door, door:
        closing.start()
        while not shut(door):
            assert not closed.is_set()
        with pytest.raises(StoreError, match="the controller is closed"), door:
            pytest.fail("the door let work in")
        assert not closed.wait(0.05)
    assert closed.wait(60)
    closing.join()


def test_work_that_fails_leaves_the_room_and_closing_twice_does_nothing():
    door = CloseGuard()
    with pytest.raises(ZeroDivisionError), door:
        _ = 1 / 0
    door.close()
    door.close()
