from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aamc_sdk.errors import NoCandidateError, PluginError
from aamc_sdk.routing import choice_probabilities, draw, uniform
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Scores

ROWS = 8
DATASET = make_dataset(ROWS)
OPEN = attrs.evolve(make_request(DATASET), mask=np.ones((ROWS, len(POOL)), dtype=bool))
IDS = [f"0/0/{row}" for row in range(ROWS)]
FLAT = np.zeros((ROWS, len(POOL)))


def masked(mask):
    return attrs.evolve(OPEN, mask=np.broadcast_to(mask, OPEN.mask.shape))


def test_uniform_numbers_are_known_and_lie_in_zero_to_one():
    assert uniform(0, "a") == uniform(0, "a")
    assert uniform(0, "a") != uniform(1, "a")
    many = np.array([uniform(0, str(n)) for n in range(20_000)])
    assert 0 <= many.min() < many.max() < 1
    histogram = np.histogram(many, bins=20, range=(0, 1))[0]
    assert ((histogram - 1000) ** 2 / 1000).sum() < 43.8  # chi-square of 19 degrees of freedom at 0.1%


def test_the_maximum_utility_is_taken_with_propensity_one():
    utility = np.tile((0.1, 0.9, 0.3, 0.2), (ROWS, 1))
    chosen, propensity, _ = draw(Scores(utility), OPEN, True, 0, IDS)
    assert chosen.tolist() == [1] * ROWS
    assert propensity.tolist() == [1.0] * ROWS


def test_a_draw_follows_its_probabilities():
    wanted = np.array([0.1, 0.2, 0.3, 0.4])
    size = 20_000
    request = OPEN.take(np.zeros(size, dtype=np.intp))
    scores = Scores(np.zeros((size, 4)), np.tile(wanted, (size, 1)))
    chosen, propensity, _ = draw(scores, request, True, 0, [str(n) for n in range(size)])
    assert np.bincount(chosen, minlength=4) / size == pytest.approx(wanted, abs=4 * 0.5 / np.sqrt(size))
    assert propensity.tolist() == wanted[chosen].tolist()


@given(
    arrays.arrays(float, (ROWS, 4), elements=st.floats(0, 1) | st.just(0.0)),
    arrays.arrays(bool, (ROWS, 4)),
    st.integers(0, 100),
)
def test_a_masked_or_impossible_candidate_is_never_drawn(probabilities, mask, seed):
    possible = mask & (probabilities > 0)
    if not possible.any(axis=1).all():
        return
    chosen, propensity, _ = draw(Scores(FLAT, probabilities), masked(mask), True, seed, IDS)
    assert possible[np.arange(ROWS), chosen].all()
    assert ((propensity > 0) & (propensity <= 1)).all()


@given(arrays.arrays(float, (ROWS, 4), elements=st.floats(allow_nan=False)), arrays.arrays(bool, (ROWS, 4)))
def test_a_masked_candidate_is_never_taken_whatever_the_utilities(utility, mask):
    mask[:, 2] = True
    utility[:, 2] = np.nan_to_num(utility[:, 2])  # a row needs a finite one
    chosen = draw(Scores(utility), masked(mask), False, 0, IDS)[0]
    assert mask[np.arange(ROWS), chosen].all()


def test_masking_rescales_the_propensity():
    probabilities = np.tile((0.5, 0.25, 0.25, 0.0), (ROWS, 1))
    chosen, propensity, _ = draw(Scores(FLAT, probabilities), masked([False, True, True, True]), True, 0, IDS)
    assert set(chosen) <= {1, 2}
    assert propensity.tolist() == [0.5] * ROWS


def test_a_propensity_that_the_router_does_not_know_is_nan():
    scores = Scores(FLAT, np.full((ROWS, 4), 0.25), propensity_known=False)
    assert np.isnan(draw(scores, OPEN, True, 0, IDS)[1]).all()


def test_a_draw_depends_on_seed_and_id_alone():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), ROWS)
    together = draw(Scores(FLAT, probabilities), OPEN, True, 5, IDS)[0]

    def alone(row):
        rows = np.array([row])
        return int(draw(Scores(FLAT[rows], probabilities[rows]), OPEN.take(rows), True, 5, [IDS[row]])[0][0])

    with ThreadPoolExecutor(4) as threads:
        assert together.tolist() == list(threads.map(alone, range(ROWS)))


def test_an_empty_batch_has_no_draw():
    none = OPEN.take(np.empty(0, dtype=np.intp))
    for probabilities in (None, np.empty((0, 4))):
        chosen, propensity, _ = draw(Scores(np.empty((0, 4)), probabilities), none, True, 0, [])
        assert len(chosen) == len(propensity) == 0


def test_a_row_that_is_wholly_masked_is_an_error():
    with pytest.raises(NoCandidateError):
        draw(Scores(FLAT), masked([False] * 4), False, 0, IDS)
    with pytest.raises(NoCandidateError):
        draw(Scores(FLAT, np.ones_like(FLAT)), masked([False] * 4), True, 0, IDS)


@pytest.mark.parametrize("utility", [np.zeros((ROWS, 3)), np.zeros(ROWS), np.zeros((1, 4)), [[0.0] * 4] * ROWS])
def test_scores_of_another_shape_are_refused(utility):
    with pytest.raises(PluginError, match=r"utility must be real numbers of shape \(\d+, 4\)"):
        draw(Scores(utility), OPEN, False, 0, IDS)


@pytest.mark.parametrize("utility", [np.ones((ROWS, 4), complex), np.full((ROWS, 4), "high"), np.full((ROWS, 4), None)])
@pytest.mark.parametrize("sample", [True, False])
def test_scores_that_are_no_real_numbers_are_refused(utility, sample):
    with pytest.raises(PluginError, match="utility must be real numbers"):
        draw(Scores(utility, np.ones((ROWS, 4))), OPEN, sample, 0, IDS)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_row_needs_a_finite_utility_of_an_allowed_candidate(value):
    utility = np.full((ROWS, 4), value)
    with pytest.raises(PluginError, match="utility must be finite for at least one allowed candidate of each row"):
        draw(Scores(utility), OPEN, False, 0, IDS)
    utility[:, 1] = 0.0
    assert draw(Scores(utility), OPEN, False, 0, IDS)[0].tolist() == [0 if value > 0 else 1] * ROWS
    with pytest.raises(PluginError, match="utility must be finite"):
        draw(Scores(utility), masked([True, False, True, True]), False, 0, IDS)


def test_nan_is_refused_where_a_candidate_is_allowed_and_ignored_elsewhere():
    utility = np.tile((np.nan, 0.0, 1.0, 0.0), (ROWS, 1))
    with pytest.raises(PluginError, match="must not be NaN"):
        draw(Scores(utility), OPEN, False, 0, IDS)
    assert draw(Scores(utility), masked([False, True, True, True]), False, 0, IDS)[0].tolist() == [2] * ROWS


def without_figures(expected):
    """Return expected outcomes where the first candidate's cost and the second one's latency are unknown."""
    cost, latency = expected.cost_usd.astype(float), expected.latency_ms.astype(float)
    cost[:, 0], latency[:, 1] = np.nan, np.nan
    return attrs.evolve(expected, cost_usd=cost, latency_ms=latency)


@pytest.mark.parametrize(("figure", "preference"), [("cost_usd", [0.5, 0.5, 0.0]), ("latency_ms", [0.5, 0.0, 0.5])])
def test_nan_where_a_price_or_latency_is_unknown_is_said_to_come_from_that(figure, preference):
    request = make_request(make_dataset(2)).with_preference(np.array(preference))
    known = getattr(request.expected, figure).astype(np.float64)
    known[1, 2] = np.nan
    request = attrs.evolve(request, expected=attrs.evolve(request.expected, **{figure: known}))
    utility = np.where(np.isnan(known), np.nan, 0.5)
    with pytest.raises(PluginError, match=f"the preference weighs {figure}, which is unknown for '?{POOL.names[2]}'?: give"):
        draw(Scores(utility), request, False, 0, ["a", "b"])
    with pytest.raises(PluginError, match="the router may need a trained estimator"):
        draw(Scores(utility), request.with_preference(np.array([1.0, 0.0, 0.0])), False, 0, ["a", "b"])
    both = attrs.evolve(request.with_preference(np.array([0.5, 0.25, 0.25])), expected=without_figures(request.expected))
    utility = np.where(np.isnan(both.expected.cost_usd) | np.isnan(both.expected.latency_ms), np.nan, 0.5)
    with pytest.raises(PluginError, match=r"the preference weighs (cost_usd|latency_ms), which is unknown for"):
        draw(Scores(utility), both, False, 0, ["a", "b"])
    with pytest.raises(PluginError, match="the router may need a trained estimator"):  # it is also NaN where all is known
        draw(Scores(np.full_like(utility, np.nan)), request, False, 0, ["a", "b"])


def test_nan_where_others_without_a_latency_have_a_utility_does_not_come_from_the_latency():
    request = make_request(make_dataset(2)).with_preference(np.array([0.5, 0.0, 0.5]))
    figures = np.full((2, 4), np.nan)
    unknown = attrs.evolve(request, expected=attrs.evolve(request.expected, latency_ms=figures))
    utility = np.zeros((2, 4))
    utility[:, 2] = np.nan
    with pytest.raises(PluginError, match="or compute NaN from figures that it knows"):
        draw(Scores(utility), unknown, False, 0, ["a", "b"])


@pytest.mark.parametrize("row", [(0.0, 0.0, 0.0, 0.0), (-0.1, 0.5, 0.6, 0.0), (np.inf, 0.1, 0.1, 0.1)])
def test_probabilities_that_leave_nothing_to_draw_are_refused(row):
    with pytest.raises(PluginError, match="probabilities must be"):
        draw(Scores(FLAT, np.tile(row, (ROWS, 1))), OPEN, True, 0, IDS)


def test_the_probabilities_of_choices_are_those_of_the_draw():
    scores = Scores(np.tile([3.0, 9.0, 1.0, 2.0], (ROWS, 1)), np.tile([1.0, 5.0, 1.0, 2.0], (ROWS, 1)))
    request = masked([True, False, True, True])
    assert choice_probabilities(scores, request, True) == pytest.approx(np.tile([0.25, 0.0, 0.25, 0.5], (ROWS, 1)))
    for one_choice, sample in ((scores, False), (attrs.evolve(scores, probabilities=None), True)):
        assert choice_probabilities(one_choice, request, sample) == pytest.approx(np.tile([1.0, 0.0, 0.0, 0.0], (ROWS, 1)))
    assert draw(scores, request, False, 0, IDS)[0].tolist() == [0] * ROWS
    np.testing.assert_array_equal(draw(scores, request, True, 0, IDS)[2], choice_probabilities(scores, request, True))
    assert draw(scores, request, False, 0, IDS)[2] is None
    with pytest.raises(NoCandidateError):
        choice_probabilities(scores, masked([False] * 4), False)
