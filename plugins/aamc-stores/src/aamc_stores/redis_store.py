"""The log on a Redis server: ``redis://HOST:PORT/0``, or any other URL that redis-py reads.

A writer reads the entries that it needs under WATCH, applies the log's rules, and writes with MULTI; if another writer has
changed the same decisions meanwhile, it begins again. Writers of different decisions never wait for each other. A position
is a place in one list, to which the transaction appends, so positions follow the order of commits and have no gaps. The keys
are those of :mod:`aamc_stores.redis_keys`.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.client import Pipeline

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import (
    DECISION,
    FEEDBACK,
    MAX_SNAPSHOTS,
    Batch,
    Excerpt,
    Row,
    Write,
    episode_of,
    erased,
    replaced_rows,
    revised_ids,
    run_writes,
    user_digest,
    user_of,
)
from aamc_sdk.types import Snapshot
from aamc_stores.redis_durability import warn_of_losses
from aamc_stores.redis_keys import EMBEDDING, POSITION, StoredEntry, entries_of, field_of, names_of, place_of, row_of, text_of, value_of
from aamc_stores.shared import SharedStore

T = TypeVar("T")
VERSION = 2
"""The version of the keys."""
_RENAMED = {"views": "snapshots", "views:content": "snapshots:content", "waiting": "pending"}
"""Keys of version 1 that have another name since; its entries are read as they are."""
_PLACE = "redis.call('HSET', KEYS[2], 'position', redis.call('RPUSH', KEYS[1], ARGV[1]))"
"""Appends a decision to the log and stores its position, which is unknown before the transaction runs."""
_LONGEST_PAUSE = 0.02
_NOT_NOW = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "command not allowed when used memory", "You can't write against a read only")
"""Prefixes of refusals that are about the server's state, not about the content; redis-py takes some words off."""


class RedisStore(SharedStore):
    """Keeps the log in keys that begin with the option ``prefix``."""

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None."""
        with self._reading() as pipeline:
            pipeline.hget(self._key("snapshots"), name)
            pipeline.hget(self._key("snapshots:content"), name)
            pipeline.get(self._key("epoch"))
            described, content, epoch = pipeline.execute()
        if described is None:
            return None
        position, _, last = json.loads(described)
        return Snapshot(position, content, int(epoch or 0), last)

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch."""

        def keep(pipeline: Pipeline) -> None:
            known = {text_of(name): json.loads(value) for name, value in pipeline.hgetall(self._key("snapshots")).items()}
            epoch = int(pipeline.get(self._key("epoch")) or 0)
            pipeline.multi()
            if snapshot.epoch == epoch and (name not in known or known[name][0] < snapshot.position):
                known[name] = [snapshot.position, 1 + max((number for _, number, _ in known.values()), default=0), snapshot.last]
                pipeline.hset(self._key("snapshots"), name, json.dumps(known[name]))
                pipeline.hset(self._key("snapshots:content"), name, snapshot.content)
                for oldest in sorted(known, key=lambda name: known[name][1])[:-MAX_SNAPSHOTS]:
                    pipeline.hdel(self._key("snapshots"), oldest)
                    pipeline.hdel(self._key("snapshots:content"), oldest)

        self._change(keep, [self._key("snapshots"), self._key("epoch")])

    def _erase(self, user: str, limit: int) -> int:
        """Erase some of a user's decisions on the server. An append-only file holds their bytes until its next rewrite."""
        decided = self._key(f"user:{user}")

        def erase(pipeline: Pipeline) -> int:
            names = names_of(pipeline.smembers(decided))[:limit]
            _watch(pipeline, map(self._decision, names))
            kept = [pipeline.hgetall(self._decision(name)) for name in names]
            pipeline.multi()
            for entry in (entry for fields in kept for entry in entries_of(fields) if entry.row.kind == DECISION):
                decision = self._decision(entry.row.id)
                pipeline.hset(decision, f"{DECISION}/{entry.row.id}", value_of(erased(entry.row), entry.order, entry.pending))
                pipeline.hdel(decision, EMBEDDING)
            if names:
                pipeline.srem(decided, *names)
            if len(names) < limit:
                pipeline.delete(self._key("snapshots"), self._key("snapshots:content"))
                pipeline.sadd(self._key("forgotten"), user_digest(user))
                pipeline.incr(self._key("epoch"))
            return len(names)

        return self._change(erase, [decided])

    def drop(self) -> None:
        """Delete the log's keys."""
        with self._explained():
            for keys in _in_parts(self._client.scan_iter(self._key("*"), count=1000), 1000):
                self._client.delete(*keys)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._explained():
            return self._rows(self._places(after, limit)[1])

    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""
        with self._reading() as pipeline:
            for name in names_of(self._client.smembers(self._key("pending"))):
                pipeline.hgetall(self._decision(name))
            return [entry.row for fields in pipeline.execute() for entry in entries_of(fields) if entry.pending]

    def _connect(self) -> None:
        timeouts = {"socket_timeout": self.config.timeout_s, "socket_connect_timeout": self.config.timeout_s}
        try:
            _check_database(self.url)
            self._client = redis.Redis.from_url(self.url, **timeouts)
        except ValueError as error:
            raise StoreError(f"{self.name} is no URL of a Redis server: {error}") from error
        with self._explained():
            self._client.setnx(self._key("version"), VERSION)
            version = int(self._client.get(self._key("version")) or 0)
            if version > VERSION:
                raise StoreError(
                    f"the log {self.name} has version {version}, newer than {VERSION}, the newest that this program knows; update aamc-stores"
                )
            if version < VERSION:
                self._migrate()
            warn_of_losses(self._client, self.name)

    def _migrate(self) -> None:
        """Bring the keys to the present version."""

        def rename(pipeline: Pipeline) -> None:
            version = int(pipeline.get(self._key("version")) or 0)
            there = [name for name in _RENAMED if pipeline.exists(self._key(name))]
            pipeline.multi()
            if version < VERSION:  # another process may have done it meanwhile
                for name in there:
                    pipeline.rename(self._key(name), self._key(_RENAMED[name]))
                pipeline.set(self._key("version"), VERSION)

        self._change(rename, [self._key(name) for name in ("version", *_RENAMED)])

    def _disconnect(self) -> None:
        self._client.close()

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        decisions = sorted({name for write in writes for name in write.decisions})
        feedback = sorted({name for write in writes for name in write.feedback})

        def commit(pipeline: Pipeline) -> Sequence[Any]:
            kept = self._load(decisions, feedback)
            placed = sorted((entry for entry in kept if not entry.pending), key=lambda entry: entry.order)
            held = sorted((entry for entry in kept if entry.pending), key=lambda entry: entry.order)
            excerpt = Excerpt([entry.row for entry in placed], [entry.row for entry in held])
            results = run_writes(writes, excerpt)
            pipeline.multi()
            self._write_excerpt(pipeline, excerpt, 1 + max((entry.order for entry in kept), default=0))
            return results

        return self._change(commit, [*map(self._decision, decisions), *map(self._feedback, feedback), *map(self._revisions, feedback)])

    def _load(self, decisions: Sequence[str], feedback: Sequence[str]) -> list[StoredEntry]:
        """Return the entries on some decisions, and the feedback of some ids in all revisions."""
        with self._client.pipeline(transaction=False) as reads:
            for name in decisions:
                reads.hgetall(self._decision(name))
            found = reads.execute()
        return [entry for fields in found for entry in entries_of(fields)] + self._load_feedback(feedback)

    def _load_feedback(self, feedback: Sequence[str]) -> list[StoredEntry]:
        with self._client.pipeline(transaction=False) as reads:
            for name in feedback:
                reads.get(self._feedback(name))
                reads.hvals(self._revisions(name))
            found = reads.execute()
        values = [(name, value) for n, name in enumerate(feedback) for value in (found[2 * n], *found[2 * n + 1]) if value is not None]
        return [StoredEntry(FEEDBACK, name, value) for name, value in values]

    def _write_excerpt(self, pipeline: Pipeline, excerpt: Excerpt, first: int) -> None:
        """Queue the changes of an excerpt; ``first`` is greater than the order of every entry in it."""
        for order, row in enumerate((*excerpt.placed, *excerpt.held.values()), first):
            pending = row.key in excerpt.held
            value, field = value_of(row, order, pending), field_of(row)
            if row.kind == FEEDBACK and row.revision:
                pipeline.hset(self._revisions(row.id), str(row.revision), value)
            elif row.kind == FEEDBACK:
                pipeline.set(self._feedback(row.id), value)
            if pending or row.kind != FEEDBACK:
                pipeline.hset(self._decision(row.decision_id), field, value)
            else:
                pipeline.hdel(self._decision(row.decision_id), field)  # it may have been pending there
            if pending:
                pipeline.sadd(self._key("pending"), row.decision_id)
            else:
                self._place(pipeline, row, pending=bool(excerpt.pending(row.decision_id)))

        for row in excerpt.dropped:
            pipeline.hdel(self._decision(row.decision_id), field_of(row))
            if row.kind == FEEDBACK:
                pipeline.hdel(self._revisions(row.id), str(row.revision)) if row.revision else pipeline.delete(self._feedback(row.id))
            if not excerpt.pending(row.decision_id):
                pipeline.srem(self._key("pending"), row.decision_id)

    def _place(self, pipeline: Pipeline, row: Row, pending: bool) -> None:
        """Queue an entry's place in the log; ``pending`` says whether entries on its decision stay pending."""
        if row.kind == DECISION:
            pipeline.eval(_PLACE, 2, self._key("log"), self._decision(row.id), place_of(row))
            self._write_decision(pipeline, row, pending)
        else:
            pipeline.rpush(self._key("log"), place_of(row))

    def _write_decision(self, pipeline: Pipeline, row: Row, pending: bool) -> None:
        if not pending:
            pipeline.srem(self._key("pending"), row.id)
        if row.embedding is not None:
            pipeline.hset(self._decision(row.id), EMBEDDING, row.embedding)
        if user := user_of(row):
            pipeline.sadd(self._key(f"user:{user}"), row.id)
        if episode := episode_of(row):
            pipeline.sadd(self._key(f"episode:{episode}"), row.id)

    def _find(self, decision_id: str) -> Row | None:
        with self._explained():
            return next(iter(self._rows([[DECISION, decision_id, decision_id]])), None)

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        with self._explained():
            return self._in_log_order(names_of(self._client.smembers(self._key(f"episode:{episode_id}"))))

    def _counts(self) -> tuple[int, int]:
        with self._explained():
            return int(self._client.llen(self._key("log"))), int(self._client.hlen(self._key("snapshots")))

    def _forgotten_digests(self) -> Collection[str]:
        with self._explained():
            return set(names_of(self._client.smembers(self._key("forgotten"))))

    def _batch(self, after: int, limit: int) -> Batch:
        with self._explained():
            epoch = int(self._client.get(self._key("epoch")) or 0)  # first: a user forgotten meanwhile is then seen as a new epoch, next time
            before, places = self._places(after, limit)
            rows = self._rows(places)
            decisions = self._in_log_order({row.decision_id for row in rows})
            revised = revised_ids(rows)
            earlier = [entry.row for entry in self._load_feedback(revised) if not entry.pending] if revised else []
            return Batch(after + len(rows), rows, decisions, epoch, before, replaced_rows(rows, earlier))

    def _places(self, after: int, limit: int) -> tuple[str, list[list[Any]]]:
        """Return the name of the entry at a position, and the places of at most ``limit`` entries after it."""
        found = [json.loads(place) for place in self._client.lrange(self._key("log"), max(after - 1, 0), after + limit - 1)] if after + limit else []
        if after == 0:
            return "", found
        return _name_of(*found[0]) if found else "", found[1:]

    def _rows(self, places: Sequence[Sequence[Any]]) -> list[Row]:
        """Return the entries of some places with their embeddings; entries that are gone are left out."""
        with self._client.pipeline(transaction=False) as reads:
            for kind, name, decision_id, *revision in places:
                if revision:
                    reads.hmget(self._revisions(name), str(revision[0]))
                elif kind == FEEDBACK:
                    reads.mget([self._feedback(name)])
                else:
                    reads.hmget(self._decision(decision_id), f"{kind}/{name}", EMBEDDING)
            found = reads.execute()
        entries = zip(places, found, strict=True)
        return [row_of(place[0], place[1], *values) for place, values in entries if values[0] is not None]

    def _in_log_order(self, names: Iterable[str]) -> list[Row]:
        """Return decisions in log order."""
        named = list(names)
        with self._client.pipeline(transaction=False) as reads:
            for name in named:
                reads.hget(self._decision(name), POSITION)
            found = zip(reads.execute(), named, strict=True)
        placed = sorted((int(position), name) for position, name in found if position is not None)  # None: the log is being emptied
        return self._rows([[DECISION, name, name] for _, name in placed])

    def _key(self, name: str) -> str:
        return f"{self.config.prefix}:{name}"

    def _decision(self, decision_id: str) -> str:
        return self._key(f"decision:{decision_id}")

    def _feedback(self, feedback_id: str) -> str:
        return self._key(f"feedback:{feedback_id}")

    def _revisions(self, feedback_id: str) -> str:
        return self._key(f"revisions:{feedback_id}")

    def _change(self, work: Callable[[Pipeline], T], keys: Sequence[str]) -> T:
        """Do work that reads first, calls ``multi`` and queues its writes; again, if one of the keys was changed meanwhile."""
        with self._explained(), self._client.pipeline() as pipeline:
            while True:
                try:
                    _watch(pipeline, keys)
                    result = work(pipeline)
                    pipeline.execute()
                except redis.WatchError:
                    time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311  # no secret
                else:
                    return result

    @contextmanager
    def _reading(self) -> Iterator[Pipeline]:
        with self._explained(), self._client.pipeline() as pipeline:
            yield pipeline

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreAwayError(f"the log {self.name} cannot be reached ({error}): see that the server runs and its URL is right") from error
        except redis.RedisError as error:
            if str(error).startswith(_NOT_NOW):
                raise StoreAwayError(f"the log {self.name} cannot be written now ({error})") from error
            raise StoreError(f"the log {self.name} cannot be used ({error}): nothing was written") from error


def _check_database(url: str) -> None:
    """Refuse a path that is no number: redis-py would ignore it, and take database 0.

    Raises:
        ValueError: The path is no number.
    """
    path = urlsplit(url).path
    if not re.fullmatch(r"/?|/\d+", path, re.ASCII):
        raise ValueError(f"its path is the number of a database, as in redis://localhost:6379/0, not {path[1:]!r}")


def _name_of(kind: str, name: str, decision_id: str, revision: int = 0) -> str:
    """Return the name of a place's entry."""
    return Row(kind, name, decision_id, "", "", 0.0, revision=revision).name


def _watch(pipeline: Pipeline, keys: Iterable[str]) -> None:
    if watched := list(keys):
        pipeline.watch(*watched)  # type: ignore[no-untyped-call]  # redis-py does not say


def _in_parts(names: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(names)
    while part := list(itertools.islice(rest, size)):
        yield part
