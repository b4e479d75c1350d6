"""Three processes on one log, killed one at a time: in the end each has the state of a single learner, to the bit."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from aamc_stores.postgres_log.store import PostgresStore
from aamc_stores.redis_log import leases as redis_leases
from aamc_stores.redis_log.store import RedisStore
from replica_process import ROUTER, Replica, digest, learner_of, single_state
from waiting import wait_until

from aamc_sdk.controller import MetaController
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import state_of
from aamc_sdk.testing import POOL
from aamc_sdk.types import StateDelta

pytestmark = pytest.mark.one_python


@pytest.fixture
def url(server, tmp_path: Path) -> Iterator[str]:
    url = f"{server.url}?prefix=t{uuid.uuid4().hex[:16]}&spool={tmp_path / 'spool.db'}"
    yield url
    with closing(open_store(url, get_plugin_manager())) as log:
        log.drop()


def test_replicas_end_in_the_state_of_a_single_learner(url: str) -> None:
    replicas = [Replica(url, name, 0.01) for name in "abc"]
    try:
        acknowledged = list[str]()
        for replacement in "de":  # the elected process, twice
            while (elected := learner_of(replicas)) is None:
                time.sleep(0.05)
            acknowledged += elected.acknowledged("health")
            elected.kill()
            replicas = [*(replica for replica in replicas if replica is not elected), Replica(url, replacement, 0.01)]
            while learner_of(replicas) is None:
                time.sleep(0.05)
        while not all(replica.ask("health")["acknowledged"] for replica in replicas):
            time.sleep(0.05)  # on a busy machine both kills may come before the first feedback
        for replica in replicas:
            acknowledged += replica.acknowledged("stop")
        found = [replica.ask("state") for replica in replicas]
        state, judged = single_state(url)
        assert len(set(judged)) == len(judged)
        assert set(judged) >= set(acknowledged)
        assert len(acknowledged) >= 3
        assert {answer["state"] for answer in found} == {state}
        wait_until(lambda: sum(replica.ask("health")["is_learner"] for replica in replicas) == 1)  # a lease may pass on while they are asked
    finally:
        for replica in replicas:
            replica.close()


def serving(url: str) -> MetaController:
    return MetaController.build(router=ROUTER, pool=POOL, store=url, plugins=get_plugin_manager(), seed=1)


def _die_at_message(during: str, step: int) -> None:
    """Let this process be killed as it sends the server the n-th message of a store's method."""
    messages, inside = itertools.count(), threading.local()

    def counting(method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            inside.now = True
            try:
                return method(*arguments)
            finally:
                inside.now = False

        return call

    def until_killed(send: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if getattr(inside, "now", False) and next(messages) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return send(*arguments, **options)

        return call

    for store in (RedisStore, PostgresStore):
        setattr(store, during, counting(getattr(store, during)))
    redis.Connection.send_packed_command = until_killed(redis.Connection.send_packed_command)  # type: ignore[method-assign]
    psycopg.Connection.execute = until_killed(psycopg.Connection.execute)  # type: ignore[method-assign]


def _learn(url: str, number: int, during: str = "", step: int = 0) -> None:
    """Be elected, learn one more piece of feedback than the last process, publish that, and end; with a method, be killed in it."""
    if during:
        _die_at_message(during, step)
    with serving(url) as controller:
        assert controller.learner is not None
        controller.feedback(controller.route("Hi", user=f"user {number}").id, quality=number % 7 / 6)
        controller.learner.flush(60)
    os._exit(0)


@pytest.mark.parametrize(("during", "messages"), [("is_learner", 1), ("put_snapshot", 4), ("put_delta", 4)])
def test_a_kill_at_any_step_of_election_and_publication_leaves_a_state_that_the_next_learner_continues(url, during, messages, monkeypatch) -> None:
    monkeypatch.setattr(redis_leases, "LEASE_S", 0.2)
    context = multiprocessing.get_context("fork")

    def learned(*arguments: Any) -> int | None:
        child = context.Process(target=_learn, args=(url, *arguments))
        child.start()
        child.join(60)
        return child.exitcode

    if during == "put_delta":  # deltas continue from a snapshot
        assert learned(0) == 0
    step, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        ended, step = learned(1 + step, during, step), step + 1
    assert ended == 0
    assert step > messages
    with serving(url) as successor:
        assert successor.learner is not None
        successor.learner.flush(60)
        state, judged = single_state(url)
        assert digest(successor) == state
        assert judged


@pytest.mark.parametrize("committed", [False, True])
def test_a_server_that_is_lost_as_a_state_is_published_makes_nothing_count_twice(url: str, server, committed: bool, monkeypatch) -> None:
    monkeypatch.setattr(redis_leases, "LEASE_S", 0.2)
    with serving(url) as elected, serving(url) as follower:
        replicas = elected.learner, follower.learner
        elected.feedback(elected.route("Hi", user="ann").id, quality=1.0)
        for learner in replicas:
            learner.flush(60)
        kind, lost = type(elected.store), threading.Event()
        publish = kind.put_delta

        def lose_the_server(store: Store, name: str, delta: StateDelta) -> bool:
            if committed:
                publish(store, name, delta)
            if not lost.is_set():
                server.kill()
                lost.set()
            return publish(store, name, delta)

        monkeypatch.setattr(kind, "put_delta", lose_the_server)  # of both: on a busy machine another replica may be elected meanwhile
        elected.feedback(elected.route("Hi", user="bob").id, quality=0.5)
        assert lost.wait(60)
        monkeypatch.undo()
        wait_until(lambda: not elected.learner.is_learner)
        server.start()
        follower.feedback(follower.route("Hi", user="cat").id, quality=0.0)
        wait_until(lambda: not elected.store.health()["spooled"] + follower.store.health()["spooled"])
        wait_until(lambda: any(learner.is_learner for learner in replicas))
        for learner in replicas:
            learner.flush(60)
        state, judged = single_state(url)
        assert len(judged) == 3
        assert [digest(elected), digest(follower)] == [state, state]


def test_a_forgotten_user_goes_from_every_replica(url: str) -> None:
    with serving(url) as first, serving(url) as second:
        for controller, user in ((first, "ann"), (second, "bob"), (second, "ann")):
            controller.feedback(controller.route("Hi", user=user, session="s").id, quality=1.0)
        both = first.learner, second.learner
        for learner in both:
            learner.flush(60)
        assert [learner.is_learner for learner in both] == [True, False]
        assert state_of(first.router) == state_of(second.router)
        assert b"ann" in state_of(second.router)
        second.forget("ann")
        for learner in both:
            learner.flush(60)
        assert state_of(first.router) == state_of(second.router)
        assert b"ann" not in state_of(second.router)
        assert second.router.evidence.entities("user").keys() == {"bob"}
