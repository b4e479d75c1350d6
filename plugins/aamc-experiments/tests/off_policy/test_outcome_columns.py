"""The columns of logged outcomes: those of the decisions' records, from every store, without reading more than was asked for."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.off_policy import OUTCOME_COLUMNS, LoggedColumns, read_outcome_columns

from aamc_sdk.errors import DataError, StoreError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store, outcomes
from aamc_sdk.plugins import Plugins
from aamc_sdk.types import (
    Attempt,
    Decision,
    Estimates,
    Feedback,
    Outcomes,
    Preference,
    Query,
    Record,
)

PLUGINS = Plugins()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory:?store_text=true" if request.param == "memory" else f"sqlite:{tmp_path / 'log.db'}?store_text=true"
    with closing(open_store(url, PLUGINS)) as opened:
        yield opened


def record(name: str, **fields: Any) -> Record:
    """Return a decision between a, b and c for b."""
    usual = {"propensity": 0.25, "preference": Preference(5, 2.5, 2.5), "probabilities": {"b": 0.25, "a": 0.75}, "router": "tiny", "time": 12.5}
    return Record(
        decision=Decision(name, "b", **{**usual, **fields}),
        query=Query("What is it?", user="ann", needs={"tools"}, tenant="acme"),
        estimates=Estimates(
            np.array([0.25]), np.array([[0.75, 0.25]]), ("code", "chat"), np.array([math.nan]), np.array([[0.5, -1.5]], dtype=np.float32), "one"
        ),
        candidates=("a", "b", "c"),
        expected=Outcomes(None, np.array([[0.1, 0.2, math.nan]]), np.array([[1.0, 2.0, 3.0]])),
        wait_ms=np.array([[0.0, 5.0, 0.0]]),
        masked_why={"c": "over budget"},
    )


def other(name: str) -> Record:
    """Return a decision between d and b for b, of another estimator, without a draw."""
    return attrs.evolve(
        record(name, propensity=1.0, probabilities={}, time=20.0),
        query=Query("", turns=()),
        estimates=Estimates(np.array([0.5]), np.array([[1.0]]), ("maths",), np.array([0.0]), np.array([[1.0, 2.0, 3.0]], dtype=np.float32), "two"),
        candidates=("d", "b"),
        expected=Outcomes(np.array([[0.5, 0.75]]), np.array([[0.1, 0.2]]), np.array([[1.0, 2.0]]), output_tokens=np.array([[64.0, 32.0]])),
        wait_ms=np.array([[0.0, 5.0]]),
        in_flight=np.array([[1.0, 2.0]]),
        pressure=np.array([[0.5, 0.0]]),
        masked_why={},
        preference_given=False,
    )


def test_each_column_is_that_of_the_decisions_records(store: Store) -> None:
    notes = {"spent_usd": 0.5, "spent_ms": "a router's own note"}
    store.add_decisions([record("d", notes=notes), other("e"), record("u", propensity=math.nan)])
    found = read_outcome_columns(store, OUTCOME_COLUMNS)
    assert (found.names, found.category_names, found.pools) == (("a", "b", "c", "d"), ("code", "chat", "maths"), (("a", "b", "c"), ("d", "b")))
    assert found.pool.tolist() == [0, 1, 0]
    nan = math.nan
    expected = {
        "time": [12.5, 20.0, 12.5],
        "preference": [[0.5, 0.25, 0.25]] * 3,
        "preference_given": [True, False, True],
        "spent_usd": [0.5, 0.0, 0.0],
        "spent_ms": [0.0, 0.0, 0.0],
        "probabilities": [[0.75, 0.25, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [nan] * 4],
        "expected_quality": [[nan] * 4, [nan, 0.75, nan, 0.5], [nan] * 4],
        "expected_cost_usd": [[0.1, 0.2, nan, nan], [nan, 0.2, nan, 0.1], [0.1, 0.2, nan, nan]],
        "expected_latency_ms": [[1.0, 2.0, 3.0, nan], [nan, 2.0, nan, 1.0], [1.0, 2.0, 3.0, nan]],
        "expected_output_tokens": [[nan] * 4, [nan, 32.0, nan, 64.0], [nan] * 4],
        "wait_ms": [[0.0, 5.0, 0.0, nan], [nan, 5.0, nan, 0.0], [0.0, 5.0, 0.0, nan]],
        "in_flight": [[nan] * 4, [nan, 2.0, nan, 1.0], [nan] * 4],
        "pressure": [[nan] * 4, [nan, 0.0, nan, 0.5], [nan] * 4],
        "mask": [[True, True, False, False], [False, True, False, True], [True, True, False, False]],
        "complexity": [0.25, 0.5, 0.25],
        "tool_use": [nan, 0.0, nan],
        "categories": [[0.75, 0.25, nan], [nan, nan, 1.0], [0.75, 0.25, nan]],
        "embedding": [[0.5, -1.5, nan], [1.0, 2.0, 3.0], [0.5, -1.5, nan]],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    lists = {
        "tenant": ["acme", None, "acme"],
        "router": ["tiny"] * 3,
        "text": ["What is it?", "", "What is it?"],
        "masked_why": [{"c": "over budget"}, {}, {"c": "over budget"}],
        "estimator": ["one", "two", "one"],
        "query": [store.record(name).query for name in ("d", "e", "u")],
    }
    assert {name: list(found[name]) for name in lists} == lists
    assert expected.keys() | lists.keys() == OUTCOME_COLUMNS.keys()


def test_the_columns_do_not_depend_on_the_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_decisions([record("d"), record("u", propensity=math.nan), other("e"), other("f"), record("g")])
    ours = read_outcome_columns(store, OUTCOME_COLUMNS)
    monkeypatch.setattr(outcomes, "JOINED_AT_ONCE", 4)  # so that later decisions bring candidates that earlier arrays do not have
    theirs = read_outcome_columns(store, OUTCOME_COLUMNS)
    assert_same_columns(ours, theirs)


def test_an_unknown_column_is_refused_with_the_nearest(store: Store) -> None:
    with pytest.raises(DataError, match=r"no column 'probability'.*probabilities"):
        read_outcome_columns(store, ["probability"])
    with pytest.raises(DataError, match="was not requested"):
        read_outcome_columns(store, ["query"])["text"]


@pytest.mark.parametrize("columns", ["text", None])
def test_columns_are_a_list(store: Store, columns: Any) -> None:
    with pytest.raises(DataError, match="columns must be a list of names"):
        read_outcome_columns(store, columns)


class Plain(Store):
    """A store that shares nothing with the core's stores but the interface."""

    def __init__(self, inner: Store) -> None:
        super().__init__("plain:", None)
        for name in ("add_decisions", "add_attempts", "add_feedback", "record", "experience", "outcomes", "pending", "close"):
            setattr(self, name, getattr(inner, name))


Plain.__abstractmethods__ = frozenset()


def test_every_store_has_the_columns(store: Store) -> None:
    store.add_decisions([record("d"), other("e")])
    store.add_feedback([(Feedback(decision_id="e", quality=0.5), None)])
    ours, theirs = read_outcome_columns(store, OUTCOME_COLUMNS), read_outcome_columns(Plain(store), OUTCOME_COLUMNS)
    assert_same_columns(ours, theirs)
    np.testing.assert_array_equal(ours.outcomes.quality, theirs.outcomes.quality)


def assert_same_columns(ours: LoggedColumns, theirs: LoggedColumns) -> None:
    for name in OUTCOME_COLUMNS:
        if isinstance(ours[name], np.ndarray):
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        else:
            assert list(ours[name]) == list(theirs[name]), name


@pytest.mark.parametrize("change", ["propensity = 'half'", "embedding = x'0102'", "content = '[]'", "content = '{}'", "content = 5"])
def test_a_value_of_another_type_is_damage_of_its_entry(tmp_path: Path, change: str) -> None:
    with closing(open_store(f"sqlite:{tmp_path / 'log.db'}", PLUGINS)) as store:
        store.add_decisions([record(name) for name in "abc"])
        with closing(sqlite3.connect(tmp_path / "log.db")) as file:
            file.execute(f"UPDATE entries SET {change} WHERE id = 'b'")
            file.commit()
        with pytest.raises(StoreError, match=r"entry 'b' is damaged"):
            read_outcome_columns(store, ["text", "embedding"])


def test_an_empty_log_has_columns_of_no_rows(store: Store) -> None:
    found = read_outcome_columns(store, OUTCOME_COLUMNS)
    assert len(found.outcomes) == 0
    assert found["probabilities"].shape == (0, 0)
    assert found["embedding"] is None


def test_only_decisions_between_two_times_count_with_all_that_was_said_of_them(store: Store) -> None:
    store.add_decisions([record("early"), other("late")])
    store.add_feedback([(Feedback(decision_id=name, quality=1.0), None) for name in ("early", "late")])
    store.add_attempts([Attempt(name, 0, "b", error="gone") for name in ("early", "late")])
    for since, until, names in ((None, 20.0, ["early"]), (13.0, None, ["late"]), (12.5, 20.5, ["early", "late"]), (21.0, None, [])):
        found = read_outcome_columns(store, ["router"], since, until)
        assert (found.outcomes.decision_ids, found["router"]) == (names, ["tiny"] * len(names))
        assert found.outcomes.quality.tolist() == [1.0] * len(names)
        assert found.outcomes.judged.tolist() == found.outcomes.failed.tolist() == [True] * len(names)


def test_contents_of_decisions_are_read_only_where_a_column_needs_them(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:{tmp_path / 'log.db'}", PLUGINS)) as store:
        store.add_decisions([record("d")])
        with closing(sqlite3.connect(tmp_path / "log.db")) as file:
            file.execute("UPDATE entries SET content = x'00ff'")
            file.commit()
        assert store.outcomes().propensity.tolist() == [0.25]
        with pytest.raises(StoreError, match="'d' is damaged"):
            read_outcome_columns(store, ["router"])


def test_half_a_surrogate_pair_is_read_as_it_was_logged(store: Store) -> None:
    odd = "half \ud800"
    store.add_decisions([attrs.evolve(record("d", notes={"odd": odd}), masked_why={"c": odd})])
    assert read_outcome_columns(store, ["masked_why"])["masked_why"] == [{"c": odd}]


def test_contents_of_earlier_versions_are_read(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:{tmp_path / 'log.db'}", PLUGINS)) as store:
        store.add_decisions([record("d")])
        (row,) = store.batch().rows  # type: ignore[attr-defined]  # a store in a file
        with closing(sqlite3.connect(tmp_path / "log.db")) as file:
            file.execute("UPDATE entries SET content = ?", (row.content,))
            file.commit()
        assert read_outcome_columns(store, ["router"])["router"] == ["tiny"]
