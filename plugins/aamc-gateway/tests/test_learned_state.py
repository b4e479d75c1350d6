"""The posteriors on the dashboard: those that the router decides by."""

from __future__ import annotations

import pytest
from aamc_bandit.thompson import EvidenceKeys
from aamc_gateway.dashboard.learned_state import posteriors_document

from aamc_sdk import MetaController
from aamc_sdk.types import ModelSpec, Pool, Prices


@pytest.fixture
def pool():
    return Pool([ModelSpec(name, prices=Prices(1.0, 1.0)) for name in ("a", "b", "c")])


def groups_of(router, pool):
    """Return the shown parameters of each candidate by group, or none without posteriors."""
    (found,) = posteriors_document(router, pool)["routers"] or [{"groups": []}]
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


def test_the_posterior_of_a_category_counts_the_evidence_of_others_as_the_router_does(pool):
    with MetaController.build(router="thompson", pool=pool) as controller:
        router = controller.router
        for category, quality in (("code", 1.0), ("text", 0.0), ("text", 0.0)):
            router.evidence.add(EvidenceKeys(category=category), [("a", quality)], 1.0, implicit=False, time=0.0)
        shown = groups_of(router, pool)
        belief, _ = router.belief(EvidenceKeys(category="code"), pool)
    assert {"all requests", "code", "text"} == set(shown)
    assert (belief.alpha[0], belief.beta[0], 1) == shown["code"]["a"]
    assert shown["code"]["a"][1] > 1.0  # what others found bad counts, though nothing in this category did


def test_without_feedback_there_are_no_posteriors(pool):
    with MetaController.build(router="thompson", pool=pool) as controller:
        assert groups_of(controller.router, pool) == {}
