"""Keys: their form, their hashes, and the ring from which a worker takes them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.access import keys as keys_module
from aamc_gateway.access.key_transfer import ExportedKeys, import_keys
from aamc_gateway.access.keys import (
    GROUP,
    Key,
    KeyRing,
    add_key,
    change_key,
    digest_of,
    find_key,
    id_of,
    key_with_id,
    read_keys,
    revoke_key,
    rotate_key,
)
from aamc_gateway.access.settings import Limits
from aamc_gateway.access.shared import SharedState, open_shared
from aamc_gateway.access.shared.operations import Put

from aamc_sdk.errors import DataError, StoreAwayError, StoreError
from aamc_sdk.interfaces import Store

Command = Callable[[SharedState], Awaitable[Any]]
every_backend = pytest.mark.parametrize("store_url", ["memory", "sqlite", "redis", "postgres"], indirect=True)


def run(store: Store, test: Any) -> None:
    async def whole() -> None:
        shared = open_shared(store)
        try:
            await test(shared)
        finally:
            await shared.close()

    asyncio.run(whole())


@every_backend
def test_a_key_is_found_by_its_secret_only(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        key, secret = await add_key(shared, name="ci", tenant="acme", limits=Limits(usd_per_day=2.0), models=("cheap",))
        ring = KeyRing(shared, Limits())
        found = await ring.find(secret)
        assert found is not None
        assert found[0] == key
        assert (found[1].tenant, found[1].models, found[1].limits.usd_per_day) == ("acme", {"cheap"}, 2.0)
        for wrong in (secret[:-1], secret + "x", secret.upper(), f"sk-aamc-{key.id}-", f"sk-aamc-{'0' * 12}-{secret[-43:]}", "", "sk-other", "\xe9"):
            assert await ring.find(wrong) is None

    run(store, test)


def test_a_key_that_has_not_changed_is_interpreted_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", -1.0)
    read: list[bytes] = []
    interpret = keys_module.Key.from_bytes
    monkeypatch.setattr(keys_module.Key, "from_bytes", lambda value: read.append(value) or interpret(value))

    async def test(shared: SharedState) -> None:
        key, secret = await add_key(shared, name="ci")
        ring = KeyRing(shared, Limits())
        assert await ring.find(secret) == await ring.find(secret)
        assert len(read) == 1
        await revoke_key(shared, key.id)
        found = await ring.find(secret)
        assert found is not None
        assert found[0].revoked is not None

    run(store, test)


def test_a_key_that_its_server_has_lost_is_an_error_in_the_log_once(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", -1.0)

    async def test(shared: SharedState) -> None:
        (key, secret), (_, other) = await add_key(shared, name="ci"), await add_key(shared, name="other")
        ring = KeyRing(shared, Limits())
        assert await ring.find(secret) is not None
        assert await ring.find(f"sk-aamc-{'0' * 12}-{secret[-43:]}") is None
        assert not ring.is_lost
        await shared.delete(f"key/{key.id}")
        assert [await ring.find(secret), await ring.find(secret), ring.is_lost] == [None, None, True]
        assert caplog.text.count(f"the key {key.id!r} is gone, and no key is ever deleted") == 1
        assert await ring.find(other) is not None
        assert not ring.is_lost

    run(store, test)


@pytest.mark.parametrize("damaged", [bytes(300), b'{"id": "', b"null", b'{"a": 1}'])
def test_a_damaged_key_is_named_and_others_can_be_revoked(store: Store, damaged: bytes) -> None:
    async def test(shared: SharedState) -> None:
        (lost, secret), (kept, _) = [await add_key(shared, name=name) for name in ("a", "b")]
        await shared.apply(Put(f"key/{lost.id}", damaged, math.inf, GROUP))
        assert (await revoke_key(shared, "b")).id == kept.id
        assert (await add_key(shared, name="c"))[0].name == "c"
        for read in (read_keys(shared), KeyRing(shared, Limits()).find(secret)):
            with pytest.raises(StoreError, match=r"^a key is damaged \(.*it begins b.*: restore a copy of the gateway's shared state"):
                await read

    run(store, test)


def test_only_the_keys_that_are_meant_are_interpreted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    interpret = keys_module.Key.from_bytes
    monkeypatch.setattr(keys_module.Key, "from_bytes", lambda value: read.append(value) or interpret(value))

    async def test(shared: SharedState) -> None:
        made = [(await add_key(shared, name=f"k{number}"))[0] for number in range(20)]
        assert not read
        assert [(await find_key(shared, which)).id for which in ("k3", made[4].id)] == [made[3].id, made[4].id]
        assert await key_with_id(shared, made[5].id) == made[5]
        assert await key_with_id(shared, "k5") is None
        assert len(read) == 3

    run(store, test)


def test_a_key_has_256_random_bits_and_a_public_id(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        secrets = [(await add_key(shared, name=f"k{number}"))[1] for number in range(20)]
        assert all(re.fullmatch(r"sk-aamc-[0-9a-f]{12}-[\w-]{43}", secret) for secret in secrets)
        assert len({secret[-43:] for secret in secrets}) == 20
        assert [id_of(secret) for secret in secrets] == [key.id for key in await read_keys(shared)]

    run(store, test)


def test_only_the_hash_is_in_the_file(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci")
        _, second = await rotate_key(shared, "ci", 60)
        await shared.close()
        for file in Path(store.url.partition(":")[2]).parent.iterdir():
            content = file.read_bytes()
            assert not any(part.encode() in content for one in (secret, second) for part in (one, one[-43:]))
        assert digest_of(second).hex().encode() in Path(store.url.partition(":")[2] + ".gateway").read_bytes()

    run(store, test)


def test_secrets_are_compared_in_constant_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    real = hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)

    async def test(shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci")
        assert await KeyRing(shared, Limits()).find(secret[:-1]) is None
        assert compared == [(hashlib.sha256(secret.encode()).digest(), hashlib.sha256(secret[:-1].encode()).digest())]

    run(store, test)


def test_a_rotated_key_keeps_its_id_and_its_old_secret_for_the_grace_only(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        key, first = await add_key(shared, name="ci")
        rotated, second = await rotate_key(shared, "ci", 3600)
        assert rotated.id == key.id
        assert rotated.matches(digest_of(first), time.time())
        assert rotated.matches(digest_of(second), time.time())
        assert not rotated.matches(digest_of(first), time.time() + 3601)
        at_once, third = await rotate_key(shared, key.id, 0)
        assert [at_once.matches(digest_of(secret), time.time()) for secret in (first, second, third)] == [False, False, True]

    run(store, test)


def test_a_revoked_key_is_refused_by_other_workers_after_two_seconds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: clock[0])

    async def test(shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci")
        ring = KeyRing(shared, Limits())
        await ring.find(secret)
        await revoke_key(shared, "ci")
        clock[0] += 2.1
        found = await ring.find(secret)
        assert found is not None
        assert found[0].state(time.time()) == "revoked"

    run(store, test)


def test_an_unknown_key_is_read_once_in_two_seconds(store: Store) -> None:
    class Counting(SharedState):
        def __init__(self) -> None: ...

        reads = 0

        async def apply(self, operation: Any) -> Any:
            self.reads += 1

        def submit(self, operation: Any) -> None: ...

        async def close(self) -> None: ...

    async def test() -> None:
        shared = Counting()
        ring = KeyRing(shared, Limits())
        for _ in range(5):
            assert await ring.find(f"sk-aamc-{'0' * 12}-{'a' * 43}") is None
        assert shared.reads == 1
        for number in range(3000):
            await ring.find(f"sk-aamc-{number:012}-{'a' * 43}")
        assert len(ring._unknown) <= 1000

    asyncio.run(test())


def test_known_keys_stay_valid_while_the_shared_state_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: clock[0])

    async def test(shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci")
        _, other = await add_key(shared, name="other")
        ring = KeyRing(shared, Limits())
        await ring.find(secret)

        async def away(key: str) -> bytes:
            raise StoreAwayError("away")

        monkeypatch.setattr(shared, "get", away)
        clock[0] += 100
        assert await ring.find(secret) is not None
        with pytest.raises(StoreAwayError):
            await ring.find(other)

    run(store, test)


def test_a_key_ends_at_its_time_also_after_a_change_of_its_limits(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        ends = time.time() + 1000.0
        await add_key(shared, name="ci", expires=ends)
        key = await change_key(shared, "ci", {"usd_per_day": 5.0})
        assert [key.state(now) for now in (ends - 0.1, ends)] == ["active", "expired"]
        assert (await change_key(shared, "ci", {"expires": None})).state(ends) == "active"

    run(store, test)


def test_names_of_active_keys_are_unique(store: Store) -> None:
    async def test(shared: SharedState) -> None:
        await add_key(shared, name="ci")
        with pytest.raises(DataError, match="there is a key named 'ci'; choose another name"):
            await add_key(shared, name="ci")
        with pytest.raises(DataError, match="there is a key named 'ci'; choose another name"):
            await add_key(shared, name="ci\u200d")  # it looks alike in every table
        assert (await find_key(shared, "c\u200di")).name == "ci"
        revoked = await revoke_key(shared, "ci")
        with pytest.raises(DataError, match=r"the key 'ci' .* is revoked; make another one"):
            await rotate_key(shared, revoked.id, 0.0)
        await add_key(shared, name="ci")
        with pytest.raises(DataError, match="no active key of the name or id 'cii'; did you mean 'ci'"):
            await find_key(shared, "cii")

    run(store, test)


def interleaved(shared: SharedState, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run another command once keys were read the next time: the command that has read them works with old ones."""
    scan = shared.scan

    async def read_then_command(group: str) -> Any:
        found = await scan(group)
        monkeypatch.setattr(shared, "scan", scan)
        await command(shared)
        return found

    monkeypatch.setattr(shared, "scan", read_then_command)


@every_backend
@pytest.mark.parametrize(
    "command",
    [lambda shared: change_key(shared, "ci", {"usd_per_day": 5.0}), lambda shared: rotate_key(shared, "ci", 60.0)],
    ids=["change", "rotate"],
)
def test_a_revocation_while_another_command_changes_the_key_is_kept(store: Store, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shared: SharedState) -> None:
        await add_key(shared, name="ci")
        interleaved(shared, lambda shared: revoke_key(shared, "ci"), monkeypatch)
        with pytest.raises(DataError, match="is revoked"):
            await command(shared)
        assert [found.state(time.time()) for found in await read_keys(shared)] == ["revoked"]

    run(store, test)


@every_backend
def test_commands_that_change_a_key_at_once_are_both_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shared: SharedState) -> None:
        _, old = await add_key(shared, name="ci")
        interleaved(shared, lambda shared: rotate_key(shared, "ci", 0.0), monkeypatch)
        changed = await change_key(shared, "ci", {"usd_per_day": 5.0})
        assert not changed.matches(digest_of(old), time.time())
        interleaved(shared, lambda shared: change_key(shared, "ci", {"usd_total": 9.0}), monkeypatch)
        await revoke_key(shared, "ci")
        (key,) = await read_keys(shared)
        assert (key.limits, key.state(time.time()), key.digest) == (Limits(usd_per_day=5.0, usd_total=9.0), "revoked", changed.digest)

    run(store, test)


@every_backend
def test_of_two_keys_that_are_made_at_once_under_a_name_one_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(shared: SharedState) -> None:
        interleaved(shared, lambda shared: add_key(shared, name="ci"), monkeypatch)
        with pytest.raises(DataError, match="there is a key named 'ci'"):
            await add_key(shared, name="ci")
        assert len(await read_keys(shared)) == 1

    run(store, test)


@every_backend
def test_an_import_leaves_a_key_that_was_imported_and_revoked_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = ExportedKeys(schema=1, keys=(Key(id="0" * 12, name="ci", digest=digest_of("secret").hex(), created=0.0),))

    async def import_and_revoke(shared: SharedState) -> None:
        await import_keys(shared, exported, "keys.json")
        await revoke_key(shared, "ci")

    async def test(shared: SharedState) -> None:
        interleaved(shared, import_and_revoke, monkeypatch)
        assert await import_keys(shared, exported, "keys.json") == (1, 0)
        assert [key.state(time.time()) for key in await read_keys(shared)] == ["revoked"]

    run(store, test)
