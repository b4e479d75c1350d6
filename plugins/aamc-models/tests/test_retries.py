import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aamc_models.transport.retries import pause_s, retry_after_s

from aamc_sdk import ModelSpec
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import WireRequest


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 99 Foo 2026 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0.0),
    ],
)
def test_the_pause_that_a_server_wants_is_read(headers, seconds) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    assert retry_after_s({"retry-after": date}) == pytest.approx(3600, abs=60)


def test_back_off_has_full_jitter_and_doubles_up_to_the_longest() -> None:
    for attempt, longest in ((0, 0.5), (1, 1.0), (3, 4.0), (9, 8.0), (10**6, 8.0)):
        pauses = [pause_s(attempt, None, 8.0) for _ in range(500)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest


def test_the_servers_pause_is_kept_up_to_the_longest() -> None:
    assert [pause_s(0, wanted, 8.0) for wanted in (0.0, 3.0, 50.0)] == [0.0, 3.0, 8.0]


class LimitError(Exception):
    """LiteLLM's error of an answer 429."""

    status_code = 429
    response = SimpleNamespace(headers={"retry-after": "30"})


def test_litellm_keeps_the_pause_that_a_server_wants(provider: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_models.providers.litellm.find_spec", lambda name: True)  # it contradicts our pins
    refused = AsyncMock(side_effect=LimitError)
    made = provider("litellm", model="openai/m")
    made._litellm = SimpleNamespace(acompletion=refused, Timeout=TimeoutError, APIConnectionError=ConnectionError)
    request = WireRequest(api="chat", body={"messages": []})
    assert (made.state().remaining, made.state().retry_after_s) == (None, None)
    for message in ("failed: LimitError", r"wants no request for (30|29\.\d) s"):
        with pytest.raises(ProviderError, match=f"model 'm' through LiteLLM {message}") as raised:
            asyncio.run(made.send(ModelSpec("m"), request))
        assert raised.value.kind == "rate_limit"
        assert raised.value.retry_after_s == pytest.approx(30, abs=1)
    assert refused.await_count == 1
    assert (made.state().remaining, made.state().retry_after_s) == (0, pytest.approx(30, abs=1))
