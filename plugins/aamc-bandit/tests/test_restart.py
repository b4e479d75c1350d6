"""A restart gives back the same router, to the last bit, and so does learning the whole log anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.linear.router import LinearThompson
from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY, LEVELS
from aamc_bandit.thompson.router import Thompson

from aamc_sdk.config import option
from aamc_sdk.controller import MetaController
from aamc_sdk.interfaces import Estimator
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import ServedComponents, state_name, state_of
from aamc_sdk.serving.learner import log_consumer
from aamc_sdk.serving.learner import snapshots as keeping
from aamc_sdk.types import Estimates, Pool, Query

ROUTERS = [
    {"name": "thompson"},
    {"name": "thompson", "discount": 1.0},
    {"name": "thompson", "max_tenant_weight": 2.0},
    {"name": "epsilon-greedy"},
    {"name": "linear-thompson"},
    {"name": "paced", "router": "thompson", "usd_per_1k": 2.0},
]


class Digits(Estimator):
    """Describes a text by a draw that follows from its bytes."""

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        drawn = np.stack([np.random.default_rng(list(query.text.encode())).random(8) for query in queries])
        categories = drawn[:, :2] / drawn[:, :2].sum(axis=1, keepdims=True)
        return Estimates(drawn[:, 2], categories, ("chat", "code"), drawn[:, 3], drawn[:, 4:].astype(np.float32), "digits")


def build(router: dict, pool: Pool, store: str) -> MetaController:
    """Return a controller whose queries are described by their digits."""
    plugins = get_plugin_manager()
    made = MetaController.build(router=router, pool=pool, plugins=plugins, seed=1)
    made.close()
    services = made.router.services
    fresh = services.make("router", router["name"], {name: value for name, value in router.items() if name != "name"})
    log = open_store(store, plugins)
    described = Digits(None, services)
    components = ServedComponents(services=services, router=fresh, store=log, estimator=described, seed=1)
    return MetaController(components)


def serve(router: dict, pool: Pool, store: str, rounds: int) -> bytes:
    """Decide and judge a while, with users, sessions, comparisons and late feedback; return what the router knows at the end."""
    with build(router, pool, store) as controller:
        first = controller.learner.position
        late = []
        for n in range(first, first + rounds):
            decision = controller.route(f"Question {n}", user=f"user {n % 3}", session=f"session {n % 7}", tenant="acme" if n < 20 else "globex")
            controller.feedback(decision.id, quality=(n * 7 % 11) / 10, source="implicit" if n % 4 == 0 else "explicit", confidence=0.7)
            controller.attempt(decision.id, cost_usd=0.001 * (1 + n % 3), latency_ms=100.0)
            late.append(decision)
            if n % 5 == 0:
                other = next(name for name in pool.names if name != late[0].candidate)
                controller.feedback(late[0].id, over=other, candidate=late[0].candidate, source="arena", cost_usd=0.001)
        controller.learner.flush(60)
        return state_of(controller.router)


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: "-".join(map(str, router.values())))
def test_a_restart_gives_back_the_same_router(router: dict, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"
    monkeypatch.setattr(keeping, "SNAPSHOT_EVERY", 40)
    monkeypatch.setattr(log_consumer, "BATCH", 7)
    before = serve(router, pool, url, 30)
    assert serve(router, pool, url, 0) == before
    after = serve(router, pool, url, 10)  # goes on from the view
    assert after != before
    for size in (1, 13, 5000):  # without any view
        monkeypatch.setattr(log_consumer, "BATCH", size)
        with closing(open_store(url, get_plugin_manager())) as log, build(router, pool, "memory:") as anew:
            anew.store.add([(row,) for row in log.batch(0, 10**6).rows])
            anew.learner.flush(60)
            assert state_of(anew.router) == after


@pytest.mark.parametrize(
    "router",
    [
        {"name": "thompson"},
        {"name": "linear-thompson", "max_tenant_weight": 9.0},
        {"name": "paced", "router": {"name": "thompson", "discount": 0.9}, "usd_per_1k": 2.0},
        {"name": "canary", "stable": "thompson", "candidate": {"name": "paced", "router": "linear-thompson"}},
        {"name": "canary", "stable": "thompson", "candidate": {"name": "shadow", "stable": "thompson", "candidate": "linear-thompson"}},
    ],
    ids=["thompson", "linear-thompson", "paced", "canary", "canary-shadow"],
)
def test_an_option_that_a_release_adds_keeps_names_of_states_and_versions(router: dict, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> tuple[str, object]:
        with build(router, pool, "memory:") as controller:
            made: Any = controller.router
            return state_name(made, made.origin() or state_of(made)), made.described() if router["name"] == "canary" else None

    before = names()
    for bandit in (Thompson, LinearThompson):
        later = attrs.frozen(kw_only=True)(type("Later", (bandit.Config,), {"__annotations__": {"new": float}, "new": option(1.0, "New.")}))
        monkeypatch.setattr(bandit, "Config", later)
        monkeypatch.setattr(bandit, "state_options", (*bandit.state_options, "new"))
    assert names() == before


@pytest.mark.parametrize(
    ("router", "scoring", "learning"),
    [
        ({"name": "thompson"}, {"exploration_rate": 0.1, "cost_weight": 0.9, "sample": False}, {"discount": 0.9}),
        ({"name": "thompson"}, {"min_samples": 3}, {"blend": "linear"}),
        ({"name": "epsilon-greedy"}, {"min_exploration": 0.2, "prior_alpha": 2.0}, {"failure_weight": 0.5}),
        ({"name": "linear-thompson"}, {"mode": "linucb", "prior_sd": 0.5}, {"dimensions": 2}),
        (
            {"name": "paced", "usd_per_1k": 2.0},
            {"usd_per_1k": 3.0, "horizon": 50, "router": {"name": "linear-thompson", "epsilon": 0.1}},
            {"window": 64},
        ),
        (
            {"name": "shadow"},
            {"timeout_ms": 50.0, "candidate": {"name": "thompson", "min_samples": 3}},
            {"candidate": {"name": "thompson", "window": 9}},
        ),
        ({"name": "canary", "stable": {"name": "paced"}}, {"share": 0.5, "trial": "second"}, {"stable": {"name": "paced", "router": "thompson"}}),
    ],
    ids=lambda given: given.get("name"),
)
def test_only_options_that_change_what_is_learned_make_another_state(router: dict, scoring: dict, learning: dict, pool: Pool, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"
    serve(router, pool, url, 10)
    for changed, states in ((scoring, 1), (learning, 2)):
        with build(router | changed, pool, url) as controller:
            assert controller.learner.position == controller.store.position()
            assert controller.store.health()["snapshots"] == states


@pytest.mark.parametrize("router", ["thompson", "linear-thompson"])
@pytest.mark.parametrize("options", [{"discount": 1.0}, {"window": 5}], ids=["all", "window"])
def test_a_revision_takes_the_place_of_the_earlier_feedback(router: str, options: dict, pool: Pool) -> None:
    if router == "linear-thompson":
        options = {"discount": 1.0}  # with one, the age of what is taken back is unknown

    def state(*revisions: float) -> list[float]:
        with MetaController.build(router={"name": router, **options}, pool=pool, seed=1) as controller:
            for number in range(3):
                controller.route("What?", user="anna", decision_id=f"d{number}")
            controller.feedback("d1", quality=0.25, time=1.0)
            for revision, quality in enumerate(revisions):
                controller.feedback("d0", quality=quality, revision=revision, time=1.0)
                controller.learner.flush()
            return state_numbers(controller.router)

    once, revised = state(0.75), state(0.0, 1.0, 0.75)
    assert revised == pytest.approx(once, abs=1e-9)


def state_numbers(router: Any) -> list[float]:
    """Return the posterior's numbers: wins, losses and counts of events, or the sums of the regression."""
    if hasattr(router, "evidence"):
        tables = [router.evidence.table(level, name, router.services.pool.names) for level, name in ((LEVELS[0], GLOBAL_ENTITY), (LEVELS[2], "anna"))]
        return [float(number) for table in tables for number in table.ravel()]
    statistics = router._statistics.values()
    return [float(number) for one in statistics for number in (*one.precision.ravel(), *one.response.ravel(), one.count)]
