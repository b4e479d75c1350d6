"""The processor time that reading a log takes: for off-policy estimates, for figures alone, and for the report on a canary.

The log has a decision of a canary for each request, with a call and feedback. For comparison, ``bare`` is a plain reader of the same SQLite
file: it selects the entries, decompresses and decodes their contents by msgspec into dictionaries, and keeps nothing. All take turns, since a busy
machine's processor time varies. With ``--store``, the log is on a server, and there is no bare reader; the server's processor time is not counted.
Prints JSON; to compare with an earlier version, run the script in a checkout of each.

    python benchmarks/log_reading.py --decisions 100000
    python benchmarks/log_reading.py --store redis://localhost:6379/0?prefix=reading
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from aamc_bandit.trials.trial_log import read_trials
from aamc_experiments.off_policy.logged_decisions import read_log
from speed.clock import cpu_s

from aamc_sdk import MetaController
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Attempt, Feedback

REQUESTS = 1000
BARE = """SELECT content, kind, decision_id, id, candidate, time, propensity, status, cost_usd, latency_ms, output_tokens
    FROM entries WHERE position > 0 ORDER BY position"""
ROUTER = {"name": "canary", "stable": "thompson", "candidate": "epsilon-greedy", "share": 0.2}


def write(url: str, decisions: int) -> None:
    generator = np.random.default_rng(0)
    with MetaController.build(router=ROUTER, store=url, seed=0) as controller:
        for start in range(0, decisions, REQUESTS):
            made = controller.route_batch([f"request {start + n} about sorting lists" for n in range(min(REQUESTS, decisions - start))])
            controller.store.add_attempts(
                [Attempt(each.id, 0, each.candidate, cost_usd=0.001, latency_ms=100.0 + n, output_tokens=100 + n) for n, each in enumerate(made)]
            )
            judged = [Feedback(decision_id=each.id, quality=float(generator.random() < 0.7)) for each in made]
            controller.store.add_feedback([(feedback, None) for feedback in judged])


def read_bare(path: Path) -> None:
    """Read a log's entries in a SQLite file, and decode their contents."""
    with closing(sqlite3.connect(path)) as connection:
        templates = [content for (content,) in connection.execute("SELECT content FROM templates ORDER BY number")]
        for content, *_ in connection.execute(BARE):
            number, packed = content[0], content[1:]
            msgspec.json.decode(zlib.decompressobj(-zlib.MAX_WBITS, templates[number - 1]).decompress(packed) if number else packed)


def measure(decisions: int, url: str | None = None) -> dict[str, float]:
    """Write a log and return the seconds of each reading, the least of three."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        write(url or f"sqlite:{path}", decisions)
        with closing(open_store(url or f"sqlite:{path}", get_plugin_manager(), existing=True)) as store:
            read = {"estimates": lambda: read_log(store), "figures": store.outcomes, "canary": lambda: read_trials(store)}
            if url is None:
                read["bare"] = lambda: read_bare(path)
            times = [[cpu_s(each) for each in read.values()] for _ in range(3)]
            found = dict(zip(read, map(min, zip(*times, strict=True)), strict=True))
            return {**found, "bytes_per_decision": store.health().get("size_bytes", 0.0) / decisions}


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor time of reading a log.")
    parser.add_argument("--decisions", type=int, default=100_000, help="decisions in the log")
    parser.add_argument("--store", help="an empty log to measure instead of a file, such as redis://localhost:6379/0")
    options = parser.parse_args()
    print(json.dumps({"decisions": options.decisions, "seconds": measure(options.decisions, options.store)}))


if __name__ == "__main__":
    main()
