"""Calls language models. The model is fixed, or chosen for each call by a router of the SDK.

OpenAI-compatible servers are called from here; any other provider of a routed model's endpoint through the services.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import attrs

from aamc_agents.reply import Reply, read_completion, read_reply
from aamc_agents.tool import AgentError, check_extra
from aamc_sdk import MetaController, ModelSpec, Prices, Query, Services, option
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Message
from aamc_sdk.types import Decision, Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@attrs.frozen(kw_only=True)
class ModelConfig:
    """A model's endpoint and prices, or the router that chooses it."""

    base_url: str = option("http://localhost:8000/v1", "Address of an OpenAI-compatible server; a routed model's own endpoint has priority.")
    model: str = option("default", "The model's name on the server, unless a router chooses it.")
    api_key_env: str = option("OPENAI_API_KEY", "Environment variable with the API key.")
    input_usd_per_million: float = option(0.0, "USD per million prompt tokens, unless a routed model has prices.", at_least=0.0)
    output_usd_per_million: float = option(0.0, "USD per million output tokens, unless a routed model has prices.", at_least=0.0)
    max_output_tokens: int = option(1024, "Maximum tokens of an answer.", at_least=1)
    temperature: float = option(0.0, "Sampling temperature.", at_least=0.0)
    timeout_seconds: float = option(60.0, "Timeout of one attempt in seconds, and the maximum pause that a server may request.", above=0.0)
    retries: int = option(2, "Further attempts after a lost connection, a timeout, or an answer 408, 409, 429 or 5xx.", at_least=0)
    run: str = option("", "Run folder whose router chooses a model of its pool for each call.")
    router: str = option("", "Untrained router, such as random or rule, that chooses a model of the pool for each call.")
    pool: str = option("default", "Pool of the untrained router: a name or a YAML file.")


_PASSING = (408, 409, 429)
"""Statuses below 500 that are retried."""
_FIRST_PAUSE_S = 0.5
"""Pause before the second attempt unless the server requests one; it doubles with each attempt."""
_ERROR_LENGTH = 500
"""Maximum characters of an error."""


class ChatModel:
    """A client of a model. A call of a routed model is recorded as an attempt of the router's decision.

    The model's own parameters in the pool have priority over the options ``temperature`` and ``max_output_tokens``.

    Args:
        config: The model and its limits.
        services: Have the seed of the router's draws (default seed: 0), and the client for endpoints of other providers than ``openai``.
        controller: Chooses the model for each call, instead of the router in the options.

    Raises:
        ConfigError: The options name both a run and a router, or the package openai is missing.
    """

    def __init__(self, config: ModelConfig, services: Services | None, controller: MetaController | None = None) -> None:
        check_extra("an agent with a language model", "models", "openai")
        if config.run and config.router:
            raise ConfigError(f"options run ({config.run!r}) and router ({config.router!r}) exclude each other; give one of them")
        self.config = config
        self._services = services
        self._given = controller
        self._named: MetaController | None = None
        self._lock = threading.Lock()
        self._controller()  # its errors belong here

    async def ask(self, prompt: str, system: str = "") -> Reply:
        """Return the model's reply to a prompt.

        Raises:
            AgentError: No attempt was answered, or the answer is unusable. The error has the cost of the answer's tokens.
        """
        sent: list[Message] = [{"role": "user", "content": prompt}]
        if system:
            sent.insert(0, {"role": "system", "content": system})
        controller = self._controller()
        if controller is None:
            return await self._call(ModelSpec(self.config.model, prices=self._prices), sent)
        decision = await controller.aroute(Query(prompt, output_tokens=self.config.max_output_tokens))
        return await self._call_recorded(controller, decision, sent)

    def close(self) -> None:
        """Close the router that the options name; a later call opens it again."""
        with self._lock:
            named, self._named = self._named, None
        if named is not None:
            named.close()

    async def _call_recorded(self, controller: MetaController, decision: Decision, messages: list[Message]) -> Reply:
        """Call the candidate of a decision and record the call as an attempt."""
        chosen = controller.pool.candidates[controller.pool.index(decision.candidate)]
        spec = chosen if isinstance(chosen, ModelSpec) else ModelSpec(chosen.name)
        spec = spec if spec.prices else attrs.evolve(spec, prices=self._prices)
        began = time.monotonic()
        figures: dict[str, object] = {}
        try:
            reply = await self._call(spec, messages)
            figures = {"cost_usd": reply.cost}
        except asyncio.CancelledError:
            figures = {"status": "cancelled", "error": "the caller cancelled the call"}
            raise
        except Exception as error:
            figures = {"cost_usd": getattr(error, "cost", None), "error": str(error) or type(error).__name__}
            raise
        finally:
            await controller.aattempt(decision.id, candidate=spec.name, latency_ms=1000 * (time.monotonic() - began), **figures)
        return reply

    async def _call(self, spec: ModelSpec, messages: list[Message]) -> Reply:
        """Return a model's reply, from its endpoint's provider or from the server of the options."""
        endpoint = Endpoint("openai") if spec.endpoint is None else Endpoint.of(spec.endpoint)
        address = str(endpoint.options.get("base_url", self.config.base_url)) if endpoint.provider == "openai" else endpoint.provider
        characters = sum(len(message["content"]) for message in messages)
        try:
            if endpoint.provider != "openai":
                return await self._provided(spec, messages, characters)
            return read_reply(await self._answered(address, spec, messages), spec, characters)
        except AgentError as error:
            raise AgentError(f"model {spec.name!r} at {address} {error}", error.cost) from error

    async def _provided(self, spec: ModelSpec, messages: list[Message], characters: int) -> Reply:
        """Return the reply of an endpoint whose provider is a plugin."""
        services = self._services
        if services is None or services.models is None:
            raise AgentError("cannot be called: its endpoint needs services with a client for models")
        options = {"max_tokens": self.config.max_output_tokens, "temperature": self.config.temperature, **spec.parameters}
        called = services.loop.submit(services.models.complete(spec, messages, **options))  # a provider's connections belong to this loop
        try:
            completion = await asyncio.wait_for(asyncio.wrap_future(called), self.config.timeout_seconds)
        except asyncio.TimeoutError:
            raise AgentError(f"gave no whole answer in {self.config.timeout_seconds:g} s") from None
        except AamcError as error:
            raise AgentError(f"failed: {error}"[:_ERROR_LENGTH]) from error
        return read_completion(completion, spec, characters)

    async def _answered(self, server: str, spec: ModelSpec, messages: list[Message]) -> str:
        """Return a server's answer, after as many attempts as are allowed."""
        from openai import APIConnectionError, APIStatusError, OpenAIError

        config = self.config
        for attempt in range(config.retries + 1):
            wait: str | None = None
            try:
                return await asyncio.wait_for(self._attempt(server, spec, messages), config.timeout_seconds)
            except asyncio.TimeoutError:
                failure, passing = f"gave no whole answer in {config.timeout_seconds:g} s", True
            except APIConnectionError as error:
                failure, passing = f"cannot be reached: {type(error).__name__}: {error.__cause__ or error}", True
            except APIStatusError as error:
                failure, passing = (
                    f"refused: {type(error).__name__}: {error}"[:_ERROR_LENGTH],
                    error.status_code in _PASSING or error.status_code >= 500,
                )
                wait = error.response.headers.get("retry-after")
            except (OpenAIError, ValueError) as error:  # ValueError: an invalid address or key
                failure, passing = f"cannot be asked: {type(error).__name__}: {error}", False
            if not passing or attempt == config.retries:
                break
            await asyncio.sleep(min(_pause(wait, attempt), config.timeout_seconds))
        key = f"the key in ${config.api_key_env}" if os.environ.get(config.api_key_env) else f"the key (${config.api_key_env} is not set)"
        raise AgentError(f"{failure}; check base_url, model and {key}, and that the server runs")

    async def _attempt(self, server: str, spec: ModelSpec, messages: list[Message]) -> str:
        async with self._client(server) as client:
            answer = await client.chat.completions.with_raw_response.create(
                model=spec.name,
                messages=cast("Any", messages),
                max_tokens=self.config.max_output_tokens,
                temperature=self.config.temperature,
                extra_body=dict(spec.parameters),
            )
            return answer.text

    @property
    def _prices(self) -> Prices:
        """The prices of a model without its own."""
        return Prices(self.config.input_usd_per_million, self.config.output_usd_per_million)

    def _controller(self) -> MetaController | None:
        """Return the router: the given one, else that of the options, opened if necessary; None for a fixed model."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._named is None:
                self._named = self._named_controller()
            return self._named

    def _named_controller(self) -> MetaController | None:
        """Return the controller of the options, or None. It logs to memory: an agent's inner calls are never asked for later."""
        if self.config.run:
            return MetaController.load(self.config.run, store="memory:")
        if self.config.router:
            seed = 0 if self._services is None else self._services.seed
            return MetaController.build(router=self.config.router, pool=self.config.pool, seed=seed)
        return None

    def _client(self, base_url: str) -> AsyncOpenAI:
        """Return a new client for a call: a shared one would be bound to the event loop of its first use."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=base_url,
            api_key=os.environ.get(self.config.api_key_env) or "none",
            timeout=self.config.timeout_seconds,
            max_retries=0,  # retried here: the library waits as long as a server says
            http_client=DefaultAsyncHttpxClient(verify=_certificates()),
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
