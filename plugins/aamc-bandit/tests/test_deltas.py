"""A router that applies another one's deltas has its state, byte for byte, however the log was divided."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pytest
from aamc_bandit import feedback_outcomes

from aamc_sdk import MetaController
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import OnlineRouter
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import restore, state_of
from aamc_sdk.types import Attempt, Decision, Estimates, Experience, Feedback, Pool, Preference, Query

USERS = 12
ROUTERS: dict[str, dict[str, Any]] = {
    "discount": {"name": "thompson", "max_users": 5, "max_sessions": 7},
    "window": {"name": "thompson", "window": 5, "max_users": 5, "max_sessions": 7},
    "everything": {"name": "thompson", "discount": 1.0},
    "limits": {"name": "thompson", "max_user_weight": 2.0, "max_source_weight": 1.0, "max_users": 5},
    "epsilon-greedy": {"name": "epsilon-greedy", "max_users": 5},
    "linear": {"name": "linear-thompson"},
    "linear-discount": {"name": "linear-thompson", "discount": 0.9},
    "canary": {"name": "canary", "stable": {"name": "thompson", "max_users": 5}, "candidate": "linear-thompson"},
    "shadow": {"name": "shadow", "stable": "epsilon-greedy", "candidate": {"name": "thompson", "max_users": 5}},
}


class Forgetful:
    """A log that knows only the users that it forgot."""

    def __init__(self, *users: str) -> None:
        self.users = users

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        return set(self.users) & set(users)


def made(options: dict[str, Any], pool: Pool) -> OnlineRouter:
    plugins = get_plugin_manager()
    with MetaController.build(router=options, pool=pool, plugins=plugins, seed=1) as controller:
        services = controller.router.services
    router: OnlineRouter = services.make("router", options["name"], {name: value for name, value in options.items() if name != "name"})
    return router


def batches(pool: Pool, count: int, seed: int, epoch: int = 0) -> Iterator[Experience]:
    """Yield experiences of users, sessions, categories, revisions, comparisons and failed calls."""
    drawn, known, made_before = random.Random(seed), {}, itertools.count(seed * 1000)
    numbers = np.random.default_rng(seed)
    for position in range(count):
        entries: list[Attempt | Feedback] = []
        replaced = []
        for _ in range(drawn.randrange(1, 9)):
            old = known and drawn.random() < 0.4
            decision = drawn.choice(list(known)) if old else f"d{next(made_before)}"
            _, _, feedback = known.setdefault(
                decision,
                (
                    Query("?", user=drawn.choice([None, *(f"user {n}" for n in range(USERS))]), session=drawn.choice([None, "s", "t", "u"])),
                    numbers.random(6),
                    {},
                ),
            )
            source = drawn.choice(["explicit", "implicit", "judge"])
            revision = feedback[source].revision + 1 if source in feedback else 0
            if revision:
                replaced.append(feedback[source])
            if drawn.random() < 0.3:
                entries.append(Attempt(decision, len(entries), drawn.choice(pool.names), error=drawn.choice([None, "down"]), cost_usd=drawn.random()))
            else:
                names = drawn.sample(pool.names, 2)
                judged: dict[str, Any] = {"quality": drawn.random()} if drawn.random() < 0.7 else {"over": names[1]}
                time = drawn.choice([position, position * 50_000.0])
                feedback[source] = Feedback(decision_id=decision, candidate=names[0], source=source, revision=revision, time=time, **judged)
                entries.append(feedback[source])
        named = list(dict.fromkeys(entry.decision_id for entry in entries))
        estimates = np.stack([known[name][1] for name in named])
        yield Experience(
            position + 1,
            [known[name][0] for name in named],
            Estimates(estimates[:, 0], estimates[:, 1:3], ("chat", "code"), estimates[:, 3], estimates[:, 4:].astype(np.float32), "drawn"),
            [Decision(name, pool.names[0], 0.5, Preference()) for name in named],
            entries,
            made=len(named),
            epoch=epoch,
            replaced=tuple(replaced),
        )


@pytest.fixture(autouse=True)
def _few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let decisions and users of the counted feedback go too."""
    monkeypatch.setattr(feedback_outcomes, "MAX_DECISIONS", 20)
    monkeypatch.setattr(feedback_outcomes, "MAX_USERS", 6)


@pytest.mark.parametrize("options", ROUTERS.values(), ids=ROUTERS)
@pytest.mark.parametrize("divided", [1, 3, 40])
def test_a_follower_equals_the_learner(options: dict[str, Any], divided: int, pool: Pool) -> None:
    learner, follower = made(options, pool), made(options, pool)
    assert learner.delta() is not None
    for number, experience in enumerate(batches(pool, 80, seed=divided)):
        learner.learn(experience)
        if number % divided == 0:
            follower.apply_delta(learner.delta())
            assert state_of(follower) == state_of(learner)
    follower.apply_delta(learner.delta())
    assert state_of(follower) == state_of(learner)
    again = made(options, pool)
    restore(again, state_of(learner))
    again.learn(experience)  # a follower that takes over learns on as the learner would
    for router in (learner, follower):
        router.learn(experience)
        assert state_of(router) == state_of(again)


@pytest.mark.parametrize("options", ROUTERS.values(), ids=ROUTERS)
def test_deltas_are_those_since_the_state_was_loaded_or_deltas_were_applied(options: dict[str, Any], pool: Pool) -> None:
    learner, first, second = (made(options, pool) for _ in range(3))
    experiences = list(batches(pool, 30, seed=5))
    for experience in experiences[:10]:
        learner.learn(experience)
    restore(first, state_of(learner))
    restore(second, state_of(learner))
    for experience in experiences[10:20]:
        first.learn(experience)
    second.apply_delta(first.delta())
    for experience in experiences[20:]:
        second.learn(experience)  # which leads now
    first.apply_delta(second.delta())
    assert state_of(first) == state_of(second)


@pytest.mark.parametrize("options", ROUTERS.values(), ids=ROUTERS)
def test_forgotten_users_are_gone_in_a_follower_too(options: dict[str, Any], pool: Pool) -> None:
    learner, follower = made(options, pool), made(options, pool)
    learner.delta()
    for experience in batches(pool, 30, seed=6):
        learner.learn(experience)
    follower.apply_delta(learner.delta())
    named = [f"user {n}".encode() for n in range(USERS) if f"user {n}".encode() in state_of(learner)]
    assert named
    log: Any = Forgetful(*(name.decode() for name in named))
    learner.prepare_replay(log)
    for experience in batches(pool, 1, seed=7):
        learner.learn(experience)
    follower.apply_delta(learner.delta())
    assert state_of(follower) == state_of(learner)
    follower.prepare_replay(log)
    assert not any(name in state_of(follower) for name in named)


@pytest.mark.parametrize("name", ["thompson", "linear-thompson", "canary"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"counted": 1, "routers": {"stable": "?"}}', b"PK damaged", b"[" * 100_000])
def test_damaged_deltas_are_refused(name: str, damage: bytes, pool: Pool) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        made({"name": name}, pool).apply_delta(damage)


def test_the_delta_of_a_few_users_is_small(pool: Pool) -> None:
    router = made({"name": "thompson"}, pool)
    with MetaController.build(router="thompson", pool=pool, seed=1) as controller:
        for number in range(300):
            decision = controller.route("?", user=f"user {number}")
            controller.feedback(decision.id, quality=1.0)
        controller.learner.flush(60)
        restore(router, state_of(controller.router))
        last = controller.learner.position
        controller.feedback(controller.route("?", user="user 7").id, quality=0.0)
        router.learn(controller.store.experience(last))
    delta = router.delta()
    assert b"user 7" in delta
    assert b"user 8" not in delta
    assert len(delta) < 1500 < len(state_of(router)) / 20


def test_a_pair_has_deltas_only_if_both_routers_have(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = made({"name": "canary", "stable": "thompson", "candidate": "epsilon-greedy"}, pool)
    assert pair.delta() is not None
    monkeypatch.setattr(pair.challenger, "delta", lambda: None)
    assert pair.delta() is None
    assert pair.ended is None
    monkeypatch.setattr(pair.challenger, "delta", lambda: 1 / 0)
    assert pair.delta() is None
    assert "division by zero" in pair.ended
