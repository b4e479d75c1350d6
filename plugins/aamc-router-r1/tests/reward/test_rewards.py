"""Rewards: values of the published code and equations, computed by hand."""

import json
import math

import numpy as np
import pytest
from aamc_router_r1.reward import CostNormalizer, RewardOptions, combine, exact_match, f1, normalize_answer, size_cost
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import CheckpointError, ConfigError, DataError


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles!", "beatles"),
        ("a cat, an owl & the dog", "cat owl dog"),
        ("U.S.A.", "usa"),
        ("Theodore", "theodore"),
        ("  ", ""),
        ("don't", "dont"),
        ("A-Team", "ateam"),
        ("Ünited — States", "ünited — states"),
    ],
)
def test_answers_are_normalised(text, normal):
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("answer", "golds", "em", "harmonic"),
    [
        ("the Beatles", ["Beatles"], 1, 1),
        ("Paris, France", ["Paris"], 0, 2 / 3),
        ("Paris", ["London", "paris."], 1, 1),
        ("yes", ["yes it is"], 0, 0),
        ("no", ["No"], 1, 1),
        ("x", ["y"], 0, 0),
        ("a b b", ["b b c"], 0, 0.8),
        ("", ["y"], 0, 0),
        ("Paris", "Paris", 1, 1),
        ("P", "Paris", 0, 0),
        ("", ["A"], 0, 0),
        ("?", ["The"], 0, 0),
        ("the", ["A"], 0, 0),
        (" the", ["The"], 1, 1),
        ("", [""], 0, 0),
    ],
)
def test_outcomes(answer, golds, em, harmonic):
    assert exact_match(answer, golds) == em
    assert f1(answer, golds) == pytest.approx(harmonic)


@pytest.mark.parametrize(
    ("mode", "malformed", "outcome", "cost", "alpha", "total"),
    [
        ("paper", False, 1, 0.25, 0.6, 0.4 + 0.15),
        ("paper", False, 0, 0.25, 0.6, 0.15),
        ("paper", True, 1, 1, 0.6, -1),
        ("released", False, 1, 0.25, 0.6, 0.4 + 0.15),
        ("released", False, 0, 0.25, 0.6, 0),
        ("released", True, 1, 1, 0.6, -1),
        ("released", False, 0.5, 1, 0.2, 0.6),
        ("vsr", False, 1, 0.5, 0.3, 0.85),
        ("vsr", True, 1, 0.5, 0.3, -1),
        ("paper", False, 1, 0, 0, 1),
        ("paper", False, 1, 0.3, 1, 0.3),
    ],
)
def test_the_three_equations(mode, malformed, outcome, cost, alpha, total):
    assert combine(mode, malformed, outcome, cost, alpha, -1.0).total == pytest.approx(total)


def test_the_cost_of_sizes_is_that_of_the_semantic_router():
    assert [size_cost(0), size_cost(2.5), size_cost(10), size_cost(99)] == [1, 0.75, 0, 0]
    assert size_cost(math.nan) == 0.5
    options = RewardOptions(reward="vsr", alpha=0.3)
    assert options.score(CostNormalizer(), "a", ["a"], 1.0, malformed=False, size_tokens=5).total == pytest.approx(0.7 + 0.15)


def test_f1_judges_in_place_of_exact_match_where_the_options_say_so():
    assert RewardOptions(outcome="f1").score(CostNormalizer(), "x y", ["y"], 0.0, malformed=False).outcome == pytest.approx(2 / 3)


def test_no_ground_truth_is_an_error():
    with pytest.raises(DataError, match="gold"):
        RewardOptions().score(CostNormalizer(), "x", [], 0.0, malformed=False)


def test_the_window_scales_square_roots_between_its_quantiles():
    normalizer = CostNormalizer()
    assert normalizer(4e-6) == 0.5  # one cost has no range
    assert normalizer(4e-6) == 0.5
    roots = [math.sqrt(4e-6), math.sqrt(4e-6), math.sqrt(9e-6)]
    low, high = np.percentile(roots, 5), np.percentile(roots, 95)
    assert normalizer(9e-6) == 1 - min(1.0, (roots[2] - low) / (high - low))
    assert normalizer(0.0) == 1


def test_the_published_code_gives_the_same_numbers():
    """Its unit is a millionth of a USD; the scale does not depend on it."""
    costs = np.random.default_rng(0).gamma(1.0, 300.0, 1500)
    normalizer, window = CostNormalizer(window=1000), []
    for cost in costs:
        window = [*window, math.sqrt(cost)][-1000:]
        low, high = np.percentile(window, 5), np.percentile(window, 95)
        want = 0.5 if high - low < 1e-8 else 1 - float(np.clip((math.sqrt(cost) - low) / (high - low), 0, 1))
        assert normalizer(cost * 1e-6) == pytest.approx(want, abs=1e-9)


def test_a_frozen_window_stays():
    normalizer = CostNormalizer()
    for cost in range(100):
        normalizer(cost)
    normalizer.frozen = True
    before = normalizer.state()
    assert normalizer(1e6) == 0
    assert normalizer.state() == before


def test_an_unknown_cost_is_in_the_middle_and_changes_nothing():
    normalizer = CostNormalizer()
    normalizer(1.0), normalizer(2.0)
    before = normalizer.state()
    assert normalizer(math.nan) == 0.5
    assert normalizer.state() == before
    with pytest.raises(ValueError, match="at least 0"):
        normalizer(-1.0)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=30), st.booleans())
def test_a_saved_normalizer_goes_on_as_the_original(costs, frozen):
    original = CostNormalizer(window=10)
    for cost in costs:
        assert 0 <= original(cost) <= 1
    original.frozen = frozen
    restored = CostNormalizer.from_state(json.loads(json.dumps(original.state())))
    assert [restored(cost) for cost in costs] == [original(cost) for cost in costs]


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=30), st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_cheaper_episode_never_gets_less(costs, one, other):
    normalizer = CostNormalizer()
    for cost in costs:
        normalizer(cost)
    normalizer.frozen = True
    assert normalizer(min(one, other)) >= normalizer(max(one, other))


@pytest.mark.parametrize(
    "state",
    [{}, {"window": 0, "low": 0, "high": 1, "frozen": False, "roots": []}, {"window": 3, "low": 0.1, "high": 0.9, "frozen": False, "roots": [-1]}],
)
def test_a_damaged_state_is_refused(state):
    with pytest.raises(CheckpointError, match="damaged"):
        CostNormalizer.from_state(state)


@pytest.mark.parametrize("options", [{"window": 0}, {"low": 0.9, "high": 0.1}, {"high": 2}])
def test_quantiles_are_checked(options):
    with pytest.raises(ConfigError, match=r"quantile|window"):
        CostNormalizer(**options)
