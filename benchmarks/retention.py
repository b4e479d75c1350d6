"""Measure a log in a file that lives long: a simulated year with its size, the disk of a decision, speed, and migration; prints JSON.

    python benchmarks/retention.py [--per-day 300] [--days 30] [--before FOLDER] [--migrate 10000000]

The year has 365 days of decisions with feedback, with a router that learns and is started anew each day; the log keeps ``--days`` of them.
``--before`` names a checkout of an earlier version: both write decisions with their feedback by turns, so that a shared disk or processor
disturbs both alike. At the same time, a bare SQLite table takes rows of the same size in transactions of the same size. ``--migrate`` makes a log of
version 4 with that many entries and opens it. Kills while partitions are dropped: ``benchmarks/crashes.py --max-gb 0.0004``.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

DAY = 24 * 3600.0
FIRST_DAY = 20_000 * DAY
BATCH = 500
PAIRS = 5000
ROUNDS = 7


def year(folder: Path, per_day: int, days: int) -> dict[str, object]:
    """Simulate a year and return the figures at its end."""
    from aamc_sdk import MetaController
    from aamc_sdk.types import Feedback

    url, real, sizes, decided, cost = f"sqlite:{folder}/year.db?retention={{days: {days}}}", time.time, [], 0, 0.0
    try:
        for day in range(365):
            time.time = lambda now=FIRST_DAY + day * DAY: now  # type: ignore[assignment]
            with MetaController.build(router="thompson", store=url, seed=day) as controller:
                decisions = controller.route_batch([f"question {n} of day {day}" for n in range(per_day)])
                controller.feedback_batch([Feedback(decision_id=each.id, quality=n % 2, time=time.time()) for n, each in enumerate(decisions)])
                decided += len(decisions)
                begun = time.perf_counter()
                controller.store.retain()
                cost = max(cost, time.perf_counter() - begun)
                health = controller.store.health()
            sizes.append((folder / "year.db").stat().st_size)
        with MetaController.build(router="thompson", store=url, seed=0) as controller:
            aggregates, outcomes = controller.store.aggregates(), controller.store.outcomes()
    finally:
        time.time = real
    with closing(sqlite3.connect(folder / "year.db")) as connection:
        tables = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
    states = sum(tables[name] for name in ("snapshots", "floors", "deltas"))
    return {
        "decisions": decided,
        "in_log": len(outcomes),
        "in_aggregates": sum(each.decisions for each in aggregates),
        "aggregates": len(aggregates),
        "entries": health["entries"],
        "partitions": health["partitions"],
        "file_mb": {f"day {day}": round(sizes[day - 1] / 1e6, 2) for day in (days // 2, days + 2, 180, 365)},
        "router_states_mb": round(states / 1e6, 2),
        "entries_and_aggregates_mb": round((sum(tables.values()) - states) / 1e6, 2),
        "longest_retain_s": round(cost, 2),
    }


def disk(folder: Path) -> dict[str, float]:
    """Return the bytes on disk of a decision at the default pool, without texts and embeddings, and of one with feedback."""
    from aamc_sdk import MetaController
    from aamc_sdk.types import Feedback

    found = {}
    for name in ("decision", "decision_and_feedback"):
        with MetaController.build(router="thompson", store=f"sqlite:{folder}/{name}.db", seed=0) as controller:
            for first in range(0, 4 * PAIRS, BATCH):
                decisions = controller.route_batch([f"text number {first + n} about sorting lists" for n in range(BATCH)])
                if name != "decision":
                    controller.feedback_batch([Feedback(decision_id=each.id, quality=0.5) for each in decisions])
        found[name] = round((folder / f"{name}.db").stat().st_size / (4 * PAIRS), 1)
    return found


def pairs(folder: Path) -> dict[str, float]:
    """Return decisions with feedback a second: in batches, by one thread, and as many single ones in 32 threads. Runs in earlier versions too."""
    from concurrent.futures import ThreadPoolExecutor

    from aamc_sdk import MetaController
    from aamc_sdk.types import Feedback

    def single(_: int) -> None:
        controller.feedback(controller.route("Hi there").id, quality=0.5)

    found = {}
    with MetaController.build(router="random", store=f"sqlite:{folder}/pairs-{time.time_ns()}.db", seed=0) as controller:
        begun = time.perf_counter()
        for first in range(0, PAIRS, BATCH):
            decisions = controller.route_batch([f"Hi {first + n}" for n in range(BATCH)])
            controller.feedback_batch([Feedback(decision_id=each.id, quality=0.5) for each in decisions])
        found["batches"] = PAIRS / (time.perf_counter() - begun)
        begun = time.perf_counter()
        for n in range(200):
            single(n)
        found["one_thread"] = 200 / (time.perf_counter() - begun)
        with ThreadPoolExecutor(32) as threads:
            begun = time.perf_counter()
            list(threads.map(single, range(2000)))
            found["32_threads"] = 2000 / (time.perf_counter() - begun)
    return found


def bare(folder: Path) -> dict[str, float]:
    """Return the same writes a second into a table without a log around it, as durable."""
    from feedback import plain_table

    with plain_table(folder / f"bare-{time.time_ns()}.db") as connection:

        def write(rows: Sequence[tuple[str, str, bytes]]) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO feedback VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")

        begun = time.perf_counter()
        for first in range(0, PAIRS, BATCH):
            ids = [f"{first + n:032x}" for n in range(BATCH)]
            write([(name, name, bytes(230)) for name in ids])
            write([(f"{name}/explicit", name, bytes(180)) for name in ids])
        return {"batches": PAIRS / (time.perf_counter() - begun)}


def speed(folder: Path, before: Path | None) -> dict[str, object]:
    """Return the medians of several rounds in which this version, the earlier one and the bare table take turns."""
    rounds: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for name, root in (("now", Path(__file__).parents[1]), ("before", before)):
            if root is not None:
                command = [sys.executable, __file__, "--pairs", str(folder), "--before", str(root.resolve())]
                found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
                rounds.setdefault(name, []).append(json.loads(found.stdout))
        rounds.setdefault("bare", []).append(bare(folder))
    return {who: {what: round(statistics.median(each[what] for each in found)) for what in found[0]} for who, found in rounds.items()}


def migration(folder: Path, entries: int) -> dict[str, float]:
    """Return the seconds that a log of version 4 with some million entries takes to open."""
    from aamc_sdk.log import SqliteOptions, SqliteStore

    path = folder / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript((Path(__file__).parents[1] / "tests" / "log" / "data" / "version-4.sql").read_text())
        names = "kind, revision, candidate, content, time, embedding, fingerprint, tenant, user_id, episode, propensity"
        source = f"SELECT {names} FROM entries WHERE kind = 'decision' ORDER BY n DESC LIMIT 1"
        count = f"WITH RECURSIVE numbers (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM numbers WHERE i < {entries + 99})"
        connection.execute("BEGIN")
        connection.execute(
            f"{count} INSERT INTO entries (n, position, id, decision_id, {names}) "
            f"SELECT i, i, printf('%032x', i), printf('%032x', i), one.* FROM numbers, ({source}) AS one"
        )
        connection.execute("COMMIT")
    begun = time.perf_counter()
    store = SqliteStore(f"sqlite:{path}", SqliteOptions())
    opened = time.perf_counter() - begun
    with closing(store):
        size = round(path.stat().st_size / 1e9, 2)
        found = {"entries": entries, "open_s": round(opened, 2), "partitions": len(store.partitions()), "file_gb": size}
    path.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-day", type=int, default=300, help="Decisions on a day of the simulated year.")
    parser.add_argument("--days", type=int, default=30, help="Days that the log of the simulated year keeps.")
    parser.add_argument("--before", type=Path, help="A checkout of an earlier version, to compare with.")
    parser.add_argument("--migrate", type=int, help="Entries of a log of version 4 to migrate (default: none).")
    parser.add_argument("--pairs", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pairs is not None:
        sys.path.insert(0, str(arguments.before))
        print(json.dumps(pairs(arguments.pairs)))
        return
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        found: dict[str, object] = {"bytes_per_decision": disk(folder), "per_second": speed(folder, arguments.before)}
        found["year"] = year(folder, arguments.per_day, arguments.days)
        if arguments.migrate:
            found["migration"] = migration(folder, arguments.migrate)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
