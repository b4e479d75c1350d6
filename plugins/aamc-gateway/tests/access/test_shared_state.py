"""The contract of shared state, on each of its backends."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from aamc_gateway.access.shared import Claim, Exceeded, SharedState, is_lasting, open_shared
from aamc_gateway.access.shared.operations import Delete, Get, Put, Read, Reserve, Scan, Settle
from aamc_gateway.access.shared.sqlite_backend import SqliteBackend
from aamc_gateway.access.shared.state import backend_of

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

every_backend = pytest.mark.parametrize("store_url", ["memory", "sqlite", "redis", "postgres"], indirect=True)
lasting_backend = pytest.mark.parametrize("store_url", ["sqlite", "redis", "postgres"], indirect=True)


def run(store: Store, test: Any, **options: Any) -> None:
    async def whole() -> None:
        shared = open_shared(store, **options)
        try:
            await test(shared)
        finally:
            await shared.close()

    asyncio.run(whole())


def claim(limit: float, amount: float = 1.0, *, minimum: float | None = None, counter: str = "c", **fields: Any) -> Claim:
    return Claim(counter, limit, amount, amount if minimum is None else minimum, math.inf, **fields)


async def reserved(shared: SharedState, *claims: Claim) -> float | Exceeded:
    return (await shared.reserve(claims))[1]


def test_a_full_disk_is_named_with_its_remedy(tmp_path: Path) -> None:
    """SQLite's limit on a file's pages gives the error of a disk that refuses a page."""
    with closing(SqliteBackend(tmp_path / "shared.db")) as backend:
        backend._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreAwayError, match=r"disk is full; its disk is full.*free some space"), backend._transaction(exclusive=True):
            backend._connection.execute("CREATE TABLE more AS SELECT randomblob(200000)")


def test_keys_beside_an_emptied_file_are_kept(tmp_path: Path) -> None:
    with closing(SqliteBackend(tmp_path / "shared.db", durable=True)) as backend:
        backend.apply([Put("key/a", b"value", math.inf)])
        shutil.copy(tmp_path / "shared.db-wal", tmp_path / "emptied.db-wal")
    (tmp_path / "emptied.db").touch()
    with pytest.raises(StoreError, match=r"emptied\.db cannot be opened: .* emptied\.db-wal holds entries; both were left as they are"):
        SqliteBackend(tmp_path / "emptied.db")
    assert b"value" in (tmp_path / "emptied.db-wal").read_bytes()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_server_that_takes_a_query_and_never_answers_is_away(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    url = f"{server.url}?prefix=t{uuid.uuid4().hex[:16]}&spool={tmp_path / 'spool.db'}&timeout_s=0.5"
    with closing(open_store(url, get_plugin_manager())) as store, closing(backend_of(store, durable=False, lease_s=60.0)) as backend:
        backend.apply([Get("a")])
        frozen = [server._process.pid] if kind == "redis" else [backend._connection.info.backend_pid]  # type: ignore[attr-defined]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as threads, pytest.raises(StoreAwayError, match="is away"):
                threads.submit(backend.apply, [Get("a")]).result(60)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        backend.apply([Get("a")])


def test_the_options_of_a_postgres_url_hold(postgres_server: Any, tmp_path: Path) -> None:
    """Else the keys and budgets of logs in different schemas would be the same."""
    name = f"t{uuid.uuid4().hex[:16]}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    url = f"{postgres_server.url}?options=-csearch_path%3D{name}&prefix={name}&spool={tmp_path / 'spool.db'}"
    with closing(open_store(url, get_plugin_manager())) as store, closing(backend_of(store, durable=False, lease_s=60.0)) as backend:
        ((schema, timeout),) = backend._query("SELECT current_schema(), current_setting('statement_timeout')")
        assert (schema, timeout) == (name, "5s")


_REFUSALS = {
    "full": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "read-only": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "without its primary": (
        ["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
        ["REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"],
    ),
    "without rights": (["ACL SETUSER default -evalsha -eval"], ["ACL SETUSER default +@all"]),
    "without rights of scripts": (["ACL SETUSER default -hset -set"], ["ACL SETUSER default +@all"]),
}


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
@pytest.mark.parametrize("refusal", _REFUSALS)
def test_what_ends_while_redis_refuses_all_writes_is_charged_later(store: Store, redis_server: Any, refusal: str) -> None:
    begun, ended = _REFUSALS[refusal]

    async def test(shared: SharedState) -> None:
        claims = [claim(1.0, 0.5)]
        token, _ = await shared.reserve(claims)
        with redis.Redis.from_url(redis_server.url) as admin:
            for command in begun:
                admin.execute_command(command)
            try:
                shared.settle(token, claims, [0.25])
                with pytest.raises(StoreAwayError, match="is away"):
                    await shared.put("a", b"a")
            finally:
                for command in ended:
                    admin.execute_command(command)
        end = time.monotonic() + 60
        while shared._absence and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert await shared.read(["c"], held=True) == pytest.approx([0.25])

    run(store, test)


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_what_ends_while_a_postgres_is_read_only_is_charged_later(store: Store, postgres_server: Any) -> None:
    """As a former primary is that another server has replaced."""

    async def test(shared: SharedState) -> None:
        claims = [claim(1.0, 0.5)]
        token, _ = await shared.reserve(claims)
        shared._backend._query("SET default_transaction_read_only = on")  # type: ignore[attr-defined]
        shared.settle(token, claims, [0.25])
        with pytest.raises(StoreAwayError, match=r"is away: cannot execute .* in a read-only transaction"):
            await shared.put("a", b"a")
        end = time.monotonic() + 60
        while shared._absence and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert await shared.read(["c"]) == pytest.approx([0.25])

    run(store, test, lease_s=600.0)  # no renewal finds out first


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
def test_a_redis_that_was_demoted_is_not_asked_on_the_same_connection_again(store: Store, redis_server: Any) -> None:
    """After a failover, a new connection to the same address reaches the new primary."""
    with closing(backend_of(store, durable=False, lease_s=60.0)) as backend, redis.Redis.from_url(redis_server.url) as admin:
        before = backend._client.client_id()  # type: ignore[attr-defined]
        admin.execute_command("REPLICAOF 127.0.0.1 1")
        try:
            with pytest.raises(StoreAwayError):
                backend.apply([Put("a", b"a", math.inf)])
        finally:
            admin.execute_command("REPLICAOF NO ONE")
        assert backend._client.client_id() != before  # type: ignore[attr-defined]


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
@pytest.mark.parametrize("restarted", [False, True])
def test_operations_keep_their_order_whatever_scripts_the_server_knows(store: Store, redis_server: Any, restarted: bool) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.script_flush()
        with closing(backend_of(store, durable=False, lease_s=60.0)) as backend:
            if restarted:
                client.script_flush()
            claims = [claim(1.0)]
            backend.apply([Reserve("first", claims)])
            assert backend.apply([Settle("first", claims, [0.0]), Reserve("second", claims)])[1] == math.inf


@every_backend
def test_a_value_is_kept_until_it_expires_or_is_removed(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        assert await shared.get("a") is None
        await shared.put("a", b"\x00\xff", 60)
        await shared.put("b", b"1")
        await shared.put("c", b"gone", -1)
        assert await shared.get("a") == b"\x00\xff"
        assert await shared.get("b") == b"1"
        assert await shared.get("c") is None
        await shared.put("a", b"new")
        assert await shared.get("a") == b"new"
        await shared.delete("a")
        assert await shared.get("a") is None

    run(store, test)


@every_backend
def test_values_and_counters_last_also_at_a_worker_whose_clock_is_behind_that_of_the_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() - 300
    monkeypatch.setattr("aamc_gateway.access.shared.state.time.time", lambda: now)

    async def test(shared: SharedState) -> None:
        await shared.put("a", b"1", 60)
        assert [await shared.count("logins", 1, 2, 60.0) for _ in range(3)] == [True, True, False]
        await asyncio.sleep(0.5)  # several renewals
        assert not await shared.count("logins", 1, 2, 60.0)
        assert await shared.get("a") == b"1"

    run(store, test, lease_s=0.6)


@every_backend
def test_values_are_put_only_if_another_is_as_expected(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        assert not await shared.put_if("version", b"", {"a": b"0"}, group="g")
        assert await shared.put_if("version", None, {"a": b"1", "b": b"2"}, group="g")
        assert await shared.scan("g") == {"a": b"1", "b": b"2"}
        version = await shared.get("version")
        for wrong in (None, b"", b"other"):
            assert not await shared.put_if("version", wrong, {"a": b"3"}, group="g")
        assert await shared.put_if("version", version, {"a": b"4"}, group="g")
        assert await shared.scan("g") == {"a": b"4", "b": b"2"}
        assert await shared.get("version") not in (None, version)

    run(store, test)


@lasting_backend
def test_no_change_of_several_processes_is_lost(store: Store) -> None:
    async def add(shared: SharedState) -> None:
        for _ in range(20):
            while True:
                version, value = await shared.get("version"), await shared.get("sum")
                if await shared.put_if("version", version, {"sum": str(int(value or 0) + 1).encode()}, group="g"):
                    break

    with ThreadPoolExecutor(3) as threads:  # each with a connection of its own, as a process has
        for future in [threads.submit(run, store, add) for _ in range(3)]:
            future.result(60)

    async def test(shared: SharedState) -> None:
        assert await shared.get("sum") == b"60"

    run(store, test)


@every_backend
def test_a_group_lists_its_values_and_drops_the_oldest_beyond_its_size(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        await shared.put("other", b"x", group="g2")
        for number in range(12):
            await shared.put(f"k{number}", bytes(10), 60, group="g", max_bytes=100)
        kept = await shared.scan("g")
        assert "k11" in kept
        assert "k0" not in kept
        assert 5 <= len(kept) <= 10
        assert list(await shared.scan("g2")) == ["other"]
        await shared.put("huge", bytes(101), 60, group="g", max_bytes=100)
        assert await shared.get("huge") is None
        assert len(await shared.scan("g")) == len(kept)

    run(store, test)


def test_small_values_of_a_group_are_summed_up_rarely_and_keep_its_size(tmp_path: Path) -> None:
    """A sum reads all entries of the group, so one for each value would make a full cache slow."""
    with closing(SqliteBackend(tmp_path / "shared.db")) as backend:
        sums: list[str] = []
        backend._connection.set_trace_callback(lambda statement: sums.append(statement) if "sum(size)" in statement else None)
        backend.apply([Put(f"k{number}", b"x", math.inf, "g", 1000) for number in range(2000)])
        assert 100 <= len(sums) <= 200
        (kept,) = backend.apply([Scan("g")])
    assert 900 <= len(kept) <= 1010


def test_a_group_keeps_its_size_over_processes_that_write_little_each(tmp_path: Path) -> None:
    for process in range(150):
        with closing(SqliteBackend(tmp_path / "shared.db")) as backend:
            backend.apply([Put(f"k{process}-{number}", b"x", math.inf, "g", 1000) for number in range(9)])
            (kept,) = backend.apply([Scan("g")])
    assert len(kept) <= 1010


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
def test_a_scan_forgets_the_values_of_a_group_that_have_expired_or_were_deleted(store: Store, redis_server: Any) -> None:
    async def test(shared: SharedState) -> None:
        for name, seconds in (("kept", 60.0), ("deleted", 60.0), ("expired", -1.0)):
            await shared.put(name, b"12345", seconds, group="g")
        await shared.delete("deleted")
        assert await shared.scan("g") == {"kept": b"12345"}

    run(store, test)
    prefix = store.config.prefix
    with redis.Redis.from_url(redis_server.url) as client:
        (group,), (sizes,), (total,) = (client.keys(f"{prefix}*{kind}:g") for kind in ("group", "sizes", "total"))
        assert (client.zcard(group), client.hkeys(sizes), client.get(total)) == (1, [b"kept"], b"5")


@every_backend
def test_a_reservation_holds_its_amount_until_it_is_settled(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        claims = [claim(1.0, 0.6)]
        token, first = await shared.reserve(claims)
        assert isinstance(first, float)
        found = await reserved(shared, claim(1.0, 0.5))
        assert isinstance(found, Exceeded)
        assert found.used == pytest.approx(0.6)
        shared.settle(token, claims, [0.1])
        assert await shared.read(["c", "unknown"]) == pytest.approx([0.1, 0.0])
        assert isinstance(await reserved(shared, claim(1.0, 0.9)), float)

    run(store, test)


@every_backend
def test_settling_twice_charges_once(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        claims = [claim(1.0, 0.6)]
        token, _ = await shared.reserve(claims)
        shared.settle(token, claims, [0.5])
        shared.settle(token, claims, [0.5])
        assert await shared.read(["c"]) == pytest.approx([0.5])

    run(store, test)


@every_backend
def test_a_charge_without_a_claim_counts_once_the_lease_is_renewed_or_at_the_end(store: Store) -> None:
    async def charge(shared: SharedState) -> None:
        for names in ("cd", "c"):
            shared.charge([(name, math.inf) for name in names], 0.25)
        end = time.monotonic() + 20
        while not sum(await shared.read(["c"])) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert list(await shared.read(["c", "d"])) == [0.5, 0.25]
        shared.charge([("c", math.inf)], 0.25)

    run(store, charge, lease_s=1.0)

    async def read(shared: SharedState) -> None:
        assert list(await shared.read(["c", "d"])) == [0.75, 0.25]

    if is_lasting(store):
        run(store, read)


@every_backend
def test_the_charged_amounts_are_without_those_that_reservations_hold(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        token, claims = "", [claim(2.0, 0.5)]
        for _ in range(2):
            token, _ = await shared.reserve(claims)
        shared.settle(token, claims, [0.25])
        assert list(await shared.read(["c", "d"])) == [0.75, 0.0]
        assert list(await shared.read(["c", "d"], held=False)) == [0.25, 0.0]

    run(store, test)


@every_backend
def test_all_claims_are_held_or_none(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        found = await reserved(shared, claim(10, 1, counter="wide"), claim(0.5, 1, counter="narrow"))
        assert found == Exceeded(1, 0.0)
        assert await shared.read(["wide", "narrow"]) == [0.0, 0.0]

    run(store, test)


@every_backend
def test_ten_times_a_tenth_fits_into_one_and_no_more(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        found = await asyncio.gather(*(reserved(shared, claim(1.0, 0.1)) for _ in range(50)))
        assert sum(isinstance(one, float) for one in found) == 10

    run(store, test)


@every_backend
def test_nothing_is_left_of_a_limit_that_was_exceeded_and_a_claim_of_nothing_fits(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        token, _ = await shared.reserve([claim(1.0)])
        shared.settle(token, [claim(1.0)], [1.2])
        assert await reserved(shared, claim(1.0, 0.1)) == Exceeded(0, pytest.approx(1.2))
        assert await reserved(shared, claim(1.0, 0.0)) == math.inf
        assert (await shared.reserve([claim(1.0, 0.5, minimum=0.0)], [0.0, 0.5]))[1] == 0.0

    run(store, test)


@every_backend
def test_of_the_steps_the_largest_that_fits_is_held(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        wide = claim(1.0, 5.0, minimum=0.1)
        assert [(await shared.reserve([wide], [0.1, 0.4, 5.0]))[1] for _ in range(4)] == [0.4, 0.4, 0.1, 0.1]
        assert (await shared.reserve([wide], [0.1, 0.4, 5.0]))[1] == Exceeded(0, pytest.approx(1.0), pytest.approx(1.0))
        assert (await shared.reserve([claim(1.0, 0.5, counter="other")], [0.1]))[1] == math.inf

    run(store, test)


@every_backend
def test_a_refusal_tells_what_open_reservations_hold(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        claims = [claim(1.0, 0.3)]
        token, _ = await shared.reserve(claims)
        shared.settle(token, claims, [0.2])
        await shared.reserve([claim(1.0, 0.5)])
        assert await reserved(shared, claim(1.0, 0.4)) == Exceeded(0, pytest.approx(0.7), pytest.approx(0.5))

    run(store, test)


@every_backend
def test_a_refusal_tells_what_is_left_of_the_window_before(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        for counter, amount in (("earlier", 0.8), ("c", 0.3)):
            await shared.reserve([claim(1.0, amount, counter=counter)])
        found = await reserved(shared, claim(1.0, 0.4, before="earlier", weight=0.5))
        assert found == Exceeded(0, pytest.approx(0.7), pytest.approx(0.3), pytest.approx(0.4))

    run(store, test)


@every_backend
def test_a_claim_with_a_minimum_gets_what_is_left_of_all_its_counters(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        await reserved(shared, claim(1.0, 0.7, counter="day"))
        both = (claim(1.0, 0.8, minimum=0.1, counter="day"), claim(5.0, 0.8, minimum=0.1, counter="month"), claim(9, 1, counter="requests"))
        found = await reserved(shared, *both)
        assert isinstance(found, float)
        assert found == pytest.approx(0.3)
        assert await shared.read(["day", "month", "requests"]) == pytest.approx([1.0, 0.3, 1.0])
        assert isinstance(await reserved(shared, *both), Exceeded)

    run(store, test)


@every_backend
def test_the_window_before_counts_with_its_weight(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        for _ in range(4):
            await reserved(shared, claim(10, 1, counter="12:00"))
        taken = [await reserved(shared, claim(5, 1, counter="12:01", before="12:00", weight=0.5)) for _ in range(4)]
        assert [type(one) for one in taken] == [float, float, float, Exceeded]

    run(store, test)


@every_backend
def test_counting_stops_at_the_limit_of_a_window(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        assert [await shared.count("logins", 1, 2, 1e6) for _ in range(3)] == [True, True, False]

    run(store, test)


@lasting_backend
def test_a_reservation_that_nobody_renews_is_given_back_and_charged_if_it_ends_later(store: Store) -> None:
    """The second backend stands for a worker that is frozen: its lease ends at once, and no thread renews it."""

    async def test(shared: SharedState) -> None:
        frozen = backend_of(store, durable=False, lease_s=0.0)
        claims = [claim(1.0, 0.9)]
        assert frozen.apply([Reserve("t", claims)]) == [math.inf]
        assert isinstance(await reserved(shared, claim(1.0, 0.9)), float)
        frozen.apply([Settle("t", claims, [0.25]), Settle("t", claims, [0.25])])
        frozen.close()
        assert await shared.read(["c"]) == pytest.approx([1.15])

    run(store, test)


@lasting_backend
def test_a_renewal_gives_back_what_is_no_longer_open_and_it_is_charged_if_it_ends_later(store: Store) -> None:
    with closing(backend_of(store, durable=False, lease_s=60.0)) as backend, closing(backend_of(store, durable=False, lease_s=60.0)) as other:
        claims = [claim(1.0, 0.25)]
        backend.apply([Reserve("open", claims), Reserve("lost", claims)])
        other.apply([Reserve("of another worker", claims)])
        backend.renew(["open"])
        assert backend.apply([Read(["c"])]) == [pytest.approx([0.5])]
        backend.apply([Settle("lost", claims, [0.125]), Settle("open", claims, [0.125])])
        assert backend.apply([Read(["c"])]) == [pytest.approx([0.5])]


@lasting_backend
def test_a_caller_that_leaves_while_it_waits_holds_nothing(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        task = asyncio.ensure_future(shared.reserve([claim(1.0, 1.0)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(await reserved(shared, claim(1.0, 1.0)), float)

    run(store, test)


def test_the_file_is_for_its_owner_only(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        file = Path(store.url.partition(":")[2] + ".gateway")
        assert file.stat().st_mode & 0o077 == 0

    run(store, test)


def test_no_file_has_the_bytes_of_deleted_values(tmp_path: Path) -> None:
    """Such as the answers of a user who was forgotten."""
    with closing(SqliteBackend(tmp_path / "shared.db")) as backend:
        backend.apply([Put("cache/1", b"an answer", math.inf)])
        backend.apply([Delete("cache/1")])
        backend.renew(())
        assert not any(b"an answer" in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(("ttl_s", "max_bytes"), [(0.0, 0), (math.inf, 20)])
def test_no_file_has_the_bytes_of_values_that_expired_or_made_room(tmp_path: Path, ttl_s: float, max_bytes: int) -> None:
    with closing(SqliteBackend(tmp_path / "shared.db")) as backend:
        backend.apply([Put("cache/1", b"an answer", ttl_s, "cache", max_bytes)])
        backend.apply([Put("cache/2", b"the next one", math.inf, "cache", max_bytes)])
        backend.renew(())
        contents = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert (b"an answer" in contents, b"the next one" in contents) == (False, True)


@pytest.mark.parametrize("link_first", [True, False])
def test_a_log_has_one_state_by_whichever_link_it_is_named(tmp_path: Path, link_first: bool) -> None:
    """Else its keys would be missing by one of the names: everyone would be an admin, and budgets would count apart."""
    (tmp_path / "disk").mkdir()
    links = [tmp_path / "link.db", tmp_path / "disk" / "log.db"]
    links[0].symlink_to(links[1])

    async def put(shared: SharedState) -> None:
        await shared.put("a", b"1")

    async def get(shared: SharedState) -> None:
        assert await shared.get("a") == b"1"

    for path, test in zip(links if link_first else links[::-1], (put, get), strict=True):
        with closing(open_store(f"sqlite:{path}", get_plugin_manager())) as store:
            run(store, test)


def test_a_file_that_was_removed_or_replaced_takes_no_more(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        await shared.put("key", b"1")
        file = Path(store.url.partition(":")[2] + ".gateway")
        file.unlink()
        with pytest.raises(StoreAwayError, match=r"was removed or replaced while it was open: start the gateway again"):
            await shared.get("key")
        file.touch()
        with pytest.raises(StoreAwayError):
            await shared.put("key", b"2")

    run(store, test)
