"""From scores to decisions, where a controller would not come."""

import attrs
import numpy as np
import pytest

from aamc_sdk.routing import build_request, decide
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Preference, Scores

REQUEST = make_request(make_dataset(3))


def preferences_of(request):
    scores = Scores(np.zeros(request.mask.shape))
    return [decision.preference for decision in decide(request, scores, [f"d{row}" for row in range(len(request))], router="r", sample=False, seed=0)]


@pytest.mark.parametrize("preferences", [np.array([0.5, 0.3, 0.2]), np.empty((0, 3))])
def test_of_no_requests_there_are_no_decisions(preferences):
    assert preferences_of(build_request([], POOL, preferences)) == []


def test_each_decision_remembers_its_rows_preference():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 3)
    shared = build_request(REQUEST.queries, POOL, weights[0])
    assert preferences_of(shared) == [Preference(*weights[0])] * 3
    assert preferences_of(attrs.evolve(shared, preferences=weights)) == [Preference(*row) for row in weights]
