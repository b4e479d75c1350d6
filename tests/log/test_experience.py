"""Sequences whose items are made when they are read."""

import pytest

from aamc_sdk.log.experience import LazySequence


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
