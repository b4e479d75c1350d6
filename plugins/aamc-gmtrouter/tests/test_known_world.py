"""Worlds of known truth: the router is above per-user ridge and near the exact posterior, on users it was not trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from aamc_gmtrouter.options import GMTRouterConfig
from taste_world import WorldTrial

MakeTrial = Callable[..., WorldTrial]
SEEDS = (0, 1)


@pytest.mark.parametrize(("weight", "least"), [(0.0, (0.45, 0.64, 0.74, 0.86)), (0.5, (0.67, 0.70, 0.74, 0.79))])
def test_unseen_users_are_predicted_almost_as_well_as_by_the_exact_posterior(make_trial: MakeTrial, weight: float, least: tuple[float, ...]) -> None:
    trials = [make_trial(seed, query_weight=weight) for seed in SEEDS]
    found = [(areas["gmtrouter"], areas["user-ridge"], trial.posterior_areas(200)) for trial in trials if (areas := trial.areas())]
    own, ridge, best = np.mean(found, axis=0)
    assert (own >= least).all(), own
    assert (own[1:] > ridge[1:]).all(), (own, ridge)
    assert (own[1:] > best[1:] - 0.02).all(), (own, best)


@pytest.mark.parametrize("settings", [{"dimensions": 16, "models": 12, "query_weight": 0.5}, {"dimensions": 4, "temperature": 0.6, "users": 40}])
def test_worlds_of_other_sizes_are_predicted_too(make_trial: MakeTrial, settings: dict[str, float]) -> None:
    trial = make_trial(3, **settings)
    own, best = np.array(trial.areas()["gmtrouter"]), np.array(trial.posterior_areas(200))
    assert (own[1:] > best[1:] - 0.04).all(), (own, best)


def test_ratings_of_others_do_not_help_and_those_of_the_opposite_user_mislead(make_trial: MakeTrial) -> None:
    trial = make_trial(0)
    users = trial.world.unseen_users
    assert trial.areas(trial.world.opposite)["gmtrouter"][3] <= 0.20
    half = len(users) // 2  # a donor and the donor's opposite equally often, so that similar tastes cancel
    shuffled = [trial.areas(lambda user, shift=shift: users[(users.index(user) + shift) % len(users)])["gmtrouter"][3] for shift in (3, 3 + half)]
    assert 0.45 <= np.mean(shuffled) <= 0.55


def test_a_context_and_preferred_models_help_before_the_first_rating(make_trial: MakeTrial) -> None:
    told = make_trial(0, users=40, comparisons=20, profiles=True)
    untold = make_trial(0, GMTRouterConfig(model="preference", use_context=False, use_preferred=False), users=40, comparisons=20, profiles=True)
    assert told.areas()["gmtrouter"][0] > 0.7
    assert 0.4 < untold.areas()["gmtrouter"][0] < 0.6
