"""Rows with groups, such as users: whole groups go to one split, and the leak guard knows them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_experiments.data import decision_name
from aamc_experiments.data.splits import read_splits, split_groups
from aamc_experiments.leak_guard import fingerprint_of, leave_out_trained_rows
from aamc_experiments.settings import read_settings

from aamc_sdk import Dataset, DatasetFormat, Decision, Estimates, Experience, ModelSpec, Outcomes, Pool, Preference, Query
from aamc_sdk.errors import DataError


class Given(DatasetFormat):
    """A dataset that is there already."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def read(self, path: str) -> Dataset:
        return self._dataset


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


def test_rows_without_a_group_are_divided_by_their_questions() -> None:
    queries = [Query(f"question {n // 2}") for n in range(200)]
    groups = ["" if n < 100 else f"user {n % 10}" for n in range(200)]
    unknown = np.full((200, 1), np.nan)
    rows = Dataset(queries, pool=Pool([ModelSpec("a")]), outcomes=Outcomes(unknown, unknown, unknown), groups=groups)
    splits = read_splits(read_settings({"dataset": "a"}), lambda _: Given(rows))
    assert sum(len(split) for split in splits.values()) == 200
    sides = [{group or query.text for group, query in zip(split.groups or (), split.queries, strict=True)} for split in splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 60
    for split in splits.values():  # folds keep questions together
        assert len(set(split.question_groups.tolist())) == len({query.text for query in split.queries})


def test_test_rows_with_questions_that_other_users_asked_in_training_are_counted(caplog) -> None:
    users = [f"user {n}" for n in range(10)]
    shared, own = [Query("What is the capital of France?")] * 10, [Query(f"{user}'s question") for user in users]
    splits = read_splits(read_settings({"dataset": "a"}), lambda _: Given(Dataset([*shared, *own], groups=users * 2)))
    assert sorted(query.text for query in splits["test"].queries if "capital" in query.text) == [shared[0].text] * 2
    assert "2 of 4 test rows have questions, or near-duplicates of questions, that other users asked in training" in caplog.text
    caplog.clear()
    read_splits(read_settings({"dataset": "a"}), lambda _: Given(Dataset([*own, *own], groups=users * 2)))
    assert caplog.text == ""


def test_rows_of_groups_with_a_question_of_other_test_rows_are_left_out() -> None:
    users = Dataset([Query(f"question {n // 3}") for n in range(60)], groups=[f"user {n % 3}" for n in range(60)])
    given = {"a": users, "b": Dataset([Query("question 0"), Query("question 1")])}
    splits = read_splits(read_settings({"dataset": "a", "test_dataset": "b"}), lambda source: Given(given[source.name]))
    assert sum(len(split) for split in splits.values()) == 60 - 6 + 2
    assert not {query.text for name in ("train", "validation") for query in splits[name].queries} & {"question 0", "question 1"}


def test_the_fingerprint_knows_the_users_of_rows_that_are_divided_by_question() -> None:
    trained = Dataset([Query("one", user="ann"), Query("two", user="bob", tenant="acme"), Query("three")])
    tested = Dataset([Query(text) for text in ["four", "five", "six", "seven"]], groups=["ann", "acme\0bob", "bob", ""])
    kept = leave_out_trained_rows(tested, [fingerprint_of({"train": trained})], strict=False)
    assert kept.rows.groups == ["bob", ""]
