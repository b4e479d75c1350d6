import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aamc_models.transport.retries import pause_s, reset_s, wanted_pause_s

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
        ({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after-ms": "0", "retry-after": "7"}, 7.0),
        ({"retry-after": "0", "x-ratelimit-reset-requests": "30s"}, 30.0),
    ],
)
def test_the_pause_that_a_server_wants_is_read(headers, seconds) -> None:
    assert wanted_pause_s(429, headers, {}) == seconds


def test_only_an_answer_429_means_the_reset_of_its_limits() -> None:
    assert wanted_pause_s(503, {"x-ratelimit-reset-requests": "30s"}, {}) is None


def test_a_date_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    assert wanted_pause_s(503, {"retry-after": date}, {}) == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    ("headers", "error", "seconds"),
    [
        ({}, {}, None),
        ({"x-ratelimit-reset-requests": "30s"}, {}, 30.0),
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-reset-requests": "2m59.56s"}, {}, 360.0),
        ({"x-ratelimit-reset-tokens": "9ms", "x-ratelimit-remaining-tokens": "900", "X-RateLimit-Reset-Requests": "1h2s"}, {}, 3602.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "59"}, {}, None),
        ({"x-ratelimit-reset-requests-day": "33011.4", "x-ratelimit-remaining-requests-day": "0"}, {}, 33011.4),
        ({"x-ratelimit-reset": "soon"}, {}, None),
        ({"x-ratelimit-reset": "0"}, {}, None),
        ({}, {"details": [{"reason": "quota"}, {"retryDelay": "34s"}, "x"]}, 34.0),
        ({}, {"details": "x", "metadata": "x"}, None),
    ],
)
def test_the_reset_of_a_limit_with_nothing_left_is_read(headers, error, seconds) -> None:
    assert reset_s(headers, error) == seconds


def test_a_reset_may_be_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)  # 2027-01-15 08:00:00 UTC
    assert reset_s({"anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:40Z"}, {}) == 40.0
    assert reset_s({"x-ratelimit-reset": "1800000050"}, {}) == 50.0
    assert reset_s({}, {"metadata": {"headers": {"X-RateLimit-Reset": "1800000060000"}}}) == 60.0
    assert reset_s({"x-ratelimit-reset": "1700000000"}, {}) is None


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
    litellm_response_headers: Mapping[str, str]

    def __init__(self, **headers: str) -> None:
        self.litellm_response_headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize("headers", [{"retry_after": "30"}, {"retry_after": "0", "retry_after_ms": "30000"}, {"x_ratelimit_reset_requests": "30s"}])
def test_litellm_keeps_the_pause_that_a_server_wants(provider: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> None:
    monkeypatch.setattr("aamc_models.providers.litellm.find_spec", lambda name: True)  # it contradicts our pins
    refused = AsyncMock(side_effect=LimitError(**headers))
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
