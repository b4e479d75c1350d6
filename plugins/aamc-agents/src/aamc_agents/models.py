"""Language models of any OpenAI-compatible server, one given by name or one chosen for each call by a router of the SDK."""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from aamc_puppeteer.agents.reply import Reply, read_reply
from aamc_puppeteer.agents.tool import AgentError
from aamc_sdk import MetaController, ModelSpec, Prices, Query, Services, option
from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam


@attrs.frozen(kw_only=True)
class ModelConfig:
    """Where the model is, what it costs, and who chooses it."""

    base_url: str = option("http://localhost:8000/v1", "Address of an OpenAI-compatible server; a chosen model's own endpoint goes first.")
    model: str = option("default", "The model's name there, unless a router chooses one.")
    api_key_env: str = option("OPENAI_API_KEY", "Environment variable that holds the key, which stands in no file.")
    input_usd_per_million: float = option(0.0, "USD per million prompt tokens, unless a router chooses a model with prices.", at_least=0.0)
    output_usd_per_million: float = option(0.0, "USD per million tokens of the answer, likewise.", at_least=0.0)
    max_output_tokens: int = option(1024, "Most tokens of an answer.", at_least=1)
    temperature: float = option(0.0, "Temperature of sampling.", at_least=0.0)
    timeout_seconds: float = option(
        60.0, "Seconds of one attempt, from the first byte to the last, and most that a server may ask us to wait.", above=0.0
    )
    retries: int = option(2, "Further attempts after a lost connection, a timeout, or an answer 408, 409, 429 or 5xx.", at_least=0)
    run: str = option("", "Folder of a run whose router chooses a model of its pool for each call.")
    router: str = option("", "Name of an untrained router, such as random or rule, that chooses one of pool for each call.")
    pool: str = option("default", "Models that the router chooses from: a pool's name, or its YAML file.")


_PASSING = (408, 409, 429)
"""Answers below 500 after which another attempt is worth it."""
_FIRST_PAUSE = 0.5
"""Seconds before the second attempt where the server names none; each further pause is twice as long."""
_SHOWN = 500
"""Characters of an error that are told."""


class ChatModel:
    """Asks a model.

    Args:
        config: Which one, and how.
        services: The run's seed, which the router's draws follow from; it is 0 without them.
        controller: Chooses the model for each call, in place of one that the options name.

    Raises:
        ConfigError: The options name both a run and a router.
    """

    def __init__(self, config: ModelConfig, services: Services | None, controller: MetaController | None = None) -> None:
        if config.run and config.router:
            raise ConfigError(f"a model is chosen by the router of a run or by a router of its own, not by both {config.run!r} and {config.router!r}")
        self.config = config
        self._seed = 0 if services is None else services.seed
        self._controller = controller or self._named_controller()

    async def ask(self, prompt: str, system: str = "") -> Reply:
        """Return what the model says to a prompt.

        Raises:
            AgentError: No attempt was answered, or the answer cannot be used; it has the cost of the tokens that it took.
        """
        spec = await self._choose(prompt)
        server = spec.endpoint or self.config.base_url
        sent: list[ChatCompletionMessageParam] = [{"role": "user", "content": prompt}]
        if system:
            sent.insert(0, {"role": "system", "content": system})
        try:
            body = await self._answered(server, spec.name, sent)
            return read_reply(body, spec, len(system + prompt))
        except AgentError as error:
            raise AgentError(f"model {spec.name!r} at {server} {error}", error.cost) from error

    async def _answered(self, server: str, model: str, messages: list[ChatCompletionMessageParam]) -> str:
        """Return what a server sends, after as many attempts as are allowed."""
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
                failure, passing = f"refused: {type(error).__name__}: {error}"[:_SHOWN], error.status_code in _PASSING or error.status_code >= 500
                wait = error.response.headers.get("retry-after")
            except (OpenAIError, ValueError) as error:  # ValueError: an address or a key that no request can have
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
        """Return the model to ask: the router's choice, with our own prices where it has none."""
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
        """Return the controller that the options name. Its log is in memory: nobody asks about an agent's inner calls later."""
        if self.config.run:
            return MetaController.load(self.config.run, store="memory:")
        if self.config.router:
            return MetaController.build(router=self.config.router, pool=self.config.pool, seed=self._seed)
        return None

    def _client(self, base_url: str) -> AsyncOpenAI:
        """Return a client of its own for a call: one that is shared would be bound to the event loop that it was first used in."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            base_url=base_url,
            api_key=os.environ.get(self.config.api_key_env) or "none",
            timeout=self.config.timeout_seconds,
            max_retries=0,  # ours are: the library waits as long as a server says
            http_client=DefaultAsyncHttpxClient(verify=_certificates()),
        )


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes twenty times as long as the rest of a client."""
    return ssl.create_default_context()


def _pause(wanted: str | None, attempt: int) -> float:
    """Return the seconds before another attempt: those that the server asks for; where it names none, or a date, ever more."""
    try:
        seconds = float(wanted or "")
    except ValueError:
        seconds = -1.0
    return seconds if seconds >= 0 else _FIRST_PAUSE * 2.0 ** min(attempt, 10)
