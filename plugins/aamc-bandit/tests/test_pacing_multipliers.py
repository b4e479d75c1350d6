"""The multipliers of ``paced``: the exchange, its probabilities, and the mixture that keeps a target."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_bandit.pacing import multipliers
from aamc_bandit.pacing.multipliers import PriceCurve, WrappedChoices, curves_of
from scipy.optimize import linprog


def choices_of(utility, probabilities=None, mask=None) -> WrappedChoices:
    utility = np.asarray(utility, dtype=float)
    mask = np.ones(utility.shape, dtype=bool) if mask is None else mask
    if probabilities is None:
        probabilities = np.eye(utility.shape[1])[np.where(mask, utility, -np.inf).argmax(axis=1)]
    return WrappedChoices(utility, np.asarray(probabilities, dtype=float), mask)


def spent(choices: WrappedChoices, use, curve: PriceCurve, target: float):
    """Return the probabilities of the mixture at a target."""
    lower, upper, weight = curve.mixture(target)
    return weight * choices.at(lower * use) + (1 - weight) * choices.at(upper * use)


def random_window(seed: int, rows: int = 200, candidates: int = 4):
    rng = np.random.default_rng(seed)
    use = np.sort(rng.lognormal(0, 1.5, (rows, candidates)), axis=1)
    return choices_of(rng.random((rows, candidates)) + 0.1 * np.arange(candidates)), use


def test_without_a_price_the_wrapped_router_decides():
    rng = np.random.default_rng(0)
    choices = choices_of(rng.random((50, 3)), rng.dirichlet(np.ones(3), 50))
    np.testing.assert_allclose(choices.at(np.zeros((50, 3))), choices.probabilities)


def test_a_router_that_takes_the_maximum_takes_that_of_utility_minus_price():
    choices, use = random_window(1)
    chosen = choices.at(0.3 * use).argmax(axis=1)
    np.testing.assert_array_equal(chosen, (choices.utility - 0.3 * use).argmax(axis=1))


def test_a_high_price_gives_the_candidate_that_uses_least_and_may_be_chosen():
    choices, use = random_window(2)
    mask = np.random.default_rng(3).random(use.shape) < 0.6
    mask[np.arange(len(use)), np.arange(len(use)) % use.shape[1]] = True
    masked = choices_of(choices.utility, mask=mask)
    np.testing.assert_array_equal(masked.at(1e9 * use).argmax(axis=1), np.where(mask, use, np.inf).argmin(axis=1))
    assert not masked.at(0.5 * use)[~mask].any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_the_mixture_spends_the_target_and_is_near_the_linear_program(seed, share):
    choices, use = random_window(seed)
    curve = PriceCurve.of(choices, use, np.zeros_like(use))
    target = use.min(axis=1).mean() * (1 - share) + curve.use[0] * share
    found = spent(choices, use, curve, target)
    rows, candidates = use.shape
    best = linprog(
        -choices.utility.ravel() / rows,
        A_ub=use.ravel()[None] / rows,
        b_ub=[target],
        A_eq=np.kron(np.eye(rows), np.ones(candidates)),
        b_eq=np.ones(rows),
        bounds=(0, 1),
    )
    assert (found * use).sum(axis=1).mean() == pytest.approx(target)
    assert (found * choices.utility).sum(axis=1).mean() == pytest.approx(-best.fun, abs=0.005)


def test_the_prices_of_many_candidates_are_bounded_in_number_and_keep_the_target(monkeypatch):
    choices, use = random_window(0, candidates=40)
    exact = PriceCurve.of(choices, use, np.zeros_like(use))
    monkeypatch.setattr(multipliers, "MAX_PAIRS", 40_000)  # of 320,000
    assert choices.critical_prices(use).size <= 40_000
    curve = PriceCurve.of(choices, use, np.zeros_like(use))
    np.testing.assert_array_equal(spent(choices, use, curve, 0.0).argmax(axis=1), use.argmin(axis=1))
    for share in (0.1, 0.4, 0.8):
        target = use.min(axis=1).mean() * (1 - share) + curve.use[0] * share
        found, best = spent(choices, use, curve, target), spent(choices, use, exact, target)
        assert (found * use).sum(axis=1).mean() == pytest.approx(target)
        assert (found * choices.utility).sum(axis=1).mean() == pytest.approx(
            (best * choices.utility).sum(axis=1).mean(), abs=0.01 * np.ptp(choices.utility)
        )


def test_a_router_without_utilities_keeps_the_target_by_dividing_its_requests():
    use = np.tile([1.0, 5.0, 9.0], (100, 1))
    uniform = choices_of(np.zeros((100, 3)), np.full((100, 3), 1 / 3))
    found = spent(uniform, use, PriceCurve.of(uniform, use, np.zeros_like(use)), 2.0)
    np.testing.assert_allclose((found * use).sum(axis=1), 2.0)
    assert found[0, 1] == found[0, 2] > 0


def test_a_constant_router_keeps_the_target_too():
    use, constant = np.tile([1.0, 9.0], (100, 1)), choices_of(np.tile([0.0, 1.0], (100, 1)))
    found = spent(constant, use, PriceCurve.of(constant, use, np.zeros_like(use)), 3.0)
    np.testing.assert_allclose(found, np.tile([0.75, 0.25], (100, 1)))


def test_a_target_out_of_reach_gives_the_nearest_end():
    choices, use = random_window(4)
    curve = PriceCurve.of(choices, use, np.zeros_like(use))
    assert curve.mixture(1e9) == (0.0, 0.0, 1.0)
    np.testing.assert_array_equal(spent(choices, use, curve, 0.0).argmax(axis=1), use.argmin(axis=1))


def test_two_limits_are_kept_together():
    rng = np.random.default_rng(5)
    choices, cost = random_window(5, rows=400)
    late = rng.random(cost.shape) * 0.3
    free = (choices.probabilities * late).sum(axis=1).mean()
    targets = [0.5 * (choices.probabilities * cost).sum(axis=1).mean(), 0.7 * free]
    curves = curves_of(choices, [cost, late], targets)
    prices = [curve.mean_price(target) for curve, target in zip(curves, targets, strict=True)]
    found = choices.at(prices[0] * cost + prices[1] * late)
    assert (found * cost).sum(axis=1).mean() == pytest.approx(targets[0], rel=0.1)
    assert (found * late).sum(axis=1).mean() == pytest.approx(targets[1], rel=0.1)
