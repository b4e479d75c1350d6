"""The index of values that go when their users are forgotten."""

from __future__ import annotations

import asyncio

import pytest
from aamc_gateway.access import erasable_values
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.shared import SharedState
from aamc_gateway.access.shared.sqlite_backend import SqliteBackend

from aamc_sdk import MetaController
from aamc_sdk.types import Query


def test_no_value_is_kept_whose_entry_does_not_fit_so_that_all_kept_ones_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasable_values, "_TENANT_BYTES", 1000)

    async def kept_and_deleted() -> list[int | bool]:
        with MetaController.build(router="random", store="memory:") as controller:
            shared = SharedState(SqliteBackend(None))
            erasable = ErasableValues(shared, controller.store)
            users = {name: controller.store.record(controller.route(Query("hi", user=name, tenant="acme")).id) for name in ("anna", "ben")}
            other = controller.store.record(controller.route(Query("hi", user="anna", tenant="other")).id)
            kept = [await erasable.note("first", users["anna"], 3600)]
            kept += [await erasable.note(f"later {number}", users["ben"], 3600) for number in range(50)]
            found = [kept[0], kept[-1], await erasable.note("other", other, 3600), await erasable.sweep()]
            controller.store.forget("anna", tenant="acme")
            found.append(await erasable.sweep())
            controller.store.forget("ben", tenant="acme")
            found += [await erasable.sweep() == sum(kept) - 1, await erasable.sweep(), await erasable.note("room again", users["ben"], 3600)]
            await shared.close()
            return found

    assert asyncio.run(kept_and_deleted()) == [True, False, True, 0, 1, True, 0, True]


def test_a_damaged_entry_goes_with_its_value_and_hides_no_other() -> None:
    async def swept() -> list[object]:
        with MetaController.build(router="random", store="memory:") as controller:
            shared = SharedState(SqliteBackend(None))
            erasable = ErasableValues(shared, controller.store)
            for key in ("hers", "damaged"):
                await erasable.note(key, controller.store.record(controller.route(Query("hi", user="anna")).id), 3600)
                await shared.put(key, b"value", 3600)
            await shared.put("erasable/damaged", b"\0", 3600, group="erasable")
            controller.store.forget("anna")
            found: list[object] = [await erasable.sweep(), await shared.get("hers"), await shared.get("damaged")]
            await shared.close()
            return found

    assert asyncio.run(swept()) == [2, None, None]
