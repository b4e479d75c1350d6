"""Measures the delta of a large learned state against the whole state, and a restart from them.

    python benchmarks/learned_state.py --users 100000 --entries 10000 --log-entries 1000000

A router thompson knows a number of users. It learns more entries (decisions and feedback) of users at random; its delta and its whole state are
then measured in bytes and seconds of CPU. The second part writes a log of a million entries in a SQLite file, leaves the process that serves it
without its end, as one that is killed, and measures the start of the next one. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
from speed.clock import cpu_s

from aamc_sdk import MetaController
from aamc_sdk.interfaces import OnlineRouter
from aamc_sdk.log import MemoryStore, StoreOptions, open_store, read_batches
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import Learner, restore, state_of
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Query, Records

BATCH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000, help="users that the router knows (default: 100000)")
    parser.add_argument("--entries", type=int, default=10_000, help="entries between two states (default: 10000)")
    parser.add_argument("--log-entries", type=int, default=1_000_000, help="entries of the log that a process restarts from (default: 1000000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"state": states(args.users, args.entries), "restart": restart(Path(folder), args.users, args.log_entries)}, indent=1))


def new_router() -> OnlineRouter:
    """Return a router thompson without evidence."""
    with MetaController.build(router="thompson", pool=POOL, plugins=get_plugin_manager(), seed=1) as controller:
        router: OnlineRouter = controller.router.services.make("router", "thompson", {})
    return router


def write(store: Any, first: int, users: list[str]) -> None:
    """Log a decision and feedback of each user."""
    request = attrs.evolve(make_request(make_dataset(len(users))), queries=[Query("Hi", user=user, session=f"s {user}") for user in users])
    names, drawn = POOL.names, random.Random(first)
    chosen = [drawn.choice(names) for _ in users]
    decisions = [Decision(f"d{first + n}", name, 0.25, Preference(), {name: 0.25}, time=1.7e9 + first + n) for n, name in enumerate(chosen)]
    store.add_decisions(Records(decisions, request))
    store.add_feedback([(Feedback(decision_id=decision.id, quality=drawn.random(), time=decision.time), None) for decision in decisions])


def learn_users(users: int, entries: int) -> tuple[OnlineRouter, MemoryStore]:
    """Return a router that knows users, and a log with more entries of them."""
    router, store = new_router(), MemoryStore("memory:", StoreOptions())
    drawn = random.Random(1)
    for first in range(0, users, BATCH):
        write(store, first, [f"user {n}" for n in range(first, min(first + BATCH, users))])
    for batch in read_batches(store, at_once=BATCH):
        router.learn(batch.experience())
    for first in range(users, users + entries // 2, BATCH):
        write(store, first, [f"user {drawn.randrange(users)}" for _ in range(BATCH)])
    return router, store


def states(users: int, entries: int) -> dict[str, float]:
    """Compare a delta with the whole state."""
    router, store = learn_users(users, entries)
    whole, follower = state_of(router), new_router()
    load_s = cpu_s(lambda: restore(follower, whole))
    router.delta()
    position = 2 * users
    learn_s = 0.0
    while (batch := store.experience(position, BATCH)).position > position:
        position = batch.position
        learn_s += cpu_s(lambda learned=batch: router.learn(learned))  # type: ignore[misc]
    found: dict[str, Any] = {}
    delta_s = cpu_s(lambda: found.update(delta=router.delta()))
    apply_s = cpu_s(lambda: follower.apply_delta(found["delta"]))
    save_s = cpu_s(lambda: found.update(whole=state_of(router)))
    return {
        "users": users,
        "entries": entries,
        "learning_cpu_s": round(learn_s, 3),
        "delta_mb": round(len(found["delta"]) / 1e6, 2),
        "delta_cpu_s": round(delta_s, 3),
        "apply_cpu_s": round(apply_s, 3),
        "whole_mb": round(len(found["whole"]) / 1e6, 2),
        "whole_cpu_s": round(save_s, 3),
        "load_cpu_s": round(load_s, 3),
        "equal": state_of(follower) == found["whole"],
    }


def restart(folder: Path, users: int, entries: int) -> dict[str, float]:
    """Measure the start of a process on a log of many entries, from the state that a killed one left."""
    url, drawn = f"sqlite:{folder / 'log.db'}", random.Random(2)
    plugins = get_plugin_manager()
    store = open_store(url, plugins)
    learner = Learner(store, new_router(), lambda _: None)
    for first in range(0, entries // 2, BATCH):
        write(store, first, [f"user {drawn.randrange(users)}" for _ in range(BATCH)])
        learner.wake()
    learner.flush()  # and no close: as a killed process leaves it
    before = time.perf_counter()
    second = open_store(url, plugins)
    opened = time.perf_counter()
    again = new_router()
    made, cpu = time.perf_counter(), time.process_time()
    started = Learner(second, again, lambda _: None)
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    equal = state_of(again) == state_of(learner._router)
    size = (folder / "log.db").stat().st_size
    for each in (started, learner):
        each.close()
    for log in (second, store):
        log.close()
    return {
        "entries": entries,
        "users": users,
        "open_s": round(opened - before, 3),
        "learner_start_s": round(ended - made, 3),
        "learner_start_cpu_s": round(cpu, 3),
        "log_mb": round(size / 1e6, 1),
        "equal": equal,
    }


if __name__ == "__main__":
    main()
