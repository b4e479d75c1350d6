"""Measure the feedback that the decision log takes a second, in memory and durably, and a plain SQLite loop; prints JSON.

    python benchmarks/feedback.py [--store redis://localhost:6379/0]

Also adds 32,000 pieces from 32 threads and 4,000 from 4 processes to one log, and counts its entries. Figures are pieces a second of
wall-clock time, and microseconds of CPU time for each. A shared disk or processor makes the first vary; the second varies less.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from speed.clock import cpu_and_wall_s

from aamc_sdk.controller import MetaController
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store, read_batches
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Records

THREADS, PROCESSES, EACH = 32, 4, 1000
DECISIONS = 2000


def opened(url: str) -> Store:
    return open_store(url, get_plugin_manager())


def decide(store: Store) -> None:
    """Log the decisions that all feedback refers to."""
    request = make_request(make_dataset(DECISIONS))
    store.add_decisions(Records([Decision(f"d{n}", POOL.names[0], 1.0, Preference()) for n in range(DECISIONS)], request))


def judgements(count: int, source: str) -> list[Feedback]:
    """Return feedback, each piece new."""
    return [Feedback(decision_id=f"d{n % DECISIONS}", quality=0.5, source=f"{source} {n}", time=1.0) for n in range(count)]


def rate(count: int, work: Callable[[], object]) -> dict[str, float]:
    """Return pieces a second of some work on ``count`` pieces, and the CPU time of each."""
    used, taken = cpu_and_wall_s(work)
    return {"per_second": round(count / taken), "cpu_us": round(1e6 * used / count, 1)}


def counted(store: Store) -> dict[str, int]:
    """Return the number of pieces of feedback in a log, and of those that it holds twice."""
    found = [feedback.id for batch in read_batches(store) for feedback in batch.experience().feedback]
    return {"kept": len(found), "twice": len(found) - len(set(found))}


def in_memory(count: int = 200_000) -> dict[str, dict[str, float]]:
    """Measure the log in memory: in batches, by single calls, and through a controller."""
    with closing(opened("memory:")) as store:
        decide(store)
        batch, single = [(feedback, None) for feedback in judgements(count, "batch")], judgements(count // 4, "single")
        figures = {
            "batch": rate(len(batch), lambda: store.add_feedback(batch)),
            "one_by_one": rate(len(single), lambda: [store.add_feedback([(feedback, None)]) for feedback in single]),
        }
    with MetaController.build(router="random", pool=POOL) as controller:
        decide(controller.store)
        given = judgements(count, "controller")
        return figures | {"controller_feedback_batch": rate(len(given), lambda: controller.feedback_batch(given))}


@contextmanager
def plain_table(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a table without a log around it: ids and contents, one commit each, as durable as the log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE feedback (id TEXT PRIMARY KEY, decision_id TEXT, content TEXT)")
        yield connection


def plain(path: Path, count: int = 500) -> dict[str, float]:
    rows = [(feedback.id, feedback.decision_id, json.dumps({"quality": feedback.quality})) for feedback in judgements(count, "plain")]
    with plain_table(path) as connection:
        return rate(count, lambda: [connection.execute("INSERT INTO feedback VALUES (?, ?, ?)", row) for row in rows])


def give(url: str, source: str) -> None:
    """Add feedback from a process of its own, four threads at a time."""
    with closing(opened(url)) as store, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda feedback: store.add_feedback([(feedback, None)]), judgements(EACH, source)))


def durable(url: str) -> dict[str, object]:
    """Measure a durable log: in batches, from many threads, from several processes."""
    with closing(opened(url)) as store:
        decide(store)
        batch: Sequence[tuple[Feedback, None]] = [(feedback, None) for feedback in judgements(10 * EACH, "batch")]
        lone, shared = judgements(EACH // 4, "lone"), judgements(THREADS * EACH, "thread")
        figures: dict[str, object] = {
            "one_thread": rate(len(lone), lambda: [store.add_feedback([(feedback, None)]) for feedback in lone]),
            "batch": rate(len(batch), lambda: store.add_feedback(batch)),
        }
        with ThreadPoolExecutor(THREADS) as threads:
            figures[f"{THREADS}_threads"] = rate(
                len(shared), lambda: list(threads.map(lambda feedback: store.add_feedback([(feedback, None)]), shared))
            )
        spawned = multiprocessing.get_context("spawn")
        processes = [spawned.Process(target=give, args=(url, f"process {me}")) for me in range(PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        given = len(batch) + len(lone) + len(shared) + PROCESSES * EACH
        return figures | {"given": given, **counted(store)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", help="An empty log to measure as well, such as redis://localhost:6379/0.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        beside = plain(Path(folder) / "plain.db")
        sqlite = durable(f"sqlite:{folder}/log.db")
    other = {} if arguments.store is None else {arguments.store.partition(":")[0]: durable(arguments.store)}
    print(json.dumps({"memory": in_memory(), "plain_sqlite_a_commit_each": beside, "sqlite": sqlite, **other}, indent=1))


if __name__ == "__main__":
    main()
