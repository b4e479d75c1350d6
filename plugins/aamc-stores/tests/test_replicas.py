"""Three processes on one log, killed one at a time: in the end each has the state of a single learner, to the bit."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from replica_process import ROUTER, Replica, learner_of, single_state

from aamc_sdk.controller import MetaController
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import state_of
from aamc_sdk.testing import POOL

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
        acknowledged = 0
        for replacement in "de":  # the elected process, twice
            elected = learner_of(replicas)
            assert elected is not None
            acknowledged += elected.ask("health")["acknowledged"]
            elected.kill()
            replicas = [*(replica for replica in replicas if replica is not elected), Replica(url, replacement, 0.01)]
            while learner_of(replicas) is None:
                time.sleep(0.05)
        acknowledged += sum(replica.ask("stop")["acknowledged"] for replica in replicas)
        found = [replica.ask("state") for replica in replicas]
        state, judged = single_state(url)
        assert judged >= acknowledged > 0
        assert {answer["state"] for answer in found} == {state}
        assert sum(replica.ask("health")["is_learner"] for replica in replicas) == 1
    finally:
        for replica in replicas:
            replica.close()


def test_a_forgotten_user_goes_from_every_replica(url: str) -> None:
    def serving() -> MetaController:
        return MetaController.build(router=ROUTER, pool=POOL, store=url, plugins=get_plugin_manager(), seed=1)

    with serving() as first, serving() as second:
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
