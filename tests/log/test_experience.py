"""Sequences whose items are made when they are read, and the experience that holds them."""

import pickle

import numpy as np
import pytest

from aamc_sdk import MetaController
from aamc_sdk.log.experience import LazySequence
from aamc_sdk.testing import POOL


def test_items_are_made_when_they_are_read():
    made = []
    lazy = LazySequence("abc", lambda letter: made.append(letter) or letter.upper())
    assert len(lazy) == 3
    assert made == []
    assert lazy[-1] == "C"
    assert made == ["c"]


def test_parts_are_made_when_they_are_read_too():
    lazy = LazySequence(range(5), lambda number: 10 * number)
    assert lazy[1:3] == [10, 20]
    assert isinstance(lazy[1:3], LazySequence)


def test_it_reads_like_a_list():
    lazy = LazySequence([1, 2], str)
    assert list(lazy) == ["1", "2"]
    assert repr(lazy) == "['1', '2']"
    assert lazy == ("1", "2")
    assert lazy != ["1"]
    with pytest.raises(IndexError):
        lazy[2]


@pytest.mark.parametrize("requests", [0, 3])
def test_the_experience_of_a_store_can_go_to_another_process(requests):
    with MetaController.build(router="random", pool=POOL, store="memory:?store_text=true", seed=0) as controller:
        for number in range(requests):
            controller.feedback(controller.route(f"Question {number}").id, quality=0.5)
        given = controller.store.experience()
        found = pickle.loads(pickle.dumps(given))
    for name in ("position", "epoch", "made", "start", "follows", "last"):
        assert getattr(found, name) == getattr(given, name)
    for name in ("queries", "decisions", "entries", "decision_ids", "entries_before", "expected_quality", "replaced"):
        assert list(getattr(found, name)) == list(getattr(given, name))
    assert [record.decision.id for record in found.records] == list(given.decision_ids)
    assert len(found.queries) == requests
    np.testing.assert_array_equal(found.estimates.complexity, given.estimates.complexity)
