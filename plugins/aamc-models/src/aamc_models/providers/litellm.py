"""Provider ``litellm``: servers whose dialect is neither OpenAI's nor Anthropic's, through LiteLLM as a library."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import attrs
import orjson

from aamc_models.providers.chat import ChatProvider
from aamc_models.providers.server_quirks import quirks_of
from aamc_models.transport.failures import RETRIED, Failure, message_of, provider_error, refusal, without_key
from aamc_models.transport.options import check_headers, check_variable, header_values, header_variables
from aamc_models.transport.retries import SentAttempts, may_repeat, pause_s, wanted_pause_s
from aamc_sdk import Candidate, Services, option
from aamc_sdk.errors import PluginError, ProviderError
from aamc_sdk.interfaces import EndpointState, WireReply, WireRequest, without_replaced_limits

COST_HEADER = "x-litellm-response-cost"
"""The header in which LiteLLM's proxy reports a cost; the library's figure is passed on in it too."""
_FIELDS = {
    "chat": frozenset(
        (
            *("messages", "frequency_penalty", "functions", "function_call", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n"),
            *("parallel_tool_calls", "presence_penalty", "reasoning_effort", "response_format", "seed", "stop", "stream_options", "temperature"),
            *("tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity"),
        )
    ),
    "embeddings": frozenset(("dimensions", "encoding_format", "input", "user")),
}
"""The fields of a request that reach LiteLLM: others, such as ``api_base``, would let a request choose the address that is called."""
_UNNAMED = frozenset({"messages", "model", "stream", "stream_options", "user"})
"""Fields that are not reported as dropped: LiteLLM sends ``user``, a mere label, even to some servers for which it does not list it."""
_SERVER_WORDS = re.compile(r".{0,200}?(?:Exception\b.{0,100}?|AnthropicError) - (?:b'(.+)'|(.+))$")
"""LiteLLM's message about a server's error, such as ``litellm.BadRequestError: OpenAIException - Bad prompt.`` A server may repeat a long prompt in
its words, so only the start is searched."""

_MAX_CAUSES = 20
"""Maximum number of errors that are searched for the cause of one: they may be a circle."""


@attrs.frozen(kw_only=True)
class LiteLLMOptions:
    """The options of an endpoint of the provider ``litellm``."""

    model: str = option("", "The model's name for LiteLLM, such as bedrock/us.amazon.nova-lite-v1:0 (default: the candidate's name).")
    base_url: str = option("", "Address of the server (default: LiteLLM's for the model).")
    api_key_env: str = option("", "Environment variable with the API key (default: the one that LiteLLM reads for the model).")
    headers: Mapping[str, str] = option({}, "Further headers of each request; a value such as $MY_SECRET is that of the environment variable.")
    settings: Mapping[str, Any] = option({}, "Further arguments of litellm.acompletion, such as aws_region_name: eu-west-1.")
    remote_files: bool = option(False, "Accept addresses of images and files in requests, which LiteLLM may fetch itself; else only their data.")
    timeout_seconds: float = option(600.0, "Maximum seconds of one attempt, until the answer's end.", above=0.0)
    retries: int = option(2, "Number of retries after a lost connection, a timeout, or status 408, 409, 429 or 5xx.", at_least=0)
    max_pause_s: float = option(8.0, "Maximum seconds of a pause before another attempt; a longer Retry-After ends the attempts.", at_least=0.0)

    def __attrs_post_init__(self) -> None:
        check_variable(self.api_key_env)
        check_headers(self.headers)


class LiteLLM(ChatProvider):
    """Calls models of every dialect that LiteLLM knows, in the dialect of OpenAI. A cost is LiteLLM's own figure where it has a price."""

    Config = LiteLLMOptions
    config: LiteLLMOptions

    def __init__(self, config: LiteLLMOptions, services: Services) -> None:
        super().__init__(config, services)
        if find_spec("litellm") is None:
            raise PluginError("provider litellm needs litellm to be installed: pip install 'aamc-models[litellm]'")
        self._litellm: Any = None
        self._supported: dict[str, Collection[str]] = {}
        self._paused_until = 0.0

    def state(self) -> EndpointState:
        """Return the endpoint's present state: without requests left while its server wants a pause after an answer 429."""
        wait_s = self._paused_until - time.monotonic()
        return EndpointState(remaining=0.0, retry_after_s=wait_s) if wait_s > 0 else EndpointState()

    @property
    def apis(self) -> Collection[str]:
        """The names of the two APIs."""
        return _FIELDS

    def dropped(self, candidate: Candidate, request: WireRequest) -> Sequence[str]:
        """Return the fields that are not arguments of LiteLLM or, once a first request has loaded it, that it leaves out for the model."""
        known = _FIELDS.get(request.api, frozenset())
        supported = self._supported.get(self._model(candidate), known) if request.api == "chat" else known
        body = request.body if isinstance(request.body, Mapping) else {}
        return [name for name, value in body.items() if value is not None and name not in _UNNAMED and not (name in known and name in supported)]

    async def send(self, candidate: Candidate, request: WireRequest) -> WireReply:
        """Send a request and return the whole answer, with LiteLLM's figure of the cost as a header."""
        answer = await self._call(candidate, request, SentAttempts(request.on_sent))
        cost = getattr(answer, "_hidden_params", {}).get("response_cost")
        content = answer.model_dump(mode="json")
        headers = {"content-type": "application/json", **({COST_HEADER: str(cost)} if cost else {})}  # 0: the map has the model without a price
        return WireReply(status=200, headers=headers, body=orjson.dumps(content), answer=content)

    async def events(self, candidate: Candidate, request: WireRequest) -> AsyncGenerator[bytes, None]:
        """Send a request and yield the chunks of its answer as server-sent events; the usage has LiteLLM's figure of the cost."""
        attempts = SentAttempts(request.on_sent)
        stream = await self._call(candidate, request, attempts, stream=True)
        try:
            async for chunk in stream:
                content = chunk.model_dump(mode="json", exclude_none=True)
                content.setdefault("choices", [])
                if content.get("usage"):
                    cost = self._cost(chunk)
                    content["usage"] |= {} if math.isnan(cost) else {"cost": cost}
                yield b"data: %b\n\n" % orjson.dumps(content)
            yield b"data: [DONE]\n\n"
        except Exception as error:
            failure = self._error(candidate, error)
            attempts.fail(failure)
            raise failure from error
        finally:
            with suppress(Exception):  # the call is over, whatever its connection says
                await stream.aclose()

    async def _call(self, candidate: Candidate, request: WireRequest, attempts: SentAttempts, *, stream: bool = False) -> Any:
        """Return LiteLLM's answer to a request, after as many attempts as are allowed."""
        arguments = self._arguments(candidate, request)
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_library)  # it takes seconds
        if (model := self._model(candidate)) not in self._supported:
            self._supported[model] = await asyncio.to_thread(_supported_fields, self._litellm, model)
        call = self._litellm.aembedding if request.api == "embeddings" else self._litellm.acompletion
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        wait_s = self._paused_until - time.monotonic()
        if wait_s > self.config.max_pause_s:
            text = f"wants no request for {wait_s:.3g} s, as its answer 429 said"
            raise self._explained(candidate, Failure(text, "rate_limit", retry_after_s=wait_s))
        request.on_sent(False)
        await asyncio.sleep(max(wait_s, 0.0))
        for attempt in range(self.config.retries + 1):
            request.on_sent(True)
            try:
                return await call(**arguments, **streamed)
            except Exception as error:
                failure = self._error(candidate, error)
                attempts.fail(failure)
                if failure.kind == "rate_limit":
                    self._paused_until = max(self._paused_until, time.monotonic() + (failure.retry_after_s or 0.0))
                too_long = (failure.retry_after_s or 0.0) > self.config.max_pause_s
                is_last = failure.kind not in RETRIED or attempt == self.config.retries or too_long
                if is_last or not await may_repeat(failure):
                    raise failure from error
                await asyncio.sleep(pause_s(attempt, failure.retry_after_s, self.config.max_pause_s))
        raise AssertionError("the last attempt returns or raises")

    def _arguments(self, candidate: Candidate, request: WireRequest) -> dict[str, Any]:
        config, body = self.config, request.body
        if request.api not in _FIELDS or not isinstance(body, Mapping):
            raise ProviderError(
                f"model {candidate.name!r} of the provider litellm does not offer the API {request.api!r}; it offers chat and embeddings",
                kind="request",
            )
        if not config.remote_files and any("://" in text[:16] for text in _file_texts(body.get("messages"))):
            problem = f"model {candidate.name!r} takes images and files as data: URLs only, as LiteLLM may fetch others itself"
            raise ProviderError(f"{problem}; send the data, or allow it with the endpoint's option remote_files: true", kind="request", status=400)
        own = {name: value for name, value in body.items() if name in _FIELDS[request.api] and value is not None}
        parameters = candidate.parameters if request.api == "chat" else {}
        server = {"api_base": config.base_url} if config.base_url else {}
        key = {"api_key": os.environ.get(config.api_key_env) or "none"} if config.api_key_env else {}
        fixed = {"model": self._model(candidate), "timeout": config.timeout_seconds, "num_retries": 0, "max_retries": 0, "drop_params": True}
        headers = {"extra_headers": header_values(config.headers)} if config.headers else {}
        own.pop("stream_options", None)
        if "messages" in own:
            own["messages"] = quirks_of((config.base_url,), (self._model(candidate),)).adapted(own["messages"])
        guard = {"_skip_mcp_handler": True} if "tools" in own else {}  # a request's tools must not make LiteLLM call servers of its own
        return {**without_replaced_limits(parameters, own), **own, **config.settings, **server, **key, **headers, **fixed, **guard}

    def _model(self, candidate: Candidate) -> str:
        return self.config.model or candidate.name

    def unset_keys(self) -> Sequence[str]:
        """Return the variables of the options that are not set."""
        names = (self.config.api_key_env, *header_variables(self.config.headers).values())
        return [name for name in dict.fromkeys(names) if name and not os.environ.get(name)]

    def _cost(self, answer: Any) -> float:
        """Return LiteLLM's price of a streamed answer's usage; NaN for a model without one."""
        try:
            counted = self._litellm.ModelResponse(model=answer.model, usage=answer.usage)
            cost = self._litellm.completion_cost(completion_response=counted, model=self.config.model or None)
        except Exception:  # LiteLLM raises a plain Exception for a model without a price
            return math.nan
        return float(cost) or math.nan

    def _error(self, candidate: Candidate, error: BaseException) -> ProviderError:
        """Return the error for LiteLLM's, which are those of OpenAI's client."""
        key = self.config.api_key_env
        text = without_key(" ".join(str(error).split()), os.environ.get(key) or "")
        words = _SERVER_WORDS.match(text)
        body = message_of((words[1] or words[2]).encode(errors="replace")).encode(errors="replace") if words else b""
        status = getattr(error, "status_code", None)
        if isinstance(error, self._litellm.Timeout | asyncio.TimeoutError):
            kind, status = "timeout", None
        elif isinstance(error, self._litellm.APIConnectionError):
            kind, status = "connection" if _is_of_connection(error) else "protocol", None
        elif isinstance(status, int):
            kind = "configuration" if status == 404 else refusal(status, body or text.encode(errors="replace"), None).kind
        else:
            kind = "failed"
        headers = getattr(error, "litellm_response_headers", None) or {}  # those of its response are mostly left out
        wait = wanted_pause_s(status, headers, {})
        return self._explained(candidate, Failure(f"failed: {type(error).__name__}: {text}", kind, status, body, wait))

    def _explained(self, candidate: Candidate, failure: Failure) -> ProviderError:
        key = self.config.api_key_env
        return provider_error(failure, candidate.name, "through LiteLLM", key, bool(os.environ.get(key)))


def _is_of_connection(error: BaseException) -> bool:
    """Return whether a connection failed: LiteLLM's error for that also stands for its own errors, such as of an answer that it cannot read."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        cause = cause and (cause.__cause__ or cause.__context__)
        if isinstance(cause, OSError) or type(cause).__module__.partition(".")[0] in ("httpx", "aiohttp"):
            return True
    return False


def _library() -> Any:
    """Return LiteLLM, set to stay silent and to call no server but a model's."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else importing it fetches prices from the internet
    library: Any = import_module("litellm")
    library.suppress_debug_info, library.telemetry = True, False
    return library


def _supported_fields(library: Any, model: str) -> Collection[str]:
    """Return the fields of a chat completion that LiteLLM passes on to a model; it leaves the others out, as ``drop_params`` demands."""
    try:
        return frozenset(library.get_supported_openai_params(model=model) or _FIELDS["chat"])
    except Exception:  # LiteLLM raises errors of many types for a model that it does not know
        return _FIELDS["chat"]


def _file_texts(messages: object) -> Iterator[str]:
    """Yield the texts in the parts of messages that are not text, such as the address of an image."""
    contents = [message.get("content") for message in messages if isinstance(message, Mapping)] if isinstance(messages, list) else []
    parts = [part for content in contents if isinstance(content, list) for part in content]
    pending: list[Any] = [part for part in parts if isinstance(part, Mapping) and part.get("type") != "text"]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
