"""Provider ``litellm`` with a stand-in for its library, which contradicts our pins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import aiohttp
import attrs
import pytest

from aamc_sdk import ModelSpec
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import WireRequest

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def library() -> SimpleNamespace:
    """A LiteLLM whose only model supports a limit and a temperature."""
    answer = SimpleNamespace(model_dump=lambda **options: ANSWER)
    supported = Mock(return_value=["max_completion_tokens", "temperature", "stream"])
    errors = {"APIConnectionError": type("APIConnectionError", (Exception,), {}), "Timeout": type("Timeout", (Exception,), {})}
    return SimpleNamespace(acompletion=AsyncMock(return_value=answer), get_supported_openai_params=supported, **errors)


@pytest.fixture
def calling(provider: Callable[..., Any], library: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("aamc_models.providers.litellm.find_spec", lambda name: True)
    monkeypatch.setattr("aamc_models.providers.litellm._library", lambda: library)
    return provider("litellm", model="bedrock/m")


def request(**fields: Any) -> WireRequest:
    return WireRequest(api="chat", body={"messages": MESSAGES, **fields})


def test_fields_that_do_not_reach_the_server_are_named(calling: Any, library: SimpleNamespace) -> None:
    asked = request(user="anna", store=True, service_tier="flex", metadata=None, seed=1, temperature=0.5, stream=True)
    assert calling.dropped(ModelSpec("m"), asked) == ["store", "service_tier"]
    asyncio.run(calling.send(ModelSpec("m"), asked))
    assert calling.dropped(ModelSpec("m"), asked) == ["store", "service_tier", "seed"]
    library.get_supported_openai_params.assert_called_once_with(model="bedrock/m")


@pytest.mark.parametrize("unknown", [{"return_value": None}, {"side_effect": ValueError("no such model")}])
def test_a_model_that_litellm_does_not_know_gets_all_its_fields(calling: Any, library: SimpleNamespace, unknown: dict[str, Any]) -> None:
    library.get_supported_openai_params.configure_mock(**unknown)
    asyncio.run(calling.send(ModelSpec("m"), request()))
    assert calling.dropped(ModelSpec("m"), request(seed=1, store=True)) == ["store"]


def test_complete_warns_once_of_fields_that_do_not_reach_the_server(calling: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        asyncio.run(calling.complete(ModelSpec("m"), MESSAGES, top_k=5))
    assert [record.args for record in caplog.records] == [("m", "top_k")]


def test_mistrals_models_get_short_ids_of_tool_calls(provider: Any, calling: Any, library: SimpleNamespace) -> None:
    result = {"role": "tool", "tool_call_id": "call_abcdefghijk", "content": "42"}
    for endpoint, length in ((calling, 16), (provider("litellm", model="mistral/mistral-large-latest"), 9)):
        endpoint._litellm = library
        asyncio.run(endpoint.send(ModelSpec("m"), request(messages=[*MESSAGES, result])))
        assert len(library.acompletion.await_args.kwargs["messages"][1]["tool_call_id"]) == length


def test_a_requests_limit_replaces_the_candidates(calling: Any, library: SimpleNamespace) -> None:
    asyncio.run(calling.send(ModelSpec("m", parameters={"max_tokens": 4000, "seed": 7}), request(max_completion_tokens=50)))
    sent = library.acompletion.await_args.kwargs
    assert {name: sent.get(name) for name in ("max_tokens", "max_completion_tokens", "seed")} == {
        "max_tokens": None,
        "max_completion_tokens": 50,
        "seed": 7,
    }


@pytest.mark.parametrize(
    ("cause", "kind", "public"),
    [
        (aiohttp.ServerDisconnectedError(), "connection", "cannot be reached"),
        (ConnectionRefusedError(), "connection", "cannot be reached"),
        (KeyError("choices"), "protocol", "gave no usable answer"),
        (None, "protocol", "gave no usable answer"),
    ],
)
def test_an_error_of_litellm_itself_is_none_of_the_connection(
    calling: Any, library: SimpleNamespace, cause: Exception | None, kind: str, public: str
) -> None:
    """LiteLLM raises its error of connections for errors in its own code, too."""
    own = ValueError("LiteLLM's own error between them")
    own.__cause__ = cause
    error = library.APIConnectionError("litellm.APIConnectionError: GeminiException - 'choices'")
    error.__context__ = own if cause else error
    calling.config = attrs.evolve(calling.config, retries=0)
    library.acompletion.side_effect = error
    with pytest.raises(ProviderError) as raised:
        asyncio.run(calling.send(ModelSpec("m"), request()))
    assert (raised.value.kind, raised.value.public) == (kind, f"model 'm' {public}")
