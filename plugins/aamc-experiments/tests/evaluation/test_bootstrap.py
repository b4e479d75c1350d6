from __future__ import annotations

import numpy as np
import pytest
from aamc_experiments.evaluation import Resampling, interval, known_interval, open_interval, share_interval, two_way
from aamc_experiments.evaluation.bootstrap import BLOCK, combined_intervals, draws_of
from numpy.typing import NDArray
from scipy.stats import binom


def test_counting_every_unit_once_gives_the_plain_figures() -> None:
    values = np.random.default_rng(0).exponential(size=(101, 2))
    data = Resampling.once(np.arange(101))
    np.testing.assert_allclose(data.means(values), values.mean(axis=0)[None])
    np.testing.assert_allclose(data.percentile(values[:, 0], 0.95), [np.percentile(values[:, 0], 95)])


def test_weights_count_as_repetitions() -> None:
    values, weights = np.array([3.0, 1.0, 2.0, 5.0]), np.array([[2.0, 0, 1, 1], [0, 0, 0, 4]])
    resampling = Resampling(weights, np.arange(4))
    repeated = [[3, 3, 2, 5], [5, 5, 5, 5]]
    np.testing.assert_allclose(resampling.means(values[:, None])[:, 0], np.mean(repeated, axis=1))
    np.testing.assert_allclose(resampling.percentile(values, 0.4), np.percentile(repeated, 40, axis=1))


def test_a_unit_brings_all_its_values() -> None:
    resampling = Resampling(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 0]))
    values = np.array([1.0, 10.0, 3.0])
    np.testing.assert_allclose(resampling.means(values[:, None])[:, 0], [2.0, 14 / 3])
    np.testing.assert_allclose(resampling.percentile(values, 0.5), [2.0, 3.0])


def test_the_seed_decides_which_units_a_resample_draws() -> None:
    unit = np.arange(30)
    first, again, other = (Resampling.bootstrap(unit, 2 * BLOCK + 1, seed).weights for seed in (1, 1, 2))
    assert first.shape == (2 * BLOCK + 1, 30)
    assert (first.sum(axis=1) == 27).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_resample_of_few_units_draws_fewer_as_students_quantiles_are_larger() -> None:
    assert [draws_of(units) for units in (2, 3, 5, 10, 30, 1000)] == [1, 1, 2, 7, 27, 997]  # 9 (1.960 / 2.262)^2 = 6.8


@pytest.mark.parametrize(("units", "coverage"), [(2, 0.5), (3, 0.75), (5, 0.93), (7, 0.94), (10, 0.94), (30, 0.95)])
def test_the_interval_of_a_mean_of_few_units_covers_it(units: int, coverage: float) -> None:
    values = np.random.default_rng(5).normal(size=(units, 4000))
    low, high = np.quantile(Resampling.bootstrap(np.arange(units), 1000, 0).means(values), (0.025, 0.975), axis=0)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(coverage, abs=0.02)


@pytest.mark.parametrize(("units", "coverage", "is_open"), [(20, 0.99, True), (60, 0.99, True), (100, 0.97, False), (400, 0.96, False)])
def test_the_interval_of_an_exact_percentile_covers_it_and_is_open_above_where_values_are_few(units: int, coverage: float, is_open: bool) -> None:
    tables = np.random.default_rng(7).exponential(size=(400, units))
    resampling = Resampling.bootstrap(np.arange(units), 1000, 0).with_data()
    figures = [resampling.exact_percentile(values, 0.95) for values in tables]
    np.testing.assert_allclose([figure[0] for figure in figures], np.quantile(tables, 0.95, axis=1))
    low, high = np.array([known_interval(figure[1:]) for figure in figures]).T
    assert np.mean((low <= np.log(20)) & (high >= np.log(20))) == pytest.approx(coverage, abs=0.025)
    assert np.isinf(high).all() == np.isinf(high).any() == is_open


@pytest.mark.parametrize("unit", [np.repeat(np.arange(20), 5), np.zeros(100, dtype=int)])
def test_a_percentile_of_values_in_groups_is_that_of_resamples_of_the_groups(unit: NDArray[np.int64]) -> None:
    resampling, values = Resampling.bootstrap(unit, 50, 0), np.arange(100.0)
    np.testing.assert_array_equal(resampling.exact_percentile(values, 0.95), resampling.percentile(values, 0.95))


def test_the_interval_of_a_mean_is_two_standard_errors_wide_on_each_side() -> None:
    values = np.random.default_rng(1).normal(size=(1000, 1))
    low, high = interval(Resampling.bootstrap(np.arange(1000), 4000, 0).means(values)[:, 0])
    error = values.std() / np.sqrt(1000)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1 * error)


def test_values_that_rise_and_fall_together_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=50), 20)
    apart = interval(Resampling.bootstrap(np.arange(1000), 1000, 0).means(values[:, None])[:, 0])
    together = interval(Resampling.bootstrap(np.repeat(np.arange(50), 20), 1000, 0).means(values[:, None])[:, 0])
    assert (together[1] - together[0]) / (apart[1] - apart[0]) == pytest.approx(np.sqrt(20), rel=0.25)


def test_one_unit_alone_has_no_interval() -> None:
    resampling = Resampling.bootstrap(np.zeros(3, dtype=int), 20, 0)
    figures = resampling.means(np.arange(3.0)[:, None])[:, 0], resampling.percentile(np.arange(3.0), 0.95)
    assert [(known_interval(figure), open_interval(figure)) for figure in figures] == [(None, None)] * 2
    assert known_interval(Resampling.bootstrap(np.array([0, 1, 1]), 20, 0).means(np.arange(3.0)[:, None])[:, 0]) is not None


def test_a_share_of_none_or_all_has_the_exact_interval() -> None:
    always, never, some = np.ones(100), np.zeros(100), np.linspace(0, 1, 100)
    low, high = share_interval(always, 1.0, 10) or ()
    assert low**10 == pytest.approx(0.025)  # a lower share would show ten of ten with a chance below 2.5%
    assert high == 1.0
    assert share_interval(never, 0.0, 10) == pytest.approx([0.0, 1 - low])
    assert share_interval(some, 0.5, 10) == known_interval(some)
    assert share_interval(np.full(100, np.nan), 1.0, 1) is None


@pytest.mark.parametrize(("n", "p"), [(10, 0.5), (20, 0.8), (60, 0.947), (200, 0.985), (500, 0.994), (200, 0.02)])
def test_the_interval_of_independent_values_of_0_and_1_covers_their_probability(n: int, p: float) -> None:
    some = np.linspace(0, 1, 100)
    bounds = [share_interval(some, ones / n, n, exact=True) or [] for ones in range(n + 1)]
    covered = [low <= p <= high for low, high in bounds]
    assert binom.pmf(np.flatnonzero(covered), n, p).sum() >= 0.95
    assert bounds == sorted(bounds)  # one success more never lowers a bound
    assert bounds[-1] == share_interval(some, 1.0, n)


def test_a_part_of_the_data_is_resampled_by_its_own_units() -> None:
    unit, rows = np.array([0, 1, 2, 3, 4, 5, 6, 0]), np.array([1, 1, 1, 0, 0, 1, 1, 1], dtype=bool)
    part = Resampling.bootstrap(unit, 200, 1).with_data().within(rows)
    assert (part.units, part.independent, part.weights.shape) == (5, False, (201, 5))
    assert part.unit.tolist() == [0, 1, 2, 3, 4, 0]
    assert (part.weights[1:].sum(axis=1) == draws_of(5)).all()
    np.testing.assert_allclose(part.means(np.arange(6.0)[:, None])[0], 2.5)
    whole = Resampling.bootstrap(unit, 200, 1)
    assert whole.within(np.ones(8, dtype=bool)) is whole
    two = whole.within(np.array([1, 1, 0, 0, 0, 0, 0, 1], dtype=bool)).means(np.arange(3.0)[:, None])[:, 0]
    assert known_interval(two) is None  # the values of two units say too little of others


def test_variances_over_streams_and_questions_add_up_less_that_over_queries() -> None:
    assert two_way([[0.1, 0.3]]) == [0.1, 0.3]
    assert two_way([[0.0, 0.6], [0.1, 0.9], [0.2, 0.2]]) == pytest.approx([0.0, 1.0])  # .36 + .64 = 1, about the middle of the wider one
    assert two_way([[0.0, 0.6], [0.0, 0.4], [0.0, 0.4]]) == [0.0, 0.6]
    assert two_way([[0.0, 0.6], [0.1, 0.9], [0.2, 0.2]], 0.2, 0.95) == [0.2, 0.95]
    assert two_way([[0.0, 0.6], None, [0.0, 0.4]]) is None
    assert two_way([[0.0, np.inf], [0.1, 0.2], [0.0, 0.4]]) == [0.0, np.inf]


def test_the_interval_of_a_share_over_streams_and_questions_is_within_a_share() -> None:
    over = [{"share": np.append(0.75, np.linspace(*bounds, 1001))} for bounds in ((0.4, 1.0), (0.0, 0.6), (0.5, 0.5))]
    resamplings = [Resampling.bootstrap(np.arange(8) % 4, 1001, 0)] * 3
    for shares, high in (((), 1.103), (("share",), 1.0)):
        assert combined_intervals(resamplings, over, (), shares) == {"share": pytest.approx([0.297, high], abs=1e-3)}


@pytest.mark.parametrize(("of_question", "of_stream"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_an_interval_covers_the_mean_whichever_of_questions_and_streams_differ(of_question: float, of_stream: float) -> None:
    rng, covered = np.random.default_rng(0), 0
    question, stream, query = rng.permutation(np.arange(900) % 60), np.arange(900) % 60, np.arange(900)
    for _ in range(200):
        values = of_question * rng.normal(size=60)[question] + of_stream * rng.normal(size=60)[stream] + rng.normal(size=900)
        over = [interval(Resampling.bootstrap(unit, 200, 0).means(values[:, None])[:, 0]) for unit in (stream, question, query)]
        found = two_way(over)
        assert found is not None
        covered += found[0] <= 0 <= found[1]
    assert 0.9 <= covered / 200 <= 0.99
