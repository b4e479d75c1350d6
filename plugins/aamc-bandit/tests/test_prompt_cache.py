"""The lost prompt cache is a cost of a switch, and never a lock."""

from __future__ import annotations

import pytest

from aamc_sdk import MetaController, Query
from aamc_sdk.types import ModelSpec, Pool, Prices

ROUTERS = ("thompson", "epsilon-greedy", "linear-thompson")
PRICES = Prices(5.0, 10.0, cached_input=0.5)
POOL = Pool([ModelSpec("good", prices=PRICES), ModelSpec("other", prices=PRICES)])


def probability(controller: MetaController, cached_on: str | None, preference: tuple[float, float, float] | None, tokens: int = 100_000) -> float:
    """Return the probability of ``good``."""
    decision = controller.route(Query("Go on.", prompt_tokens=tokens, cached_on=cached_on), preference)
    assert decision.propensity is not None
    return decision.propensity if decision.candidate == "good" else 1 - decision.propensity


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("preference", [None, (0.2, 0.7, 0.1)], ids=["no preference", "cost"])
def test_a_long_conversation_rather_stays_with_its_candidate(router: str, preference: tuple[float, float, float] | None) -> None:
    with MetaController.build(router=router, pool=POOL, store="memory:", seed=0) as controller:
        assert probability(controller, None, preference) == pytest.approx(0.5)
        stays = probability(controller, "good", preference)
        assert stays > 0.65
        assert probability(controller, "other", preference) == pytest.approx(1 - stays)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_short_conversation_loses_little_cache(router: str) -> None:
    with MetaController.build(router=router, pool=POOL, store="memory:", seed=0) as controller:
        assert probability(controller, "good", None, 100) <= probability(controller, "good", None)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_cache_does_not_block_a_needed_upgrade(router: str) -> None:
    with MetaController.build(router=router, pool=POOL, store="memory:", seed=0) as controller:
        for _ in range(60):
            decision = controller.route("Hello")
            for name in ("good", "other"):
                controller.feedback(decision.id, candidate=name, quality=float(name == "other"), source=f"judge of {name}")
        controller.learner.flush()
        assert probability(controller, "good", None) < 0.2


def test_without_cost_awareness_a_cache_has_no_weight() -> None:
    with MetaController.build(router={"name": "thompson", "cost_awareness": False}, pool=POOL, store="memory:", seed=0) as controller:
        assert probability(controller, "good", None) == pytest.approx(0.5)


@pytest.mark.parametrize("router", ["thompson", "linear-thompson"])
@pytest.mark.parametrize("preference", [None, (0.9, 0.08, 0.02), (0.2, 0.7, 0.1)], ids=str)
def test_without_evidence_exploration_does_not_lose_the_cache_at_each_turn(router: str, preference: tuple[float, float, float] | None) -> None:
    """Four candidates without feedback would each win a quarter of the draws of every turn."""
    pool = Pool([ModelSpec(name, prices=PRICES) for name in ("good", "b", "c", "d")])
    with MetaController.build(router=router, pool=pool, store="memory:", seed=0) as controller:
        request = Query("Go on.", prompt_tokens=100_000, cached_on="good")
        stays = [controller.route(request, preference).candidate == "good" for _ in range(200)]
    assert sum(stays) >= 180


@pytest.mark.parametrize("router", ["thompson", "linear-thompson"])
def test_little_evidence_already_ends_a_worse_candidates_conversation(router: str) -> None:
    with MetaController.build(router=router, pool=POOL, store="memory:", seed=0) as controller:
        for n in range(8):
            controller.feedback(controller.route("Hello", decision_id=f"d{n}").id, candidate="other", quality=1.0)
            controller.feedback(f"d{n}", candidate="good", quality=0.0, source="judge")
        controller.learner.flush()
        assert probability(controller, "good", None) < 0.2


def test_where_cost_has_no_weight_a_cache_changes_nothing() -> None:
    with MetaController.build(router="thompson", pool=POOL, store="memory:", seed=0) as controller:
        controller.feedback(controller.route("Hello", decision_id="d").id, candidate="good", quality=1.0)
        controller.learner.flush()
        quality_alone = (1.0, 0.0, 0.0)
        assert probability(controller, "good", quality_alone) == pytest.approx(probability(controller, None, quality_alone), abs=1e-9)


@pytest.mark.parametrize("router", ["thompson", "linear-thompson"])
def test_where_the_candidate_with_the_cache_is_not_available_the_cache_changes_nothing(router: str) -> None:
    pool = Pool([ModelSpec(name, prices=PRICES) for name in ("good", "b", "c")])
    with MetaController.build(router=router, pool=pool, store="memory:", seed=0) as controller:
        controller.feedback(controller.route("Hello", decision_id="d").id, candidate="b", quality=1.0)
        controller.learner.flush()
        with_cache, without = (
            controller.route(Query("Go on.", prompt_tokens=100_000, cached_on=cached_on), unavailable=["good"]) for cached_on in ("good", None)
        )
    assert with_cache.probabilities == pytest.approx(without.probabilities)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("preference", [None, (0.9, 0.08, 0.02)], ids=str)
def test_the_cache_of_a_free_candidate_saves_nothing(router: str, preference: tuple[float, float, float] | None) -> None:
    pool = Pool([ModelSpec(name, prices=Prices(0.0, 0.0, cached_input=0.0)) for name in ("good", "other")])
    with MetaController.build(router=router, pool=pool, store="memory:", seed=0) as controller:
        assert probability(controller, "good", preference) == pytest.approx(0.5)
