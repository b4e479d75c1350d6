"""The history of prices: the dashboard's figures never keep a gateway from starting."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from aamc_gateway.dashboard.price_history import note_prices

from aamc_sdk.errors import StoreAwayError
from aamc_sdk.types import Prices


class Shared:
    """Shared state that holds some values, or whose server is away."""

    def __init__(self, values: dict[str, bytes], *, away: bool = False) -> None:
        self.values, self.away = values, away

    async def scan(self, group: str) -> dict[str, bytes]:
        if self.away:
            raise StoreAwayError("the shared state is away")
        return {name: value for name, value in self.values.items() if name.startswith(f"{group}/")}

    def put_later(self, key: str, value: bytes, *, group: str) -> None:
        self.values[key] = value


def noted(shared: Shared, prices: dict[str, Prices]) -> Any:
    return asyncio.run(note_prices(shared, prices)).lists  # type: ignore[arg-type]  # as far as it is asked


def test_changed_prices_are_added_once() -> None:
    shared, old, new = Shared({}), {"m": Prices(1, 2)}, {"m": Prices(3, 4)}
    assert [noted(shared, prices) for prices in (old, old, new, new)] == [[old], [old], [old, new], [old, new]]


@pytest.mark.parametrize("value", [json.dumps([1.0, {"m": {"input": 1, "output": 2, "later": 3}}]).encode(), b"{", b"[1]", b"[1, 2]"])
def test_prices_that_cannot_be_read_are_left_out(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert noted(Shared({"prices/1": value}), {"m": Prices(1, 2)}) == [{"m": Prices(1, 2)}]
    assert "the dashboard leaves out earlier prices" in caplog.text


def test_without_the_shared_state_the_present_prices_are_known(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert noted(Shared({}, away=True), {"m": Prices(1, 2)}) == [{"m": Prices(1, 2)}]
    assert "knows the present prices alone" in caplog.text
