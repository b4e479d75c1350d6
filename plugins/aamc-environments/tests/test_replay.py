from __future__ import annotations

import attrs
import numpy as np
import pytest

from aamc_sdk import Outcomes
from aamc_sdk.errors import DataError, PreferenceError


def test_outcomes_are_those_of_the_table(table, make_replay):
    streams = make_replay(table).vector(3, "train", preferences=np.tile([1.0, 0, 0], (3, 1)))
    streams.reset()
    for step in range(40):
        chosen = np.array([0, 1, step % 2])
        reward, info = streams.step(chosen)[1::3]
        for key in ("quality", "cost_usd", "latency_ms"):
            np.testing.assert_array_equal(info[key], getattr(table.outcomes, key)[info["row"], chosen])
        np.testing.assert_array_equal(reward, info["quality"])


def test_rows_with_a_missing_cell_are_not_drawn(table, make_replay):
    streams = make_replay(table).vector(64, "train")
    streams.reset()
    rows = np.concatenate([streams.step(np.zeros(64, dtype=int))[-1]["row"] for _ in range(20)])
    assert set(rows) == {0, 1, 2}


def test_a_row_without_the_outcome_of_a_candidate_that_is_not_allowed_is_drawn(table, make_replay):
    environment = make_replay(table)
    known = table.outcomes.known
    request = attrs.evolve(environment.vector(1, "train").setup.request, mask=known)
    streams = environment.vector(64, "train", request=request)
    streams.reset()
    drawn = [streams.step(np.full(64, step % 2)) for step in range(20)]
    assert set(np.concatenate([info["row"] for *_, info in drawn])) == {0, 1, 2, 3}
    assert all(np.isfinite(rewards).all() for _, rewards, *_ in drawn)
    assert any(info["masked"].any() for *_, info in drawn)  # which counts as the worst allowed outcome


def test_there_are_no_waits_and_hindsight_is_the_outcome(table, make_replay):
    environment = make_replay(table)
    assert environment.stationary
    streams = environment.vector(5, "train")
    streams.reset()
    request = streams.request()
    rows = streams.step(np.zeros(5, dtype=int))[-1]["row"]
    assert not request.wait_ms.any()
    np.testing.assert_array_equal(request.hindsight.quality, table.outcomes.quality[rows])
    assert request.estimates.category_names == ("x", "y")
    np.testing.assert_array_equal(request.estimates.categories.argmax(axis=1), rows % 2)


def test_unknown_latency_counts_for_nothing(table, make_replay):
    outcomes = Outcomes(table.outcomes.quality, table.outcomes.cost_usd, np.full((4, 2), np.nan))
    environment = make_replay(attrs.evolve(table, outcomes=outcomes))
    streams = environment.vector(2, "train", preferences=np.array([[0.5, 0, 0.5], [1.0, 0, 0]]))
    streams.reset()
    _, reward, _, _, info = streams.step(np.zeros(2, dtype=int))
    np.testing.assert_allclose(reward, info["quality"])
    latency_only = environment.vector(1, "train", preferences=np.array([[0.0, 0, 1.0]]))
    latency_only.reset()
    with pytest.raises(PreferenceError, match="only latency"):
        latency_only.step(np.zeros(1, dtype=int))


def test_a_table_without_a_complete_row_has_no_streams(table, make_replay):
    environment = make_replay(table)
    environment.prepare({"train": table.take(np.array([3]))})
    with pytest.raises(DataError, match="no complete row"):
        environment.vector(1, "train")


def test_queries_without_outcomes_are_refused(table, make_replay):
    with pytest.raises(DataError, match="use --environment queue"):
        make_replay(table).prepare({"test": attrs.evolve(table, outcomes=None)})


def test_outcomes_of_another_pool_are_refused(table, make_replay):
    other = table.pool.subset(["large", "small"])
    with pytest.raises(DataError, match=r"the pool's candidates, in its order: small, large"):
        make_replay(table).prepare({"test": attrs.evolve(table, pool=other)})
