"""The gate between a controller's work and its end."""

import threading

import pytest

from aamc_sdk.errors import StoreError
from aamc_sdk.gate import Gate


def test_closing_waits_for_what_is_inside_and_lets_nothing_more_in():
    gate, closed = Gate(), threading.Event()
    closing = threading.Thread(target=lambda: (gate.close(), closed.set()))
    with gate, gate:
        closing.start()
        assert not closed.wait(0.05)
        with pytest.raises(StoreError, match="the controller is closed"), gate:
            pytest.fail("the gate let work in")
    assert closed.wait(10)
    closing.join()


def test_work_that_fails_leaves_the_gate_and_closing_twice_does_nothing():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate:
        _ = 1 / 0
    gate.close()
    gate.close()
