"""Compare the log on a server with a bare client that does the same inserts in the same transactions; prints JSON.

    python benchmarks/shared_stores.py [--postgres postgres://aamc@localhost/aamc] [--redis redis://localhost:6379/0] [--decisions 5000] [--rounds 3]

Each decision gets feedback. ``threads``: 32 threads log one decision at a time. ``batches``: one thread logs 500 at once. The bare client
writes the rows that the store wrote, in groups of the same sizes, into tables and indexes of the same kind; it checks and encodes nothing. Records,
feedback and the bare client's rows are made beforehand. For
PostgreSQL it does so by ``INSERT`` (``executemany`` of psycopg, in a pipeline) and by ``COPY``; for Redis by ``HSET`` and ``XADD`` for each entry,
in pipelines of redis-py (``MULTI`` and ``EXEC``). ``bytes``: what a decision takes, alone and with feedback, in the tables and indexes of PostgreSQL,
in the memory of Redis, and in its append-only file once that is rewritten. Store and bare client take turns; the
figures are medians over the rounds, in entries a second, and ``ratio`` is the store's figure divided by the bare client's. The processor time of an
entry is that of this process and the server together, in microseconds, and ``cpu_ratio`` is the bare client's divided by the store's: on a busy
machine it varies less. A bare client that writes all in large transactions is faster than any store that answers each caller, so ratios of one
workload only are comparable.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import psycopg
import redis
from aamc_stores.postgres_log.tables import Tables

from aamc_sdk import MetaController
from aamc_sdk.interfaces import Store
from aamc_sdk.log import COLUMNS, open_store, read_batches
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Feedback, Record, new_ids

WORKLOADS = {"threads": (32, 1), "batches": (1, 500)}
"""Threads, and decisions that each logs at once."""
Batch = tuple[Sequence[Record], Sequence[tuple[Feedback, None]]]
"""Decisions and their feedback."""
_KEPT = ("partition", "position", "kind", "id", "decision_id", "candidate", "packed", "time", "embedding", "revision", "digest", *COLUMNS)


class Speed(NamedTuple):
    """Entries a second, and the processor time of one in microseconds: of this process and the server."""

    per_second: float
    cpu_us: float


class Watch:
    """Measures wall-clock and processor time from its making on; ``server_cpu`` returns the processor time of the server in seconds."""

    def __init__(self, server_cpu: Callable[[], float]) -> None:
        self._server_cpu = server_cpu
        self._cpu = time.process_time() + server_cpu()
        self._begun = time.perf_counter()

    def speed(self, entries: int) -> Speed:
        """Return the speed at which entries were written."""
        seconds = time.perf_counter() - self._begun
        return Speed(entries / seconds, 1e6 * (time.process_time() + self._server_cpu() - self._cpu) / entries)


def redis_cpu(client: Any) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def postgres_cpu(postmaster: int) -> float:
    """Return the processor time of a PostgreSQL server on this machine, given its process, and of its children, ended or not, in seconds."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(path.parent.name) == postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def compared(store: Sequence[Speed], bare: Sequence[Speed]) -> dict[str, float]:
    """Return the bare client's figures, and the ratios of the store's to them."""
    pairs = list(zip(store, bare, strict=True))
    return {
        "per_second": round(statistics.median(each.per_second for each in bare)),
        "cpu_us": round(statistics.median(each.cpu_us for each in bare), 1),
        "ratio": round(statistics.median(mine.per_second / other.per_second for mine, other in pairs), 2),
        "cpu_ratio": round(statistics.median(other.cpu_us / mine.cpu_us for mine, other in pairs), 2),
    }


@attrs.frozen
class Measured:
    """A store's speed, the number of entries in each of its transactions, and the entries for the bare client to write, in log order."""

    speed: Speed
    groups: Sequence[int]
    kept: Sequence[Any] = ()


def decided(count: int) -> list[Record]:
    """Return decisions of a learning router with the default pool."""
    with MetaController.build(router="thompson", store="memory:", seed=0) as controller:
        for start in range(0, count, 500):
            controller.route_batch([f"text number {start + n} about sorting lists" for n in range(min(500, count - start))])
        return [record for batch in read_batches(controller.store) for record in batch.experience().records]


def measure(
    url: str, records: Sequence[Record], threads: int, at_once: int, keep: Callable[[Store], Sequence[Any]], server_cpu: Callable[[], float]
) -> Measured:
    """Log decisions with feedback in a new log, which is deleted afterwards; each thread logs ``at_once`` of them at a time.

    ``keep`` returns the entries of the log that a bare client has to write, ``server_cpu`` the processor time of the server in seconds.
    """
    with new_log(url) as store:
        groups: list[int] = []
        commit = store._writer._commit

        def counted(writes: Sequence[Any]) -> Sequence[Any]:
            groups.append(sum(len(write.decisions) for write in writes))
            return commit(writes)

        store._writer._commit = counted
        renamed = [
            attrs.evolve(each, decision=attrs.evolve(each.decision, id=name)) for each, name in zip(records, new_ids(len(records)), strict=True)
        ]
        batches = [batched(renamed[number::threads], at_once) for number in range(threads)]
        speed = in_threads(threads, lambda number: log_all(store, batches[number]), server_cpu, 2 * len(records))
        return Measured(speed, groups, keep(store))


@contextmanager
def new_log(url: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        options = {"prefix": f"bench_{uuid.uuid4().hex[:12]}", "spool": str(Path(folder) / "spool.db"), "timeout_s": 30.0}
        with closing(open_store(url, get_plugin_manager(), options)) as store:
            yield store
            store.drop()  # type: ignore[attr-defined]  # of the stores on servers


def bytes_of(url: str, records: Sequence[Record], used: Callable[[Any], float]) -> dict[str, int]:
    """Return the bytes of a decision, and of one with feedback; ``used`` returns those that a store takes."""
    with new_log(url) as store:
        empty = used(store)
        for start in range(0, len(records), 500):
            store.add_decisions(records[start : start + 500])
        alone = used(store)
        for _, feedback in batched(records, 500):
            store.add_feedback(feedback)
        return {name: round((size - empty) / len(records)) for name, size in (("decision", alone), ("with_feedback", used(store)))}


def batched(records: Sequence[Record], at_once: int) -> list[Batch]:
    """Return decisions in batches, each with its feedback: what a caller gives is made beforehand, as the bare client's rows are."""
    batches = [records[start : start + at_once] for start in range(0, len(records), at_once)]
    return [(batch, [(Feedback(decision_id=each.decision.id, quality=0.5, time=1.0), None) for each in batch]) for batch in batches]


def log_all(store: Store, batches: Sequence[Batch]) -> None:
    """Log decisions, and after each batch its feedback."""
    for decisions, feedback in batches:
        store.add_decisions(decisions)
        store.add_feedback(feedback)


def in_threads(count: int, work: Callable[[int], None], server_cpu: Callable[[], float], entries: int) -> Speed:
    """Return the speed of threads together, without garbage collection of earlier objects."""
    gc.collect()
    gc.freeze()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    watch = Watch(server_cpu)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return watch.speed(entries)


def kept_in_postgres(store: Any) -> Sequence[Any]:
    with store._reading() as connection:
        return connection.execute(store._tables.query("SELECT " + ", ".join(_KEPT) + " FROM {entries} ORDER BY position")).fetchall()


def bare_postgres(url: str, measured: Measured, how: str, server_cpu: Callable[[], float]) -> Speed:
    """Write rows by ``insert`` or ``copy`` into equal tables, in the same groups."""
    tables = Tables(f"bare_{uuid.uuid4().hex[:12]}")
    names = ", ".join(_KEPT)
    insert = tables.query("INSERT INTO {entries} (" + names + ") VALUES (" + ", ".join(["%s"] * len(_KEPT)) + ")")
    copy_in = tables.query("COPY {entries} (" + names + ") FROM STDIN")
    with psycopg.connect(url, autocommit=True) as connection:
        tables.prepare(lambda _: nullcontext(connection), "bare")
        tables.make_child(connection, 0)
        watch, start = Watch(server_cpu), 0
        for size in measured.groups:
            rows = measured.kept[start : start + size]
            start += size
            with connection.transaction():
                if how == "insert":
                    connection.cursor().executemany(insert, rows)
                    continue
                with connection.cursor().copy(copy_in) as copy:
                    for row in rows:
                        copy.write_row(row)
        speed = watch.speed(len(measured.kept))
        tables.drop(connection)
    return speed


def in_turns(
    url: str,
    records: Sequence[Record],
    rounds: int,
    keep: Callable[[Store], Sequence[Any]],
    server_cpu: Callable[[], float],
    bare: Mapping[str, Callable[[Measured], Speed]],
) -> dict[str, Any]:
    """Measure the store and each bare client in turns, and return their figures by workload."""
    figures: dict[str, Any] = {}
    for name, (threads, at_once) in WORKLOADS.items():
        store, found, groups = list[Speed](), {how: list[Speed]() for how in bare}, 0.0
        for _ in range(rounds):
            measured = measure(url, records, threads, at_once, keep, server_cpu)
            store.append(measured.speed)
            groups = statistics.mean(measured.groups)
            for how, write in bare.items():
                found[how].append(write(measured))
        per_second, cpu_us = (statistics.median(figure) for figure in zip(*store, strict=True))
        about = {"per_second": round(per_second), "cpu_us": round(cpu_us, 1), "group": round(groups, 1)}
        figures[name] = about | {how: compared(store, speeds) for how, speeds in found.items()}
    return figures


def postgres(url: str, records: Sequence[Record], rounds: int) -> dict[str, Any]:
    """Measure the log on PostgreSQL."""
    with psycopg.connect(url) as connection:
        settings = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in ("server_version", "fsync", "synchronous_commit")}  # type: ignore[index]
        (postmaster,) = connection.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").fetchone()  # type: ignore[misc]
    server_cpu = partial(postgres_cpu, postmaster)
    bare = {how: partial(bare_postgres, url, how=how, server_cpu=server_cpu) for how in ("insert", "copy")}
    figures = in_turns(url, records, rounds, kept_in_postgres, server_cpu, bare)
    return {"settings": settings, "bytes": bytes_of(url, records, lambda store: store.health()["size_bytes"]), **figures}


def kept_in_redis(store: Any) -> Sequence[Any]:
    """Return the key, field, value and place of each entry."""
    kept: list[Any] = []
    position = "-"
    with store._server.client.pipeline(transaction=False) as reads:
        while entries := store._server.client.xrange(store._server.key("stream"), min=position, count=1000):
            for _, fields in entries:
                decision, _, field = fields[b"e"].partition(b"\0")
                reads.hget(store._server.key("decision:").encode() + decision, field)
                kept.append((b"decision:" + decision, field, fields[b"e"]))
            position = f"({entries[-1][0].decode()}"
        values = reads.execute()
    return [(key, field, value, place) for (key, field, place), value in zip(kept, values, strict=True)]


def bare_redis(url: str, measured: Measured) -> Speed:
    """Write hashes and a stream in the same groups."""
    prefix = f"bare_{uuid.uuid4().hex[:12]}:".encode()
    with redis.Redis.from_url(url) as client:
        watch, start = Watch(partial(redis_cpu, client)), 0
        for size in measured.groups:
            with client.pipeline() as pipeline:
                for key, field, value, place in measured.kept[start : start + size]:
                    pipeline.hset(prefix + key, field, value)
                    pipeline.xadd(prefix + b"stream", {"e": place})
                pipeline.execute()
            start += size
        speed = watch.speed(len(measured.kept))
        client.delete(prefix + b"stream", *{prefix + key for key, *_ in measured.kept})
    return speed


def on_redis(url: str, records: Sequence[Record], rounds: int) -> dict[str, Any]:
    """Measure the log on Redis."""
    with redis.Redis.from_url(url) as client:
        sizes = {
            "memory": bytes_of(url, records, lambda _: client.info("memory")["used_memory"]),
            "disk": bytes_of(url, records, lambda _: rewritten(client)),
        }
        figures = in_turns(url, records, rounds, kept_in_redis, partial(redis_cpu, client), {"bare": partial(bare_redis, url)})
        settings = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync")}
    return {"settings": settings, "bytes": sizes, **figures}


def rewritten(client: Any) -> float:
    """Rewrite the append-only file of a Redis server, and return its bytes."""
    client.bgrewriteaof()
    while (found := client.info("persistence"))["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"]:
        time.sleep(0.05)
    return float(found["aof_current_size"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", help="PostgreSQL server that may be written to")
    parser.add_argument("--redis", metavar="URL", help="Redis server that may be written to")
    parser.add_argument("--decisions", type=int, default=5000, help="decisions in each round (default: 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default: 3)")
    arguments = parser.parse_args()
    records = decided(arguments.decisions)
    figures = {}
    if arguments.postgres:
        figures["postgres"] = postgres(arguments.postgres, records, arguments.rounds)
    if arguments.redis:
        figures["redis"] = on_redis(arguments.redis, records, arguments.rounds)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
