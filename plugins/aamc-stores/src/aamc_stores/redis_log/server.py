"""A log's Redis server: keys, scripts, the commit of a group, and errors in the log's words."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import msgspec
import redis
from redis.exceptions import NoPermissionError, NoScriptError

from aamc_sdk.concurrency import ForkCheckedLock
from aamc_sdk.errors import ConfigError, StoreAwayError, StoreError
from aamc_sdk.types import Partition
from aamc_stores.redis_log.absence import is_absence
from aamc_stores.redis_log.keys import from_msgpack, number_of, to_msgpack
from aamc_stores.redis_log.scripts import APPLY, BATCH, COMMIT, COMMIT_ALWAYS, DECISIONS, EXCERPT, FEEDBACK, MOVE

T = TypeVar("T")
Check = tuple[Any, ...]
"""The expected result of a command, as text, and the command."""
Op = Sequence[Any]
"""A command of a journal, see :mod:`aamc_stores.redis_log.scripts`."""
_ESCAPE = "write special characters of the password as %XX, such as %2F for /"
_LONGEST_PAUSE = 0.02
_MANY = 100
"""Entries of a group that take the server longer to apply than one more sync of its append-only file."""
_SCRIPTS = (COMMIT, COMMIT_ALWAYS, FEEDBACK, APPLY, EXCERPT, BATCH, DECISIONS, MOVE)
_DURABILITY = {
    "appendonly": (("yes",), "the log is lost when the server ends: set appendonly yes"),
    "appendfsync": (
        ("always",),
        "a crash of the server's machine may lose its last two seconds: set appendfsync always, or the store's option durability=relaxed",
    ),
    "maxmemory-policy": (("noeviction",), "entries may be thrown away when memory is short: set maxmemory-policy noeviction"),
}
"""Settings: the right values, and the risk of another one."""
_RELAXED = {"appendfsync": ("always", "everysec")}
"""Values that are right too with ``durability=relaxed``: at most the last two seconds are lost when the server's machine crashes."""
_FIRST_VERSION = 7
logger = logging.getLogger(__name__)


@attrs.frozen
class Facts:
    """A log's state when a script read it."""

    now: float  # the server's time, in seconds since the epoch
    position: int  # the last one that the log has given out
    start: int  # the position of the last entry that retention has dropped, 0 for none
    epoch: int  # how often a user was forgotten
    states: str  # the id of the last write to snapshots, floors, deltas or, by retention, partitions
    templates: tuple[int, str]  # their number, and a digest of the first one, which no other log has
    tombstones: int  # number of forgotten users
    newest: Partition | None  # None in a log without decisions

    @classmethod
    def of(cls, values: Sequence[Any]) -> Facts:
        """Return the facts in a script's result."""
        now, position, start, epoch, states, count, digest, tombstones, newest, described, size = values
        partition = None if newest is None else partition_from(int(newest), described, int(size), None)
        return cls(now, int(position), int(start), int(epoch), states.decode(), (int(count), digest.decode()), int(tombstones), partition)


def binary(content: bytes) -> msgspec.Raw:
    """Return bytes in the form of a text: the MessagePack that Redis reads has no separate type for bytes."""
    return msgspec.Raw(b"\xdb%b%b" % (len(content).to_bytes(4, "big"), content))


def partition_value(begun: float) -> bytes:
    """Return the stored value of a partition, without its first position, which precedes it."""
    return repr(begun).encode()


def partition_from(number: int, value: bytes, size: int, last: int | None) -> Partition:
    """Return a partition from its stored value."""
    return Partition(number, number_of(value), last, float(value[8:]), size)


def write_id() -> bytes:
    """Return a random id of a write."""
    return os.urandom(4).hex().encode()


class RedisServer:
    """The server that holds a log; ``name`` is its URL without the password, for messages.

    Raises:
        ConfigError: The URL has an option that neither the store nor the client knows.
        StoreError: The URL is wrong.
    """

    def __init__(self, url: str, name: str, prefix: str, timeout_s: float) -> None:
        try:
            _check_database(url)
            _check_files(url, name)
            self.client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
            pool = self.client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # it refuses unknown options
        except (ValueError, redis.RedisError) as error:
            raise StoreError(f"{name} is not the URL of a Redis server: {error}") from error
        except TypeError as error:
            if "@" in unquote(urlsplit(url).query):  # it may end a password in which a ? is not written as %3F
                raise StoreError(f"{name} is not the URL of a Redis server: {_ESCAPE}") from None
            unknown = str(error).rpartition(" ")[2]
            raise ConfigError(f"{name}: neither the store nor the Redis client has an option {unknown}; correct it or leave it out") from error
        self.client.connection_pool.connection_kwargs["decode_responses"] = False  # entries are bytes, whatever the URL says
        self.name = name
        self._lock = ForkCheckedLock("the decision log")
        self._applying: list[Any] = []
        self._prefix = f"{prefix}:"
        self._digests = {script: hashlib.sha1(script.encode()).hexdigest() for script in _SCRIPTS}  # noqa: S324  # Redis names scripts so

    def key(self, name: str) -> str:
        """Return the full name of one of the log's keys."""
        return self._prefix + name

    def epoch_check(self, facts: Facts) -> Check:
        """Return the check that no user was forgotten meanwhile."""
        return str(facts.epoch or ""), "GET", self.key("epoch")

    def check_server(self) -> None:
        """Raise a StoreError where the server is too old for the log's scripts, or is part of a cluster, where they would not find all keys."""
        with self.explained():
            try:
                found = self.client.info("server")
            except NoPermissionError:  # some hosted servers refuse the command
                return
        version = str(found.get("redis_version", _FIRST_VERSION))
        if int(version.partition(".")[0]) < _FIRST_VERSION:
            raise StoreError(f"the log {self.name} needs Redis {_FIRST_VERSION} or newer, and the server has version {version}")
        if found.get("redis_mode") == "cluster":
            raise StoreError(f"the log {self.name} needs one Redis server, with replicas or without, and this one is part of a cluster")

    def warn_of_losses(self, *, relaxed: bool) -> None:
        """Log a warning for each of the server's settings that may lose entries; ``relaxed`` accepts the loss of the last two seconds."""
        try:
            found = {setting: self.client.config_get(setting).get(setting) for setting in _DURABILITY}  # texts, as these answers are always decoded
        except redis.ResponseError:  # many hosted servers refuse the command
            logger.info("%s does not tell its settings; see that appendonly is on", self.name)
            return
        for setting, (right, advice) in _DURABILITY.items():
            accepted = _RELAXED.get(setting, right) if relaxed else right
            value = found[setting]
            if value is not None and value not in accepted:
                logger.warning("%s has %s %s: %s", self.name, setting, value, advice)

    def read(self, script: str, *arguments: Any) -> Any:
        """Return the decoded result of a reading script; an unfinished journal is completed first."""
        with self.explained():
            while (found := self._run(script, arguments)) is None:
                self._run(APPLY, ())
            return from_msgpack(found)

    def commit(
        self, checks: Iterable[Check], ops: Sequence[Op], *, size: int = 0, partition: int = 0, entries: int = 0, always: bool = False
    ) -> int | None:
        """Commit a group of commands, each of which may run twice, all or none, if the checks hold; ``always``: also when the memory is full.

        Returns:
            The log's last position before the group; None where a check failed, so that nothing was committed.
        """
        return self.write(COMMIT_ALWAYS if always else COMMIT, to_msgpack(list(checks)), to_msgpack(ops), str(partition), str(size), entries=entries)

    def write(self, script: str, *arguments: Any, entries: int = 0) -> int | None:
        """Run a script that keeps a journal, and apply the journal; one of many entries while the caller goes on.

        Returns:
            The log's last position before the group; None where the script kept nothing.
        """
        with self.explained():
            try:
                base = self._run_and_apply(script, arguments, ahead=entries >= _MANY)
            except NoScriptError:  # the server was started anew
                for each in (script, APPLY):
                    self.client.script_load(each)
                base = self._run_and_apply(script, arguments, ahead=entries >= _MANY)
        return None if base < 0 else base

    def change(self, attempt: Callable[[], T | None]) -> T:
        """Repeat an attempt, with a pause, until it returns something: its checks may fail since another process writes."""
        while (result := attempt()) is None:
            time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311  # no secret
        return result

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script."""
        with self.explained():
            return self._run(script, arguments)

    def hash(self, name: str) -> dict[str, bytes]:
        """Return a hash by its name."""
        with self.explained():
            self._finish()
            found: dict[bytes, bytes] = self.client.hgetall(self.key(name))  # type: ignore[assignment]  # never decoded
            return {field.decode(): value for field, value in found.items()}

    def names(self, name: str) -> list[str]:
        """Return the members of a set of names, in alphabetical order."""
        with self.explained():
            self._finish()
            found: set[bytes] = self.client.smembers(self.key(name))  # type: ignore[assignment]  # never decoded
            return sorted(member.decode() for member in found)

    def drop(self) -> None:
        """Delete all keys."""
        with self.explained():
            keys = self.client.scan_iter(self.key("*"), count=1000)
            while batch := list(itertools.islice(keys, 1000)):
                self.client.delete(*batch)

    def close(self) -> None:
        """Close the connections."""
        self._settle()
        self.client.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Wait for the groups that this process has written, and raise the client's errors as the log's.

        Raises:
            StoreAwayError: The server cannot be reached, or takes no writes for now.
            StoreError: The server refused something.
        """
        self._settle()
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreAwayError(f"the log {self.name} cannot be reached ({error}): check that the server runs and that the URL is right") from error
        except redis.RedisError as error:
            if is_absence(error):
                raise StoreAwayError(f"the log {self.name} cannot be written now ({error})") from error
            raise StoreError(f"the log {self.name} cannot be used ({error}): nothing was written") from error

    def _run(self, script: str, arguments: Sequence[Any]) -> Any:
        try:
            return self.client.evalsha(self._digests[script], 1, self._prefix, *arguments)
        except NoScriptError:
            return self.client.eval(script, 1, self._prefix, *arguments)

    def _finish(self) -> None:
        """Apply a journal, whose group may be acknowledged; scripts that read do so themselves."""
        if self.client.exists(self.key("journal")):
            self._run(APPLY, ())

    def _settle(self) -> None:
        """Wait until the server has applied the groups of many entries that this process has written."""
        if self._lock.forked:  # the connections are its parent's
            return
        with self._lock.held:
            while self._applying:
                connection = self._applying.pop()
                try:
                    connection.read_response()
                except redis.RedisError:  # whoever comes next applies the journal
                    connection.disconnect()
                finally:
                    self.client.connection_pool.release(connection)

    def _run_and_apply(self, script: str, arguments: Sequence[Any], *, ahead: bool) -> int:
        """Run a script that keeps a journal, and the one that applies it; return the result of the first one, which is then on disk.

        Both are sent at once, and not in the parts that a pipeline would send: the server then syncs its append-only file once for both. With
        ``ahead``, the second one is sent after the first one's result, and runs while the caller goes on.
        """
        pool = self.client.connection_pool
        connection: Any = pool.get_connection()
        calls = [("EVALSHA", self._digests[each], 1, self._prefix, *values) for each, values in ((script, arguments), (APPLY, ()))]
        try:
            self._send(connection, calls[:1] if ahead else calls)
            base = int(connection.read_response())
            if ahead:
                self._send(connection, calls[1:])
            else:
                connection.read_response()
        except BaseException:
            connection.disconnect()  # answers may still be on their way
            pool.release(connection)
            raise
        if ahead:
            self._applying.append(connection)
        else:
            pool.release(connection)
        return base

    def _send(self, connection: Any, calls: Sequence[Sequence[Any]]) -> None:
        connection.send_packed_command([b"".join(connection.pack_commands(calls))])


def _check_files(url: str, name: str) -> None:
    """Check that the files of TLS which a URL names exist: the client would blame the connection."""
    for key, value in parse_qsl(urlsplit(url).query):
        if key in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") and not Path(value).is_file():
            raise ConfigError(f"{key} of {name} must be a file, not {value!r}")


def _check_database(url: str) -> None:
    """Raise a ValueError for a path that is not a number, which redis-py would ignore, and for a password that ends the address too early."""
    _, _, path, query, fragment = urlsplit(url)
    if "@" in path + fragment or any("@" in key for key, _ in parse_qsl(query, keep_blank_values=True)):
        raise ValueError(_ESCAPE)
    if not re.fullmatch(r"/?|/\d+", path, re.ASCII):
        raise ValueError(f"its path is the number of a database, as in redis://localhost:6379/0, not {path[1:]!r}")
