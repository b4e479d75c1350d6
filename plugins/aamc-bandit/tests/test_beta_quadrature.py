from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from aamc_bandit.thompson.beta_quadrature import beta_best_probabilities
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

STATED_ERROR = 1e-5

parameters = st.floats(-0.3, 6.0).map(lambda exponent: 0.5 + 10.0**exponent - 10.0**-0.3)
arms = st.lists(st.tuples(parameters, parameters, st.floats(0.1, 1.0), st.floats(-0.2, 0.2)), min_size=1, max_size=6)


def best(*arms: tuple[float, float, float, float]) -> np.ndarray:
    return beta_best_probabilities(*np.array(arms, dtype=float).T)


def by_integration(*arms: tuple[float, float, float, float]) -> np.ndarray:
    """Integrate the product of distribution functions over each arm's own distribution, by SciPy, between everybody's quantiles."""
    laws = [stats.beta(alpha, beta, loc=shift, scale=scale) for alpha, beta, scale, shift in arms]
    levels = [1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6]
    points = np.concatenate([[*law.support(), *law.ppf(levels)] for law in laws])

    def probability(m: int) -> float:
        ends = np.unique(np.clip(laws[m].cdf(points), 0, 1))
        others = [law for j, law in enumerate(laws) if j != m]

        def all_below(q: float) -> float:
            return float(np.prod([law.cdf(laws[m].ppf(q)) for law in others]))

        return sum(integrate.quad(all_below, a, b, epsabs=1e-8, epsrel=1e-6)[0] for a, b in pairwise(ends))

    return np.array([probability(m) for m in range(len(laws))])


def test_alone_a_candidate_is_the_best() -> None:
    assert best((2, 3, 1, 0)).tolist() == [1.0]


def test_equal_candidates_are_equally_likely() -> None:
    assert best(*[(3, 2, 1, 0)] * 4) == pytest.approx([0.25] * 4, abs=1e-12)


def test_where_quality_does_not_count_the_greater_shift_is_the_best_however_far_from_zero() -> None:
    assert best((3, 2, 0, -1e9), (2, 3, 0, -1e9 - 100)) == pytest.approx([1, 0], abs=1e-9)
    assert best((3, 2, 0, 1e12)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((2, 1), (1, 1), 2 / 3),  # integral of 2x x dx
        ((3, 1), (1, 1), 3 / 4),
        ((1, 2), (1, 1), 1 / 3),
        ((2, 1), (1, 2), 5 / 6),  # integral of 2x (2x - x^2) dx
    ],
)
def test_two_candidates_match_the_integral_done_by_hand(first: tuple[float, float], second: tuple[float, float], expected: float) -> None:
    assert best((*first, 1, 0), (*second, 1, 0)) == pytest.approx([expected, 1 - expected], abs=1e-9)


def test_a_shift_matches_the_integral_done_by_hand() -> None:
    # uniform on [0, 1] beats uniform on [1/2, 3/2] with probability 1/8
    assert best((1, 1, 1, 0), (1, 1, 1, 0.5)) == pytest.approx([1 / 8, 7 / 8], abs=1e-9)


def test_a_scale_matches_the_integral_done_by_hand() -> None:
    # uniform on [0, 1] beats uniform on [0, 1/2] with probability 3/4
    assert best((1, 1, 1, 0), (1, 1, 0.5, 0)) == pytest.approx([3 / 4, 1 / 4], abs=1e-9)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # where a law is nearly a step; the sum shows that it integrated well
@pytest.mark.parametrize(
    "arms",
    [
        [(0.5, 0.5, 1, 0), (1, 1, 1, 0), (8, 2, 1, 0)],
        [(1e6, 5e5, 1, 0), (1e6, 500_100, 1, 0), (2, 1, 1, 0)],
        [(20, 0.7, 1, -0.01), (250, 0.6, 1, 0.02), (3, 0.6, 1, 0.0)],
        [(0.9, 300, 0.8, 0.08), (0.6, 22, 0.6, 0.0), (30, 900, 0.5, 0.05)],
        [(900, 100, 0.9, 0.05), (90, 10, 0.9, 0.04), (9, 1, 0.9, 0.03)],
    ],
)
def test_probabilities_match_numerical_integration(arms: list[tuple[float, float, float, float]]) -> None:
    expected = by_integration(*arms)
    assert expected.sum() == pytest.approx(1.0, abs=1e-7)
    assert best(*arms) == pytest.approx(expected, abs=STATED_ERROR)


def test_probabilities_match_the_frequencies_of_thompson_sampling() -> None:
    rng, draws = np.random.default_rng(0), 200_000
    for _ in range(3):
        alpha, beta, scale, shift = rng.uniform(1, 40, 8), rng.uniform(1, 40, 8), rng.uniform(0.5, 1, 8), rng.uniform(0, 0.1, 8)
        winners = (shift + scale * rng.beta(alpha, beta, size=(draws, 8))).argmax(axis=1)
        expected = beta_best_probabilities(alpha, beta, scale, shift)
        error = np.sqrt(expected * (1 - expected) / draws)
        assert (np.abs(np.bincount(winners, minlength=8) / draws - expected) < 4 * error + STATED_ERROR).all()


def test_without_a_scale_the_greatest_shift_wins_and_equals_share() -> None:
    assert best((5, 1, 0, 0.1), (1, 5, 0, 0.3)) == pytest.approx([0, 1], abs=1e-12)
    assert best((4, 2, 0, 0.3), (4, 2, 0, 0.3), (9, 1, 0, 0.1)) == pytest.approx([0.5, 0.5, 0], abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(arms)
def test_probabilities_are_a_distribution(arms: list[tuple[float, float, float, float]]) -> None:
    probabilities = best(*arms)
    assert (probabilities >= 0).all()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(arms, st.randoms())
def test_the_order_of_candidates_does_not_matter(arms: list[tuple[float, float, float, float]], random: object) -> None:
    order = list(range(len(arms)))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert best(*[arms[m] for m in order]) == pytest.approx(best(*arms)[order], abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(arms, st.floats(0.1, 50.0))
def test_more_wins_make_no_candidate_less_likely(arms: list[tuple[float, float, float, float]], wins: float) -> None:
    alpha, *rest = arms[0]
    assert best((alpha + wins, *rest), *arms[1:])[0] >= best(*arms)[0] - 2 * STATED_ERROR


@settings(max_examples=100, deadline=None)
@given(arms)
def test_one_more_candidate_takes_from_all_others(arms: list[tuple[float, float, float, float]]) -> None:
    assert (best(*arms, (1, 1, 1, 0))[:-1] <= best(*arms) + 2 * STATED_ERROR).all()
