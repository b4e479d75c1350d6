"""Rows with groups, such as users: whole groups go to one split, and the leak guard knows them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_experiments.data import decision_name
from aamc_experiments.data.splits import split_groups
from aamc_experiments.leak_guard import fingerprint_of, leave_out_trained_rows

from aamc_sdk import Dataset, Decision, Estimates, Experience, Preference, Query
from aamc_sdk.errors import DataError

TRAINED = Dataset([Query("one"), Query("two")], groups=["ann", "bob"])


def test_whole_groups_are_divided_and_every_split_has_one() -> None:
    groups = [f"user {n % 5}" for n in range(50)]
    rows = split_groups(groups, seed=1)
    found = {name: {groups[row] for row in own} for name, own in rows.items()}
    assert sorted(len(users) for users in found.values()) == [1, 1, 3]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(50))
    with pytest.raises(DataError, match="2 groups of rows, such as users, and 3 are needed"):
        split_groups(["a", "b"], seed=1)


def test_rows_of_trained_groups_are_left_out_though_their_questions_are_new() -> None:
    tested = Dataset([Query("three"), Query("one")], groups=["ann", "carl"])
    kept = leave_out_trained_rows(tested, [fingerprint_of({"train": TRAINED})], strict=False)
    assert kept.rows.groups == ["carl"]
    assert kept.dropped == 1


def test_rows_without_groups_are_left_out_if_a_group_asked_their_questions_in_training() -> None:
    fingerprint = fingerprint_of({"train": TRAINED})
    assert leave_out_trained_rows(Dataset([Query("ONE "), Query("three")]), [fingerprint], strict=False).rows.queries == [Query("three")]
    assert fingerprint.contains([decision_name("any")]).tolist() == [False]


def test_rows_of_groups_without_text_are_known_by_their_decisions() -> None:
    queries = [Query("one"), Query("")]
    experience = Experience(2, queries, Estimates.unknown(2), [Decision(name, "a", 1.0, Preference()) for name in ("d1", "d2")])
    fingerprint = fingerprint_of({"train": attrs.evolve(TRAINED, queries=queries, experience=experience)})
    assert fingerprint.contains([decision_name("d2"), decision_name("d1")]).tolist() == [True, False]
