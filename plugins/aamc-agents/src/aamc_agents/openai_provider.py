"""Provider ``openai``: servers with OpenAI's API for chat completions."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import attrs

from aamc_agents.tool import check_extra
from aamc_sdk import Candidate, Services, option
from aamc_sdk.errors import ConfigError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, Provider, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_PASSING = (408, 409, 429)
"""Statuses below 500 that are retried."""
_FIRST_PAUSE_S = 0.5
"""Pause before the second attempt unless the server requests one; it doubles with each attempt."""
_ERROR_LENGTH = 500
"""Maximum characters of an error."""
MAX_TOKENS = 10**8
"""A higher count in one call is taken for a server error."""


@attrs.frozen(kw_only=True)
class CallOptions:
    """How a server with OpenAI's API is called."""

    api_key_env: str = option("OPENAI_API_KEY", "Environment variable with the API key.")
    headers: Mapping[str, str] = option({}, "Further headers of each request.")
    timeout_seconds: float = option(60.0, "Timeout of one attempt in seconds, and the maximum pause that a server may request.", above=0.0)
    retries: int = option(2, "Further attempts after a lost connection, a timeout, or an answer 408, 409, 429 or 5xx.", at_least=0)


@attrs.frozen(kw_only=True)
class OpenAIOptions(CallOptions):
    """The options of an endpoint of the provider ``openai``."""

    base_url: str = option("http://localhost:8000/v1", "Address of the server.")
    model: str = option("", "The model's name on the server (default: the candidate's name).")

    def __attrs_post_init__(self) -> None:
        check_address(self.base_url)


def check_address(base_url: str) -> None:
    """Check the address of a server.

    Raises:
        ConfigError: It is no HTTP address.
    """
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(f"base_url must be an address such as http://localhost:8000/v1, not {base_url!r}")


class OpenAI(Provider):
    """Calls a server with OpenAI's API for chat completions."""

    Config = OpenAIOptions
    config: OpenAIOptions

    def __init__(self, config: OpenAIOptions, services: Services) -> None:
        check_extra("provider openai", "models", "openai")
        super().__init__(config, services)

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the answer, after as many attempts as are allowed.

        Raises:
            ProviderError: No attempt was answered with a JSON object.
        """
        from openai import APIConnectionError, APIStatusError, OpenAIError

        config = self.config
        for attempt in range(config.retries + 1):
            wait: str | None = None
            try:
                return self._read(candidate, await asyncio.wait_for(self._attempt(candidate, messages, options), config.timeout_seconds))
            except asyncio.TimeoutError:
                failure, passing = f"gave no whole answer in {config.timeout_seconds:g} s", True
            except APIConnectionError as error:
                failure, passing = f"cannot be reached: {type(error).__name__}: {error.__cause__ or error}", True
            except APIStatusError as error:
                failure, passing = f"refused: {type(error).__name__}: {error}", error.status_code in _PASSING or error.status_code >= 500
                wait = error.response.headers.get("retry-after")
            except (OpenAIError, ValueError) as error:  # ValueError: an invalid address or key
                failure, passing = f"cannot be asked: {type(error).__name__}: {error}", False
            if not passing or attempt == config.retries:
                break
            await asyncio.sleep(min(_pause(wait, attempt), config.timeout_seconds))
        key = f"the key in ${config.api_key_env}" if os.environ.get(config.api_key_env) else f"the key (${config.api_key_env} is not set)"
        raise self._error(candidate, f"{failure[:_ERROR_LENGTH]}; check base_url, model and {key}, and that the server runs")

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece.

        Raises:
            ProviderError: The server did not answer, or the connection was lost.
        """
        from openai import OpenAIError

        try:
            async with self._client() as client:
                request = self._request(candidate, messages, options)
                async for piece in await client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request):
                    choice = piece.choices[0] if piece.choices else None
                    usage = None if piece.usage is None else _usage(piece.usage.model_dump())
                    content = (choice.delta.content or "") if choice else ""
                    yield Chunk(content=content, usage=usage, finish_reason=choice.finish_reason if choice else None)
        except (OpenAIError, ValueError) as error:
            raise self._error(candidate, f"failed: {type(error).__name__}: {error}"[:_ERROR_LENGTH]) from error

    async def _attempt(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        async with self._client() as client:
            answer = await client.chat.completions.with_raw_response.create(**self._request(candidate, messages, options))
            return cast("str", answer.text)

    def _request(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.config.model or candidate.name, "messages": list(messages), "extra_body": dict(options)}

    def _read(self, candidate: Candidate, body: str) -> Completion:
        """Return the completion in a server's answer; its text is empty if the first choice has none.

        Raises:
            ProviderError: The answer is not a JSON object.
        """
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._error(candidate, f"did not answer with a JSON object but with {body!r:.80}; check the end of base_url, usually /v1")
        choice = _first(answer.get("choices"))
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        if not isinstance(message.get("content"), str):
            message = {**message, "content": ""}
        return Completion(message={"role": "assistant", **message}, usage=_usage(answer.get("usage")), finish_reason=str(choice.get("finish_reason")))

    def _error(self, candidate: Candidate, failure: str) -> ProviderError:
        return ProviderError(f"model {candidate.name!r} at {self.config.base_url} {failure}")

    def _client(self) -> AsyncOpenAI:
        """Return a new client for a call: a shared one would be bound to the event loop of its first use."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=self.config.base_url,
            api_key=os.environ.get(self.config.api_key_env) or "none",
            default_headers=dict(self.config.headers),
            timeout=self.config.timeout_seconds,
            max_retries=0,  # retried here: the library waits as long as a server says
            http_client=DefaultAsyncHttpxClient(verify=_certificates()),
        )


def _first(choices: object) -> Mapping[str, Any]:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _usage(counts: object) -> Usage:
    """Return the tokens that a server counted; a count that is none is unknown."""
    counted = counts if isinstance(counts, dict) else {}

    def number(value: object) -> int | None:
        return value if type(value) is int and 0 <= value <= MAX_TOKENS else None

    def detail(kind: str, name: str) -> int | None:
        details = counted.get(f"{kind}_tokens_details")
        return number(details.get(name)) if isinstance(details, dict) else None

    return Usage(
        prompt_tokens=number(counted.get("prompt_tokens")),
        cached_tokens=detail("prompt", "cached_tokens"),
        output_tokens=number(counted.get("completion_tokens")),
        reasoning_tokens=detail("completion", "reasoning_tokens"),
    )


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Return the trusted certificates. Reading them takes twenty times as long as the rest of a client."""
    return ssl.create_default_context()


def _pause(wanted: str | None, attempt: int) -> float:
    """Return the pause before another attempt in seconds: the server's request, or exponential backoff if it has none or a date."""
    try:
        seconds = float(wanted or "")
    except ValueError:
        seconds = -1.0
    return seconds if seconds >= 0 else _FIRST_PAUSE_S * 2.0 ** min(attempt, 10)
