"""Entries that are kept by their last mention, and copies that follow them."""

from __future__ import annotations

import random
from copy import deepcopy

import pytest
from aamc_bandit.recent_entries import RecentEntries


def test_the_entry_that_was_mentioned_longest_ago_goes_first() -> None:
    entries: RecentEntries[list[int]] = RecentEntries(2)
    for name in ("a", "b", "a", "c"):
        entries.mention(name, list)
    assert list(entries) == ["a", "c"]


def test_entries_beyond_the_limit_are_not_taken() -> None:
    assert list(RecentEntries(2, [("a", 1), ("b", 2), ("c", 3)])) == ["b", "c"]


def test_deltas_hold_only_what_was_mentioned_or_altered() -> None:
    entries = RecentEntries(9, [("a", 1), ("b", 2), ("c", 3)])
    entries.mark_unchanged()
    entries.put("b", 5)
    entries["a"] = 4
    entries.altered("a")
    assert entries.delta() == {"latest": {"b": 5}, "altered": {"a": 4}}
    assert entries.delta() == {"latest": {}, "altered": {}}


def test_a_copy_follows_whatever_happens() -> None:
    drawn = random.Random(1)
    for limit in (1, 3, 8):
        entries: RecentEntries[list[int]] = RecentEntries(limit)
        copy: RecentEntries[list[int]] = RecentEntries(limit)
        for _ in range(400):
            name = str(drawn.randrange(12))
            if drawn.random() < 0.7:
                entries.mention(name, list).append(drawn.randrange(9))
            elif name in entries:
                entries[name].append(-1)
                entries.altered(name)
            if drawn.random() < 0.2:
                copy.apply_delta(deepcopy(entries.delta()))
                assert list(copy.items()) == list(entries.items())


def test_incomplete_deltas_change_nothing() -> None:
    entries = RecentEntries(9, [("a", 1)])
    with pytest.raises(KeyError, match="altered"):
        entries.apply_delta({"latest": {"a": 2}})
    assert entries == {"a": 1}
