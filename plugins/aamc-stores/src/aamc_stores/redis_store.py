"""The log on a Redis server: ``redis://HOST:PORT/0``, whatever else redis-py reads in a URL.

A writer reads what its entries need, under WATCH, decides by the log's rules, and writes with
MULTI; when another one has touched the same decisions meanwhile, it begins again. Writers of
different decisions never wait for each other. A position is a place in one list, to which the
transaction appends, so positions follow the order of commits and have no gaps. The keys are those of
:mod:`aamc_stores.redis_keys`.
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
from aamc_sdk.log import DECISION, FEEDBACK, MAX_SNAPSHOTS, Excerpt, Row, Write, run_writes, erased, user_digest, user_of
from aamc_sdk.types import Snapshot
from aamc_stores.redis_durability import warn_of_losses
from aamc_stores.redis_keys import EMBEDDING, POSITION, Kept, entries_of, names_of, row_of, text_of, value_of
from aamc_stores.shared import SharedStore, Stretch

T = TypeVar("T")
VERSION = 1
"""The version of the keys."""
_PLACE = "redis.call('HSET', KEYS[2], 'position', redis.call('RPUSH', KEYS[1], ARGV[1]))"
"""Appends a decision to the log and notes its position, which nobody knows before the transaction runs."""
_LONGEST_PAUSE = 0.02
_NOT_NOW = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "command not allowed when used memory", "You can't write against a read only")
"""How refusals begin that have to do with the server's state, not with what is written; redis-py takes some words off."""


class RedisStore(SharedStore):
    """Keeps the log in keys that begin with the option ``prefix``."""

    def view(self, name: str) -> Snapshot | None:
        """Return what was kept under a name, or None."""
        with self._reading() as pipeline:
            pipeline.hget(self._key("views"), name)
            pipeline.hget(self._key("views:content"), name)
            pipeline.get(self._key("epoch"))
            described, content, epoch = pipeline.execute()
        if described is None:
            return None
        position, _, last = json.loads(described)
        return Snapshot(position, content, int(epoch or 0), last)

    def keep_view(self, name: str, view: Snapshot) -> None:
        """Keep what a router has learned."""

        def keep(pipeline: Pipeline) -> None:
            views = {text_of(name): json.loads(value) for name, value in pipeline.hgetall(self._key("views")).items()}
            epoch = int(pipeline.get(self._key("epoch")) or 0)
            pipeline.multi()
            if view.epoch == epoch and (name not in views or views[name][0] < view.position):
                views[name] = [view.position, 1 + max((number for _, number, _ in views.values()), default=0), view.last]
                pipeline.hset(self._key("views"), name, json.dumps(views[name]))
                pipeline.hset(self._key("views:content"), name, view.content)
                for oldest in sorted(views, key=lambda known: views[known][1])[:-MAX_SNAPSHOTS]:
                    pipeline.hdel(self._key("views"), oldest)
                    pipeline.hdel(self._key("views:content"), oldest)

        self._change(keep, [self._key("views"), self._key("epoch")])

    def _forget(self, user: str) -> int:
        """Erase a user's decisions on the server. An append-only file holds their bytes until its next rewrite."""
        asked = self._key(f"user:{user}")

        def erase(pipeline: Pipeline) -> int:
            names = names_of(pipeline.smembers(asked))
            _watch(pipeline, map(self._decision, names))
            kept = [pipeline.hgetall(self._decision(name)) for name in names]
            pipeline.multi()
            for entry in (entry for fields in kept for entry in entries_of(fields) if entry.row.kind == DECISION):
                decision = self._decision(entry.row.id)
                pipeline.hset(decision, f"{DECISION}/{entry.row.id}", value_of(erased(entry.row), entry.order, entry.waits))
                pipeline.hdel(decision, EMBEDDING)
            pipeline.delete(asked, self._key("views"), self._key("views:content"))
            pipeline.sadd(self._key("forgotten"), user_digest(user))
            pipeline.incr(self._key("epoch"))
            return len(names)

        return self._change(erase, [asked])

    def drop(self) -> None:
        """Delete the log's keys."""
        with self._explained():
            for keys in _in_parts(self._client.scan_iter(self._key("*"), count=1000), 1000):
                self._client.delete(*keys)

    def rows(self, after: int = 0, limit: int = 1000) -> Sequence[Row]:
        """Return at most ``limit`` entries after a position, as they are kept."""
        with self._explained():
            return self._rows(self._places(after, limit)[1])

    def waiting(self) -> Sequence[Row]:
        """Return what waits for its decision."""
        with self._reading() as pipeline:
            for name in names_of(self._client.smembers(self._key("waiting"))):
                pipeline.hgetall(self._decision(name))
            return [entry.row for fields in pipeline.execute() for entry in entries_of(fields) if entry.waits]

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
            warn_of_losses(self._client, self.name)

    def _disconnect(self) -> None:
        self._client.close()

    def _commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        decisions = sorted({name for write in writes for name in write.decisions})
        feedback = sorted({name for write in writes for name in write.feedback})

        def commit(pipeline: Pipeline) -> Sequence[Any]:
            kept = self._load(decisions, feedback)
            placed = sorted((entry for entry in kept if not entry.waits), key=lambda entry: entry.order)
            held = sorted((entry for entry in kept if entry.waits), key=lambda entry: entry.order)
            excerpt = Excerpt([entry.row for entry in placed], [entry.row for entry in held])
            results = run_writes(writes, excerpt)
            pipeline.multi()
            self._write_excerpt(pipeline, excerpt, 1 + max((entry.order for entry in kept), default=0))
            return results

        return self._change(commit, [*map(self._decision, decisions), *map(self._feedback, feedback)])

    def _load(self, decisions: Sequence[str], feedback: Sequence[str]) -> list[Kept]:
        """Return what the rules ask of some decisions, and the feedback of some ids."""
        with self._client.pipeline(transaction=False) as reads:
            for name in decisions:
                reads.hgetall(self._decision(name))
            for name in feedback:
                reads.get(self._feedback(name))
            found = reads.execute()
        entries = [entry for fields in found[: len(decisions)] for entry in entries_of(fields)]
        judged = zip(feedback, found[len(decisions) :], strict=True)
        return entries + [Kept(FEEDBACK, name, value) for name, value in judged if value is not None]

    def _write_excerpt(self, pipeline: Pipeline, excerpt: Excerpt, first: int) -> None:
        """Queue what has changed in an excerpt; ``first`` is greater than the order of every entry in it."""
        for order, row in enumerate((*excerpt.placed, *excerpt.held.values()), first):
            waits = (row.kind, row.id) in excerpt.held
            value, field = value_of(row, order, waits), f"{row.kind}/{row.id}"
            if row.kind == FEEDBACK:
                pipeline.set(self._feedback(row.id), value)
            if waits or row.kind != FEEDBACK:
                pipeline.hset(self._decision(row.decision_id), field, value)
            else:
                pipeline.hdel(self._decision(row.decision_id), field)  # it may have waited there
            if waits:
                pipeline.sadd(self._key("waiting"), row.decision_id)
            else:
                self._place(pipeline, row, waited_for=bool(excerpt.waiting(row.decision_id)))

    def _place(self, pipeline: Pipeline, row: Row, waited_for: bool) -> None:
        """Queue an entry's place in the log."""
        place = json.dumps([row.kind, row.id, row.decision_id])
        if row.kind == DECISION:
            pipeline.eval(_PLACE, 2, self._key("log"), self._decision(row.id), place)
            self._write_decision(pipeline, row, waited_for)
        else:
            pipeline.rpush(self._key("log"), place)

    def _write_decision(self, pipeline: Pipeline, row: Row, waited_for: bool) -> None:
        if not waited_for:
            pipeline.srem(self._key("waiting"), row.id)
        if row.embedding is not None:
            pipeline.hset(self._decision(row.id), EMBEDDING, row.embedding)
        if user := user_of(row):
            pipeline.sadd(self._key(f"user:{user}"), row.id)

    def _find(self, decision_id: str) -> Row | None:
        with self._explained():
            return next(iter(self._rows([[DECISION, decision_id, decision_id]])), None)

    def _forgotten_as(self) -> Collection[str]:
        with self._explained():
            return set(names_of(self._client.smembers(self._key("forgotten"))))

    def _stretch(self, after: int, limit: int) -> Stretch:
        with self._explained():
            epoch = int(self._client.get(self._key("epoch")) or 0)  # first: who is forgotten meanwhile is then seen as a new epoch, next time
            before, places = self._places(after, limit)
            stretch = self._rows(places)
            return Stretch(stretch, self._in_log_order({row.decision_id for row in stretch}), epoch, before)

    def _places(self, after: int, limit: int) -> tuple[str, list[list[str]]]:
        """Return what names the entry at a position, and kind, id and decision id of at most ``limit`` entries after it."""
        found = [json.loads(place) for place in self._client.lrange(self._key("log"), max(after - 1, 0), after + limit - 1)] if after + limit else []
        if after == 0:
            return "", found
        return "/".join(found[0][:2]) if found else "", found[1:]

    def _rows(self, places: Sequence[Sequence[str]]) -> list[Row]:
        """Return the entries of some places, embeddings with them; those that are not there are left out."""
        with self._client.pipeline(transaction=False) as reads:
            for kind, name, decision_id in places:
                if kind == FEEDBACK:
                    reads.mget([self._feedback(name)])
                else:
                    reads.hmget(self._decision(decision_id), f"{kind}/{name}", EMBEDDING)
            found = reads.execute()
        entries = zip(places, found, strict=True)
        return [row_of(kind, name, *values) for (kind, name, _), values in entries if values[0] is not None]

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

    def _change(self, work: Callable[[Pipeline], T], keys: Sequence[str]) -> T:
        """Do work that reads first, calls ``multi`` and queues what it writes; again, when one of the keys was changed meanwhile."""
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
    """Refuse a path that is no number: redis-py would pass over it, and take database 0.

    Raises:
        ValueError: It is none.
    """
    path = urlsplit(url).path
    if not re.fullmatch(r"/?|/\d+", path, re.ASCII):
        raise ValueError(f"its path is the number of a database, as in redis://localhost:6379/0, not {path[1:]!r}")


def _watch(pipeline: Pipeline, keys: Iterable[str]) -> None:
    if watched := list(keys):
        pipeline.watch(*watched)  # type: ignore[no-untyped-call]  # redis-py does not say


def _in_parts(names: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(names)
    while part := list(itertools.islice(rest, size)):
        yield part
