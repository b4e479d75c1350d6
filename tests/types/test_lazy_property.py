"""The property that is computed once and takes no lock."""

import multiprocessing
import os
import threading

import pytest

from aamc_sdk.types import Candidate, Pool, lazy_property
from aamc_sdk.types.pools import PoolArrays


def test_a_lazy_property_is_computed_once_and_described_by_its_docstring():
    class Owner:
        computed = 0

        @lazy_property
        def number(self):
            """The number."""
            self.computed += 1
            return object()

    owner = Owner()
    assert owner.number is owner.number
    assert (owner.computed, Owner().computed, Owner.number.__doc__) == (1, 0, "The number.")


def _read_in_child(results):
    results.put(len(Pool([Candidate("child's")]).arrays.window))


def test_a_child_forked_while_a_thread_computes_a_pools_arrays_computes_those_of_another_pool(monkeypatch: pytest.MonkeyPatch):
    parent, arrays_of, computing, end = os.getpid(), PoolArrays.of, threading.Event(), threading.Event()

    def of(candidates):
        if os.getpid() == parent:
            computing.set()
            assert end.wait(60)
        return arrays_of(candidates)

    monkeypatch.setattr(PoolArrays, "of", of)
    thread = threading.Thread(target=lambda: Pool([Candidate("parent's")]).arrays)
    thread.start()
    assert computing.wait(60)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(results,), daemon=True)
    child.start()
    try:
        assert results.get(timeout=30) == 1
    finally:
        child.kill()
        end.set()
        thread.join()
        child.join()
