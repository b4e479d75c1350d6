"""Kills replicas on one log at random, the elected one among them, and measures how learning goes on; prints JSON.

    python benchmarks/replicas.py --postgres postgres://aamc@localhost/aamc --redis redis://localhost/0 [--kills 20]

Three processes decide and judge on one log. Every few seconds one is killed by ``kill -9`` and replaced, every second time the elected one.
``takeover_s``: from the kill of the elected process until another one learns. ``staleness_s``: for how long a follower did not know the whole log,
over all samples. At the end the traffic stops; ``equal`` says whether each replica's state equals that of a router that learned the whole log alone,
``lost`` counts acknowledged feedback that the log does not have, and ``doubled`` that which it has twice.

``follower``: CPU time of a process without traffic that follows for some seconds, less that of one on a log without traffic, and the CPU time of
reading and learning the same entries.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk import MetaController
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL

sys.path.append(str(Path(__file__).parents[1] / "plugins/aamc-stores/tests"))
from replica_process import ROUTER, Replica, learner_of, single_state  # it is next to the tests that use it too

IDLE = 1e6
"""Seconds between two decisions of a process without traffic."""
SAMPLE_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", help="PostgreSQL server that may be written to")
    parser.add_argument("--redis", metavar="URL", help="Redis server that may be written to")
    parser.add_argument("--kills", type=int, default=20, help="processes killed on each server (default: 20)")
    parser.add_argument("--pause-ms", type=float, default=5.0, help="time between two decisions of a process in milliseconds (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of the measurement of a follower in seconds (default: 10)")
    arguments = parser.parse_args()
    figures = {}
    for name in ("postgres", "redis"):
        server = getattr(arguments, name)
        if server:
            with tempfile.TemporaryDirectory() as folder:
                url = f"{server}?prefix=r{uuid.uuid4().hex[:12]}&spool={folder}/spool.db"
                try:
                    figures[name] = killed(url, arguments.kills, arguments.pause_ms / 1000)
                    figures[name]["follower"] = followed(url, arguments.pause_ms / 1000, arguments.seconds)
                finally:
                    with closing(open_store(url, get_plugin_manager())) as log:
                        log.drop()  # type: ignore[attr-defined]  # stores on servers have it
    print(json.dumps(figures, indent=1))


def killed(url: str, kills: int, pause_s: float) -> dict[str, Any]:
    """Kill and replace processes, and compare the states at the end."""
    drawn = random.Random(0)
    replicas = [Replica(url, f"first-{number}", pause_s) for number in range(3)]
    takeovers, staleness, acknowledged = [], [], list[str]()
    for number in range(kills):
        elected = learner_of(replicas)
        victim = elected if elected is not None and number % 2 == 0 else drawn.choice(replicas)
        acknowledged += victim.acknowledged("health")
        victim.kill()
        began = time.monotonic()
        replicas.remove(victim)
        while learner_of(replicas) is None:
            staleness += sampled(replicas)
            time.sleep(SAMPLE_S)
        if victim is elected:
            takeovers.append(time.monotonic() - began)
        replicas.append(Replica(url, f"later-{number}", pause_s))
        end = time.monotonic() + drawn.uniform(0.5, 2.0)
        while time.monotonic() < end:
            staleness += sampled(replicas)
            time.sleep(SAMPLE_S)
    for replica in replicas:
        acknowledged += replica.acknowledged("stop")
    states = [replica.ask("state") for replica in replicas]
    for replica in replicas:
        replica.close()
    state, judged = single_state(url)
    return {
        "kills": kills,
        "of_the_elected": len(takeovers),
        "takeover_s": {"median": round(statistics.median(takeovers), 2), "max": round(max(takeovers), 2)},
        "staleness_s": {"median": round(statistics.median(staleness), 2), "max": round(max(staleness), 2)},
        "acknowledged_feedback": len(acknowledged),
        "lost": len(set(acknowledged) - set(judged)),
        "doubled": len(judged) - len(set(judged)),
        "equal": {found["state"] for found in states} == {state},
    }


def sampled(replicas: list[Replica]) -> list[float]:
    found = [replica.ask("health") for replica in replicas]
    return [health["staleness_s"] for health in found if not health["is_learner"]]


def followed(url: str, pause_s: float, seconds: float) -> dict[str, float]:
    """Compare the CPU time of following with that of learning."""
    elected = Replica(url, "elected", IDLE)
    elected.ask("health")
    follower = Replica(url, "follower", IDLE)
    idle = cpu_of(follower, seconds)
    source = Replica(url, "source", pause_s)
    source.ask("health")
    position = follower.ask("state")["position"]
    busy = cpu_of(follower, seconds)
    source.ask("stop")
    end = follower.ask("state")["position"]
    for replica in (source, follower, elected):
        replica.close()
    with (
        MetaController.build(router=ROUTER, pool=POOL, plugins=get_plugin_manager(), seed=1) as alone,
        closing(open_store(url, get_plugin_manager())) as log,
    ):
        log.experience(position)  # what is loaded once
        before = time.process_time()
        after = position
        while (batch := log.experience(after, 100)).position > after:
            after = batch.position
            alone.router.learn(batch)  # type: ignore[attr-defined]  # thompson learns
        learning = time.process_time() - before
    return {
        "entries": end - position,
        "following_cpu_s": round(busy - idle, 3),
        "polling_cpu_s": round(idle, 3),
        "learning_cpu_s": round(learning, 3),
    }


def cpu_of(replica: Replica, seconds: float) -> float:
    """Return the CPU time that a process takes while some seconds pass."""
    before: float = replica.ask("health")["cpu_s"]
    time.sleep(seconds)
    return float(replica.ask("health")["cpu_s"]) - before


if __name__ == "__main__":
    main()
