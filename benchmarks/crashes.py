"""Kills a process that records feedback at random times: the log must hold all acknowledged feedback exactly once.

    python benchmarks/crashes.py --kills 50 [--max-gb 0.0004]

Eight threads decide and record feedback in one SQLite log, with a router that learns; each line that the
process writes is an acknowledged piece of feedback. After every kill the next process continues the log. At
the end the router after a restart, from its snapshot and the later entries, must equal one that learns the
whole log, byte for byte. With ``--max-gb`` the log drops partitions meanwhile, again and again: then the router
after a restart must know each acknowledged piece of feedback exactly once, and the log must count each decision
once, in the log or in its aggregates. Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from aamc_sdk.controller import MetaController
from aamc_sdk.interfaces import NoOptions, OnlineRouter, Store
from aamc_sdk.log import MemoryStore, Retention, SqliteOptions, SqliteStore, StoreOptions, read_batches
from aamc_sdk.log.retention import partitioned_store
from aamc_sdk.log.sqlite import store as sqlite_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import Learner, ServedComponents, make_services, state_of
from aamc_sdk.serving.learner import snapshots
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import POOL, make_dataset, make_reward
from aamc_sdk.types import Experience, RoutingRequest, Scores

THREADS = 8
LONGEST_LIFE_S = 0.4


def digest(feedback_id: str) -> str:
    """Return a short digest of an id, so that the state stays small."""
    return hashlib.sha256(feedback_id.encode()).hexdigest()[:16]


class Posterior(OnlineRouter):
    """A Beta posterior for each candidate, a count of decisions, the time of the last update, and what was learned; draws uniformly."""

    samples = True
    snapshots = True

    def __init__(self, config: Any = None, services: Any = None) -> None:
        super().__init__(config or NoOptions(), services)
        self.alpha = dict.fromkeys(POOL.names, 1.0)
        self.beta = dict.fromkeys(POOL.names, 1.0)
        self.made = 0
        self.last = 0.0
        self.learned: list[str] = []

    def score(self, request: RoutingRequest) -> Scores:
        even = np.full(request.mask.shape, 1 / request.mask.shape[1])
        return Scores(even, even)

    def learn(self, experience: Experience) -> None:
        self.made += experience.made
        for feedback in experience.feedback:
            self.alpha[feedback.candidate] += 0.99 * feedback.quality  # no binary fraction, so that the order of additions shows
            self.beta[feedback.candidate] += 0.99 * (1 - feedback.quality)
            self.last = feedback.time
            self.learned.append(digest(feedback.id))

    def save(self, folder: Path) -> None:
        state = {"alpha": self.alpha, "beta": self.beta, "made": self.made, "last": self.last, "learned": self.learned}
        write_json(folder / "posterior.json", state)

    def load(self, folder: Path) -> None:
        vars(self).update(read_json(folder / "posterior.json"))


def open_log(path: Path, max_gb: float | None = None) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions(retention=Retention(max_gb=max_gb)))


def serve(path: Path, acknowledged: int, max_gb: float | None) -> None:
    """Decide and record feedback forever, and write the id of each acknowledged piece."""
    snapshots.SNAPSHOT_EVERY = 100  # so that kills meet the writing of snapshots as well
    partitioned_store.RETAIN_S = 0.02  # and the dropping of partitions
    sqlite_store.DROPPED_AT_ONCE = 20
    store = open_log(path, max_gb)
    services = make_services(POOL, get_plugin_manager(), reward=make_reward(make_dataset(20)))
    components = ServedComponents(services=services, router=Posterior(), store=store)
    controller = MetaController(components)

    def work(me: int) -> None:
        draws = random.Random(os.getpid() * THREADS + me)
        while True:
            decision = controller.route("Hi", user=f"user {me}")
            controller.feedback(decision.id, quality=draws.random(), latency_ms=1.0)
            os.write(acknowledged, f"{decision.id}/explicit\n".encode())

    for me in range(THREADS):
        threading.Thread(target=work, args=(me,), daemon=True).start()
    signal.pause()


def live_and_die(path: Path, seconds: float, max_gb: float | None) -> list[str]:
    """Start a process, kill it some time after its first acknowledgement, and return all acknowledged ids."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        serve(path, writing, max_gb)
    os.close(writing)
    with os.fdopen(reading) as lines:
        found = [lines.readline()]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found += lines.readlines()
    return [line.strip() for line in found if line.endswith("\n")]


def restarted(store: Store) -> Posterior:
    router = Posterior()
    Learner(store, router, lambda _: None).close()
    return router


def everything(store: SqliteStore) -> list[str]:
    return [feedback.id for batch in read_batches(store) for feedback in batch.experience().feedback]


def found_whole(store: SqliteStore, acknowledged: list[str]) -> dict[str, object]:
    """Compare a log that dropped nothing with the acknowledged entries."""
    kept, anew = everything(store), MemoryStore("memory:", StoreOptions())
    anew.add([(row,) for row in store.batch(0, limit=10**9).rows])
    lost, twice = len(set(acknowledged) - set(kept)), len(kept) - len(set(kept))
    return {"kept": len(kept), "lost": lost, "twice": twice, "same_posterior": state_of(restarted(store)) == state_of(restarted(anew))}


def found_dropped(store: SqliteStore, acknowledged: list[str]) -> dict[str, object]:
    """Compare the router that learned from a log with the acknowledged entries."""
    health, router = store.health(), restarted(store)
    learned, dropped = set(router.learned), sum(each.decisions for each in store.aggregates())
    return {
        "kept": len(everything(store)),
        "learned": len(router.learned),
        "lost": len(set(map(digest, acknowledged)) - learned),
        "twice": len(router.learned) - len(learned),
        "decisions": router.made,
        "dropped": dropped,
        "decisions_counted_once": router.made == dropped + len(store.outcomes()),
        "partitions": health["partitions"],
        "size_bytes": health["size_bytes"],
        "start": health["start"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-gb", type=float, help="The size beyond which the log drops partitions (default: no limit).")
    arguments = parser.parse_args()
    draws, max_gb = random.Random(arguments.seed), arguments.max_gb
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        open_log(path).close()
        acknowledged = [name for _ in range(arguments.kills) for name in live_and_die(path, draws.uniform(0, LONGEST_LIFE_S), max_gb)]
        with closing(open_log(path)) as store:
            found = found_whole(store, acknowledged) if max_gb is None else found_dropped(store, acknowledged)
    print(json.dumps({"kills": arguments.kills, "acknowledged": len(acknowledged), **found}))


if __name__ == "__main__":
    main()
