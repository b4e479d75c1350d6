from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import ComparisonRequest, compare_table, constant_routers, metrics, most_missing, question_units
from aamc_experiments.evaluation import decisions as tables
from aamc_experiments.evaluation.comparison import QUALITY_ALONE

from aamc_sdk.errors import DataError, PluginError, PreferenceError
from aamc_sdk.types import Outcomes, Preference, Query, text_hash


def test_a_router_answers_at_every_preference(table: Any, routers: Any) -> None:
    comparison = table.compare({"greedy": routers.Greedy(routers.options, table.services)})
    assert comparison.chosen.shape == (1, 43, 4)
    assert comparison.chosen[0, QUALITY_ALONE].tolist() == [0, 1, 1, 0]
    assert comparison.chosen[0, 21].tolist() == [0, 0, 0, 0]
    assert comparison.queries.tolist() == [text_hash(f"query {n}") for n in range(4)]
    assert comparison.category.tolist() == ["even", "odd", "even", "odd"]


def test_equal_preferences_are_scored_once(table: Any, routers: Any) -> None:
    router = routers.Greedy(routers.options, table.services)
    comparison = table.compare({"greedy": router})
    distinct = len(np.unique(comparison.preferences, axis=0))
    assert distinct < 43
    assert len(router.seen) == distinct


def test_a_router_may_share_its_work_between_preferences(table: Any, routers: Any) -> None:
    class Thrifty(routers.Greedy):
        begun = 0

        def score_each(self, request: Any, preferences: Any) -> Any:
            self.begun += 1
            yield from super().score_each(request, preferences)

    plain, thrifty = routers.Greedy(routers.options, table.services), Thrifty(routers.options, table.services)
    comparison = table.compare({"plain": plain, "thrifty": thrifty})
    np.testing.assert_array_equal(comparison.chosen[0], comparison.chosen[1])
    assert thrifty.begun == 1


def test_only_privileged_routers_are_given_hindsight(table: Any, routers: Any) -> None:
    plain = routers.Greedy(routers.options, table.services)
    comparison = table.compare({"greedy": plain, "prophet": routers.Prophet(routers.options, table.services)})
    assert all(request.hindsight is None for request in plain.seen)
    np.testing.assert_array_equal(comparison.expected_quality[1], table.outcomes.quality.astype(np.float32))


def test_a_row_with_a_missing_cell_is_left_out_for_all_and_counted(make_table: Any, routers: Any) -> None:
    table = make_table([[1, np.nan], [1, 1], [1, 1], [0, 1]], [[1, 2], [1, np.nan], [1, 2], [1, 2]], [[1, 2], [1, 2], [1, 2], [np.nan, 2]])
    comparison = table.compare({"always": routers.Always(routers.options, table.services)})
    assert comparison.queries.tolist() == [text_hash("query 2")]
    assert comparison.missing == 3


def masked(table: Any, mask: Any) -> Any:
    """Return a table in which some candidates are not allowed, so that their outcomes are unknown."""
    mask = np.array(mask, dtype=bool)
    return attrs.evolve(table, request=attrs.evolve(table.request, mask=mask), outcomes=table.outcomes.where(mask))


def test_a_candidate_that_is_not_allowed_needs_no_outcome(table: Any, routers: Any) -> None:
    partly = masked(table, [[1, 1], [0, 1], [1, 0], [1, 1]])
    partly.outcomes.quality[3, 0] = np.nan  # which is allowed
    comparison = partly.compare({"oracle": routers.Prophet(routers.options, table.services)}, candidate_means=table.means)
    assert comparison.queries.tolist() == [text_hash(f"query {n}") for n in range(3)]
    assert comparison.missing == 1
    assert (comparison.chosen[0][:, 1:] == [1, 0]).all()
    np.testing.assert_array_equal(np.isnan(comparison.quality), [[0, 0], [1, 0], [0, 1]])


def test_a_row_with_all_outcomes_keeps_those_of_candidates_that_are_not_allowed(table: Any, routers: Any) -> None:
    mask = np.array([[1, 1], [0, 1], [1, 0], [1, 1]], dtype=bool)
    measured = attrs.evolve(table, request=attrs.evolve(table.request, mask=mask))
    comparison = measured.compare({"oracle": routers.Prophet(routers.options, table.services)}, candidate_means=table.means)
    np.testing.assert_array_equal(comparison.quality, table.outcomes.quality)
    assert (comparison.chosen[0][:, 1:3] == [1, 0]).all()


def test_a_constant_policy_is_what_always_choosing_its_candidate_gives(large_table: Any) -> None:
    mask = np.random.default_rng(0).random(large_table.outcomes.cost_usd.shape) < 0.7
    mask[:, 1] |= ~mask.any(axis=1)
    comparison = masked(large_table, mask).compare(constant_routers(large_table.services), candidate_means=large_table.means)
    assert comparison.missing == 0
    for m in range(mask.shape[1]):
        played = comparison.realised(m)
        np.testing.assert_array_equal(played.known_quality[0], comparison.constant_outcomes.known_quality[:, m])
        np.testing.assert_array_equal(played.cost_usd[0], comparison.constant_outcomes.cost_usd[:, m])


def test_the_candidate_with_most_gaps_is_named_if_it_causes_half_of_them() -> None:
    quality = np.ones((5, 3))
    quality[:3, 2] = np.nan
    quality[0, 0] = np.nan
    outcomes, everywhere = Outcomes(quality, np.ones((5, 3)), np.ones((5, 3))), np.ones((5, 3), dtype=bool)
    found = most_missing(outcomes, everywhere, "abc")
    assert found == {"candidate": "c", "missing": 3, "queries_without": 4}
    assert most_missing(outcomes, ~np.isnan(quality), "abc") is None
    quality[1:3, 0] = np.nan
    assert most_missing(outcomes, everywhere, "abc") is None


def test_rows_of_one_question_are_one_unit_of_resampling(table: Any, routers: Any) -> None:
    greedy = {"greedy": routers.Greedy(routers.options, table.services), "always": routers.Always(routers.options, table.services)}
    rows = np.tile(np.arange(4), 5)
    repeated = attrs.evolve(table, request=table.request.take(rows), outcomes=table.outcomes.take(rows))
    comparison = repeated.compare(greedy)
    assert comparison.stream.tolist() == rows.tolist()
    figures, once = (metrics(compared, table.reward) for compared in (comparison, table.compare(greedy)))
    assert figures["routers"]["greedy"]["ci95"]["mean_quality"] == pytest.approx(once["routers"]["greedy"]["ci95"]["mean_quality"])
    assert figures["comparisons"][0]["p"] == once["comparisons"][0]["p"]


def test_spellings_of_one_question_share_a_unit() -> None:
    assert question_units([Query("What is it?"), Query("Who?"), Query(" what  is IT?")]).tolist() == [0, 1, 0]


def test_rows_without_texts_are_units_of_their_own(table: Any, routers: Any) -> None:
    unknown = attrs.evolve(table, request=attrs.evolve(table.request, queries=[Query("")] * 4))
    comparison = unknown.compare({"always": routers.Always(routers.options, table.services)})
    assert comparison.stream.tolist() == [0, 1, 2, 3]


def test_a_latency_that_nobody_measured_is_not_a_missing_cell(make_table: Any, routers: Any) -> None:
    table = make_table([[1, 0], [0, 1]], [[1, 2], [1, 2]])
    comparison = table.compare({"always": routers.Always(routers.options, table.services)})
    assert comparison.missing == 0
    assert (comparison.preferences[:, 2] == 0).all()
    with pytest.raises(PreferenceError, match="only latency"):
        table.compare({"always": routers.Always(routers.options, table.services)}, headline=Preference(0, 0, 1))


def test_no_complete_row_is_an_error(make_table: Any, routers: Any) -> None:
    table = make_table([[1, 1]], [[1, 2]])
    broken = table.outcomes.columns([0, 1])
    broken.quality[0, 0] = np.nan
    compared = ComparisonRequest(
        routers={}, request=table.request, reward=table.reward, headline=Preference(), seed=0, categories=["a"], candidate_means=table.means
    )
    with pytest.raises(DataError, match=r"no test query has an outcome of every candidate .*; most gaps: m0 \(1 of 1\); fill"):
        compare_table(compared, broken)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"spent_usd": np.nan}, r"router 'odd': a router's spent_usd must be one number of at least 0, or 4, one for each query, not nan"),
        ({"spent_ms": np.zeros(3)}, "router 'odd': a router's spent_ms must be"),
        ({"expected_quality": np.zeros((4, 7))}, r"router 'odd': a router's expected_quality must be real numbers of shape \(4, 2\)"),
        ({"utility": np.zeros((4, 7))}, r"router 'odd': a router's utility must be real numbers of shape \(4, 2\)"),
        (None, "router 'odd' failed: TypeError: a router's score must return aamc_sdk.Scores, not None"),
        (ValueError("shape mismatch"), "router 'odd' failed: ValueError: shape mismatch"),
    ],
)
def test_a_router_that_fails_is_named(table: Any, routers: Any, found: Any, message: str) -> None:
    class Odd(routers.Greedy):
        def score(self, request: Any) -> Any:
            if isinstance(found, Exception):
                raise found
            return found and attrs.evolve(super().score(request), **found)

    good = routers.Greedy(routers.options, table.services)
    with pytest.raises(PluginError, match=message):
        table.compare({"good": good, "odd": Odd(routers.options, table.services)})


def test_draws_follow_from_the_seed_and_are_the_same_at_every_preference(large_table: Any, routers: Any) -> None:
    def chosen(seed: int) -> Any:
        return large_table.compare({"dice": routers.Dice(routers.options, large_table.services)}, seed=seed).chosen[0]

    first = chosen(1)
    np.testing.assert_array_equal(first, chosen(1))
    assert (first != chosen(2)).any()
    assert (first == first[0]).all()
    shares = np.mean([np.bincount(chosen(seed)[0]) for seed in range(40)], axis=0) / len(first[0])
    np.testing.assert_allclose(shares, 0.25, atol=0.04)


def test_the_size_of_a_chunk_changes_nothing(large_table: Any, routers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = {"greedy": routers.Greedy(routers.options, large_table.services), "dice": routers.Dice(routers.options, large_table.services)}
    whole = large_table.compare(everyone)
    monkeypatch.setattr(tables, "CHUNK", 7)
    in_parts = large_table.compare(everyone)
    np.testing.assert_array_equal(whole.chosen, in_parts.chosen)
    np.testing.assert_array_equal(whole.utility, in_parts.utility)


def test_utilities_are_those_at_quality_alone(table: Any, routers: Any) -> None:
    comparison = table.compare({"greedy": routers.Greedy(routers.options, table.services)})
    np.testing.assert_allclose(comparison.utility[0], table.outcomes.quality, rtol=1e-6)
    np.testing.assert_allclose(comparison.expected_quality[0], table.outcomes.quality, rtol=1e-6)
    np.testing.assert_allclose(comparison.scales, [[1, 10], [100, 300]])
