"""Calls language models on OpenAI-compatible servers. The model is fixed, or chosen for each call by a router of the SDK."""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from aamc_agents.reply import Reply, read_reply
from aamc_agents.tool import AgentError, check_extra
from aamc_sdk import MetaController, ModelSpec, Prices, Query, Services, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam


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
    """A client of a model.

    Args:
        config: The model and its limits.
        services: Have the seed of the router's draws (default seed: 0).
        controller: Chooses the model for each call, instead of the router in the options.

    Raises:
        ConfigError: The options name both a run and a router, or the package openai is missing.
    """

    def __init__(self, config: ModelConfig, services: Services | None, controller: MetaController | None = None) -> None:
        check_extra("an agent with a language model", "models", "openai")
        if config.run and config.router:
            raise ConfigError(f"options run ({config.run!r}) and router ({config.router!r}) exclude each other; give one of them")
        self.config = config
        self._seed = 0 if services is None else services.seed
        self._controller = controller or self._named_controller()

    async def ask(self, prompt: str, system: str = "") -> Reply:
        """Return the model's reply to a prompt.

        Raises:
            AgentError: No attempt was answered, or the answer is unusable. The error has the cost of the answer's tokens.
        """
        spec = await self._choose(prompt)
        server = self.config.base_url if spec.endpoint is None else str(Endpoint.of(spec.endpoint).options.get("base_url", self.config.base_url))
        sent: list[ChatCompletionMessageParam] = [{"role": "user", "content": prompt}]
        if system:
            sent.insert(0, {"role": "system", "content": system})
        try:
            body = await self._answered(server, spec.name, sent)
            return read_reply(body, spec, len(system + prompt))
        except AgentError as error:
            raise AgentError(f"model {spec.name!r} at {server} {error}", error.cost) from error

    async def _answered(self, server: str, model: str, messages: list[ChatCompletionMessageParam]) -> str:
        """Return a server's answer, after as many attempts as are allowed."""
        from openai import APIConnectionError, APIStatusError, OpenAIError

        config = self.config
        for attempt in range(config.retries + 1):
            wait: str | None = None
            try:
                return await asyncio.wait_for(self._attempt(server, model, messages), config.timeout_seconds)
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

    async def _attempt(self, server: str, model: str, messages: list[ChatCompletionMessageParam]) -> str:
        async with self._client(server) as client:
            answer = await client.chat.completions.with_raw_response.create(
                model=model,
                messages=messages,
                max_tokens=self.config.max_output_tokens,
                temperature=self.config.temperature,
            )
            return answer.text

    async def _choose(self, prompt: str) -> ModelSpec:
        """Return the model to call: the router's choice, with the options' prices if it has none."""
        config = self.config
        prices = Prices(config.input_usd_per_million, config.output_usd_per_million)
        if (controller := self._controller) is None:
            return ModelSpec(config.model, prices=prices)
        decision = await controller.aroute(Query(prompt, output_tokens=config.max_output_tokens))
        chosen = controller.pool.candidates[controller.pool.index(decision.candidate)]
        if not isinstance(chosen, ModelSpec):
            return ModelSpec(chosen.name, prices=prices)
        return chosen if chosen.prices else attrs.evolve(chosen, prices=prices)

    def _named_controller(self) -> MetaController | None:
        """Return the controller of the options, or None. It logs to memory: an agent's inner calls are never asked for later."""
        if self.config.run:
            return MetaController.load(self.config.run, store="memory:")
        if self.config.router:
            return MetaController.build(router=self.config.router, pool=self.config.pool, seed=self._seed)
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
