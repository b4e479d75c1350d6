"""The posteriors on the dashboard."""

from __future__ import annotations

import numpy as np
import pytest
from aamc_bandit.thompson import EvidenceKeys, Thompson
from aamc_gateway.dashboard.learned_state import beta_density, beta_interval, posteriors_document

from aamc_sdk import MetaController
from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import ModelSpec, Pool, Prices


@pytest.fixture
def pool():
    return Pool([ModelSpec(name, prices=Prices(1.0, 1.0)) for name in ("a", "b", "c")])


def groups_of(router, pool):
    """Return the shown parameters of each candidate by group, or none without posteriors."""
    (found,) = posteriors_document(router, "own", pool)["routers"] or [{"groups": []}]
    return {
        group["name"]: {each["candidate"]: (each["alpha"], each["beta"], each["feedback"]) for each in group["standings"]}
        for group in found["groups"]
    }


@pytest.mark.parametrize("name", ["thompson", "epsilon-greedy"])
def test_posteriors_have_the_prior_of_the_router_and_all_its_candidates(pool, name):
    with MetaController.build(router={"name": name, "prior_alpha": 8.0, "prior_beta": 2.0}, pool=pool) as controller:
        controller.feedback(controller.route("hello").id, quality=0.0, candidate="a")
        controller.learner.flush()
        shown = groups_of(controller.router, pool)
    assert shown == {"all requests": {"a": (8.0, 3.0, 1), "b": (8.0, 2.0, 0), "c": (8.0, 2.0, 0)}}


@pytest.mark.parametrize("options", [{}, {"discount": 1.0}, {"blend": "linear"}])
def test_the_posterior_of_a_category_counts_its_own_outcomes_once_and_those_of_others_as_a_few(pool, options):
    with MetaController.build(router={"name": "thompson", **options}, pool=pool) as controller:
        router = controller.router
        for category, qualities in (("code", [1.0] * 30 + [0.0] * 10), ("text", [0.0] * 100)):
            router.evidence.add(EvidenceKeys(category=category), [("a", quality) for quality in qualities], 1.0, implicit=False, time=0.0)
        shown = groups_of(router, pool)
    assert {"all requests", "code", "text"} == set(shown)
    alpha, beta, feedback = shown["code"]["a"]
    assert feedback == 40
    assert alpha + beta == pytest.approx(40 + router.config.category_strength, abs=1.5)  # evidence is aged a little
    assert beta > 10  # what others found bad counts


def test_the_interval_of_a_category_covers_its_quality(pool):
    covered, rng = 0, np.random.default_rng(0)
    router = Thompson(Thompson.Config(), Services(pool=pool, reward=LinearReward(), make=lambda *_: None, seed=0))
    for number in range(200):  # categories of one router: the others are its other requests
        outcomes = [("a", float(quality)) for quality in rng.random(40) < 0.7]
        router.evidence.add(EvidenceKeys(category=f"{number}"), outcomes, 1.0, implicit=False, time=0.0)
        alpha, beta = router.posterior(EvidenceKeys(category=f"{number}"), pool)[0]
        low, high = beta_interval(alpha, beta)
        covered += low <= 0.7 <= high
    assert 0.92 <= covered / 200 <= 0.99


def test_the_categories_with_most_feedback_are_shown(pool, monkeypatch):
    monkeypatch.setattr("aamc_gateway.dashboard.learned_state.MAX_GROUPS", 1)
    with MetaController.build(router="thompson", pool=pool) as controller:
        for category, outcomes in (("code", 2), ("text", 9), ("maths", 5)):
            controller.router.evidence.add(EvidenceKeys(category=category), [("a", 1.0)] * outcomes, 1.0, implicit=False, time=0.0)
        assert list(groups_of(controller.router, pool)) == ["all requests", "text"]


def test_a_density_is_drawn_as_a_share_of_its_maximum():
    found = beta_density(3.0, 2.0)  # x^2 (1 - x), at most 4 / 27
    assert (max(found), found[0], found[80]) == (1.0, 0.0, 0.0)
    assert found[40] == pytest.approx(0.5**3 * 27 / 4, abs=1e-3)


def test_without_feedback_there_are_no_posteriors(pool):
    with MetaController.build(router="thompson", pool=pool) as controller:
        assert groups_of(controller.router, pool) == {}


def test_posteriors_have_the_names_that_decisions_and_configurations_use(pool):
    pair = {"name": "canary", "stable": "epsilon-greedy", "candidate": {"name": "thompson", "prior_alpha": 2.0}}
    for router, shown in (("thompson", [("", "thompson")]), (pair, [("stable", "epsilon-greedy"), ("candidate", "thompson")])):
        with MetaController.build(router=router, pool=pool) as controller:
            controller.feedback(controller.route("hello").id, quality=1.0)
            controller.learner.flush()
            found = posteriors_document(controller.router, controller.router_name, pool)["routers"]
        assert [(each["role"], each["router"]) for each in found] == shown
