"""Rows with groups, such as users: whole groups go to one split, and the leak guard knows them."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.data import TrainingFingerprint, row_names
from aamc_experiments.data.splits import split_groups
from aamc_experiments.leak_guard import leave_out_trained_rows

from aamc_sdk import Dataset, Query
from aamc_sdk.errors import DataError


def test_whole_groups_are_divided_and_every_split_has_one() -> None:
    groups = [f"user {n % 5}" for n in range(50)]
    rows = split_groups(groups, seed=1)
    found = {name: {groups[row] for row in own} for name, own in rows.items()}
    assert sorted(len(users) for users in found.values()) == [1, 1, 3]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(50))
    with pytest.raises(DataError, match="2 groups of rows, such as users, and 3 are needed"):
        split_groups(["a", "b"], seed=1)


def test_rows_of_trained_groups_are_left_out_though_their_questions_are_new() -> None:
    trained = Dataset([Query("one"), Query("two")], groups=["ann", "bob"])
    tested = Dataset([Query("three"), Query("one")], groups=["ann", "carl"])
    kept = leave_out_trained_rows(tested, [TrainingFingerprint.of(row_names(trained))], strict=False)
    assert kept.rows.groups == ["carl"]
    assert kept.dropped == 1
