from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from aamc_bandit.thompson.beta_quadrature import beta_best_probabilities
from aamc_bandit.thompson.hierarchy import (
    QualityBelief,
    average_posteriors,
    level_strength,
    linear_posterior,
    mix_session,
    shrink,
    shrinkage_posterior,
    unscaled_belief,
)
from hypothesis import given
from hypothesis import strategies as st

UNIFORM = np.ones(2)
counts = st.lists(st.floats(0.0, 1000.0), min_size=6, max_size=6).map(lambda numbers: np.array(numbers).reshape(3, 2))


def shrunk(parent: list[float], own: list[float], strength: float = 25.0, limit: float = 100.0) -> list[float]:
    posterior: list[float] = shrink(np.array([parent], dtype=float), np.array([own], dtype=float), UNIFORM, strength, limit)[0][0].tolist()
    return posterior


def test_the_linear_blend_is_exact() -> None:
    assert average_posteriors(np.array([[10.0, 2.0]]), np.array([[2.0, 10.0]]), 0.5).tolist() == [[6.0, 6.0]]


def test_where_all_evidence_is_a_levels_own_it_is_the_plain_beta_posterior() -> None:
    assert shrunk([1 + 30, 1 + 10], [30, 10]) == [31, 11]


def test_a_level_without_evidence_believes_what_the_level_above_does_up_to_a_bound() -> None:
    assert shrunk([12, 8], [0, 0]) == [12, 8]
    assert shrunk([900, 100], [0, 0]) == pytest.approx([90, 10])


def test_strength_outcomes_of_a_levels_own_weigh_as_much_as_all_others() -> None:
    alpha, beta = shrunk([900 + 0, 100 + 25], [0, 25])
    assert alpha / (alpha + beta) == pytest.approx(0.9 / 2)


def test_one_tie_in_a_session_does_not_decide() -> None:
    parent = np.array([[900.0, 100.0], [850.0, 150.0]])
    before, after = (unscaled_belief(shrink(parent, np.array([[tie, tie], [0, 0]]), UNIFORM, 25.0, 100.0)[0]) for tie in (0.0, 0.5))
    change = beta_best_probabilities(*after) - beta_best_probabilities(*before)
    assert -0.15 < change[0] < 0


def test_at_full_weight_one_outcome_counts_as_much_as_all_that_is_known() -> None:
    alpha, beta = shrunk([900, 101], [0, 1], strength=level_strength(1.0, 25.0))
    assert (alpha, beta) == pytest.approx((90, 10 + 100))


def test_the_strength_follows_the_weight() -> None:
    assert [level_strength(weight, 30.0) for weight in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([float("inf"), 30.0, 10.0, 1.0])


@given(counts, counts, st.floats(1.0, 100.0))
def test_another_win_never_lowers_the_mean(others: np.ndarray, own: np.ndarray, strength: float) -> None:
    won = np.array([1.0, 0.0])
    before = unscaled_belief(shrink(UNIFORM + others + own, own, UNIFORM, strength, 100.0)[0])
    after = unscaled_belief(shrink(UNIFORM + others + own + won, own + won, UNIFORM, strength, 100.0)[0])
    assert (after.mean >= before.mean - 1e-12).all()


@given(counts, counts, st.floats(1.0, 100.0))
def test_a_shrunk_mean_lies_between_the_others_and_the_levels_own(others: np.ndarray, own: np.ndarray, strength: float) -> None:
    parent = UNIFORM + others + own
    mean, above = (
        unscaled_belief(shrink(parent, own, UNIFORM, strength, 100.0)[0]).mean,
        unscaled_belief(np.maximum(parent - own, UNIFORM)).mean,
    )
    here = own[:, 0] / np.maximum(own.sum(axis=1), 1e-300)
    here = np.where(own.sum(axis=1) > 0, here, above)
    assert (mean >= np.minimum(above, here) - 1e-9).all()
    assert (mean <= np.maximum(above, here) + 1e-9).all()


def chain(cells: np.ndarray, levels: Sequence[bool], *, nested: bool = True) -> float:
    """Return the mean at the last of some levels (category, user, session).

    Args:
        cells: Wins and losses of others, of the user and of the user's session, in the category and elsewhere, ``[2, 3, 2]``.
        levels: Which of the three are named.
        nested: As in :func:`shrinkage`.
    """
    below = cells[0].sum(axis=0), cells[:, 1:].sum(axis=(0, 1)), cells[:, 2].sum(axis=0)
    tables = [cells.sum(axis=(0, 1))[None], *(table[None] if named else None for table, named in zip(below, levels, strict=True))]
    strengths = [(5.0, 25.0), (level_strength(0.7, 20.0), 100.0), (level_strength(0.5, 20.0), 100.0)]
    return float(unscaled_belief(shrinkage_posterior(tables, UNIFORM, strengths, nested)).mean[0])


@pytest.mark.parametrize("levels", [(True, True, False), (True, False, True), (True, True, True), (False, True, True)])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_wins_of_a_user_and_a_session_raise_what_many_others_left_open(levels: tuple[bool, bool, bool], elsewhere: bool) -> None:
    means = []
    for wins in range(41):
        cells = np.zeros((2, 3, 2))
        cells[1, 0] = 200.0
        cells[int(elsewhere), 2, 0] = wins
        means.append(chain(cells, levels))
    assert (np.diff(means) > 0).all()
    assert means[11] > 0.65


@given(st.lists(st.integers(0, 200), min_size=12, max_size=12), st.sampled_from([0, 1]), st.lists(st.booleans(), min_size=3, max_size=3))
def test_another_win_in_the_category_never_lowers_the_mean(numbers: list[int], whose: int, levels: list[bool]) -> None:
    cells = np.array(numbers, dtype=float).reshape(2, 3, 2)
    won = np.zeros((2, 3, 2))
    won[0, 1 + whose, 0] = 1
    heard = levels[1] or (levels[2] and whose == 1) or not any(levels)
    assert not heard or chain(cells + won, levels) >= chain(cells, levels) - 1e-12


@pytest.mark.parametrize("levels", [(True, True, True), (True, False, True), (False, True, False), (False, False, True)])
def test_where_all_evidence_is_one_sessions_every_level_has_the_plain_beta_posterior(levels: tuple[bool, bool, bool]) -> None:
    cells = np.zeros((2, 3, 2))
    cells[0, 2] = 7.0, 2.0
    assert chain(cells, levels) == pytest.approx(8 / 11)


def test_evidence_that_fades_takes_nothing_from_the_levels_above() -> None:
    cells = np.zeros((2, 3, 2))
    cells[1, 0], cells[1, 1] = (300.0, 100.0), (0.0, 10.0)
    everybody, own = cells.sum(axis=(0, 1))[None], cells[:, 1].sum(axis=0)[None]
    posterior, _, _ = shrink(UNIFORM + everybody, own, UNIFORM, level_strength(0.7, 20.0), 100.0, counted=0.0)
    assert chain(cells, (False, True, False), nested=False) == pytest.approx(unscaled_belief(posterior).mean[0])
    assert chain(cells, (False, True, False), nested=False) < chain(cells, (False, True, False))


@given(counts, counts, counts, st.floats(0.0, 1.0))
def test_a_linear_blend_lies_between_what_it_blends(everywhere: np.ndarray, category: np.ndarray, user: np.ndarray, weight: float) -> None:
    blend = linear_posterior(everywhere, category, user, UNIFORM, weight)
    levels = UNIFORM + np.stack([everywhere, np.where(category.sum(axis=1, keepdims=True) > 0, category, everywhere), user, everywhere])
    assert (blend >= levels.min(axis=0) * (1 - 1e-12)).all()
    assert (blend <= levels.max(axis=0) * (1 + 1e-12)).all()


def test_the_published_blend_without_a_user_is_halfway_to_the_category() -> None:
    assert linear_posterior(np.array([[9.0, 1.0]]), np.array([[1.0, 9.0]]), None, UNIFORM, 0.7).tolist() == [[6.0, 6.0]]


def test_the_published_blend_with_a_user_takes_the_category_last() -> None:
    everywhere, category, user = np.array([[9.0, 1.0]]), np.array([[0.0, 19.0]]), np.array([[1.0, 0.0]])
    halfway = 0.3 * np.array([10, 2]) + 0.7 * np.array([2, 1])
    assert linear_posterior(everywhere, category, user, UNIFORM, 0.7)[0] == pytest.approx(0.7 * halfway + 0.3 * np.array([1, 20]))


def test_a_candidate_that_a_level_never_heard_of_is_not_blended_there() -> None:
    everywhere, nothing = np.array([[9.0, 1.0]]), np.zeros((1, 2))
    assert linear_posterior(everywhere, nothing, nothing, UNIFORM, 0.7)[0] == pytest.approx([10, 2])
    assert linear_posterior(everywhere, None, None, UNIFORM, 0.7).tolist() == [[10.0, 2.0]]


def test_the_sessions_success_share_is_mixed_in_where_there_is_one() -> None:
    belief = QualityBelief(np.full(3, 3.0), np.ones(3), np.ones(3), np.zeros(3))
    mixed = mix_session(belief, np.array([1.0, 0.0, 1.0]), np.array([4.0, 0.0, 1.0]), 0.5)
    assert mixed.mean == pytest.approx([0.5 * 0.75 + 0.5 * 0.25, 0.75, 0.5 * 0.75 + 0.5])
