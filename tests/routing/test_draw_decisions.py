"""From scores to decisions, in cases that a controller does not reach."""

import re

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import PluginError
from aamc_sdk.routing import build_request, choice_probabilities, decide
from aamc_sdk.routing.draw import above_floor
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import ModelSpec, Pool, Preference, Query, Scores

REQUEST = make_request(make_dataset(3))


def preferences_of(request):
    scores = Scores(np.zeros(request.mask.shape))
    return [decision.preference for decision in decide(scores, request, [f"d{row}" for row in range(len(request))], router="r", sample=False, seed=0)]


@pytest.mark.parametrize("preferences", [np.array([0.5, 0.3, 0.2]), np.empty((0, 3))])
def test_of_no_requests_there_are_no_decisions(preferences):
    assert preferences_of(build_request([], POOL, preferences)) == []


def test_each_decision_remembers_its_rows_preference():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 3)
    shared = build_request(REQUEST.queries, POOL, weights[0])
    assert preferences_of(shared) == [Preference(*weights[0])] * 3
    assert preferences_of(attrs.evolve(shared, preferences=weights)) == [Preference(*row) for row in weights]


@pytest.mark.parametrize("name", ["spent_usd", "spent_ms"])
@pytest.mark.parametrize("spent", [-1.0, np.nan, np.inf, np.array([0.1, -0.1, 0.1]), np.array([0.1, 0.1]), np.array(["a"] * 3), ["a"], None])
def test_what_a_decision_cost_must_be_numbers_of_at_least_0(name, spent):
    scores = attrs.evolve(Scores(np.zeros(REQUEST.mask.shape)), **{name: spent})
    with pytest.raises(PluginError, match=f"a router's {name} must be one number of at least 0, or 3, one for each query, not"):
        decide(scores, REQUEST, ["a", "b", "c"], router="r", sample=False, seed=0)


@pytest.mark.parametrize("spent", [0.5, 1, np.float64(0.5), np.array([0.1, 0.0, 0.3]), [0.1, 0.0, 0.3]])
def test_what_a_decision_cost_is_noted(spent):
    scores = attrs.evolve(Scores(np.zeros(REQUEST.mask.shape)), spent_usd=spent)
    decided = decide(scores, REQUEST, ["a", "b", "c"], router="r", sample=False, seed=0)
    assert [decision.notes.get("spent_usd", 0) for decision in decided] == np.broadcast_to(spent, 3).tolist()


@pytest.mark.parametrize(("notes", "found"), [([{}, {}], "2"), ({"x": 1}, "{'x': 1}"), (["a", "b", "c"], "['a', 'b', 'c']"), (5, "5")])
def test_notes_must_be_one_mapping_for_each_query(notes, found):
    scores = Scores(np.zeros(REQUEST.mask.shape), notes=notes)
    with pytest.raises(PluginError, match=rf"^a router's notes must be empty, or hold one mapping for each query, 3 in all, not {re.escape(found)}$"):
        decide(scores, REQUEST, ["a", "b", "c"], router="r", sample=False, seed=0)


@pytest.mark.parametrize(
    ("quality", "floor", "allowed"),
    [
        ([0.5, 0.9, 0.5], 0.8, [False, True, False]),
        ([0.5, 0.9, 0.5], 0.95, [False, True, False]),
        ([0.5, 0.9, 0.5], 0.4, [True, True, True]),
        ([0.5, 0.9, np.nan], 0.8, [False, True, True]),
        ([0.5, 0.4, np.nan], 0.8, [True, False, True]),
        ([np.nan, np.nan, np.nan], 0.9, [True, True, True]),
    ],
)
def test_candidates_below_the_minimum_quality_are_masked(quality, floor, allowed):
    request = build_request([Query("hi")], Pool(map(ModelSpec, "abc")), Preference().array)
    scores = Scores(np.zeros((1, 3)), expected_quality=np.array([quality]))
    assert above_floor(scores, request, floor).mask.tolist() == [allowed]


def test_candidates_of_probability_0_that_alone_reach_the_minimum_quality_are_decided_by_utility():
    request = build_request([Query("hi"), Query("ho")], Pool(map(ModelSpec, "abc")), Preference().array)
    probabilities = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]])
    scores = Scores(np.array([[3.0, 1.0, 2.0]] * 2), probabilities, expected_quality=np.array([[0.5, 0.9, 0.9]] * 2))
    with pytest.raises(PluginError, match="positive for at least one allowed candidate"):
        choice_probabilities(scores, attrs.evolve(request, mask=np.array([[False, True, True]] * 2)), True)
    request = above_floor(scores, request, 0.8)
    assert choice_probabilities(scores, request, True).tolist() == [[0, 0, 1], [0, 0.5, 0.5]]
    decided, _ = decide(scores, request, ["a", "b"], router="r", sample=True, seed=0)
    assert (decided.candidate, decided.propensity) == ("c", 1)
