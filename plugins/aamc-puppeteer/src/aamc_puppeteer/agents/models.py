"""Language models of any OpenAI-compatible server, one given by name or one chosen for each call by a router of the SDK."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from aamc_puppeteer.agents.tool import AgentError
from aamc_sdk import MetaController, ModelSpec, Prices, Query, Services, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion


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
    timeout_seconds: float = option(60.0, "Seconds of one attempt.", above=0.0)
    retries: int = option(2, "Further attempts after a lost connection, a timeout, or an answer 408, 409, 429 or 5xx.", at_least=0)
    run: str = option("", "Folder of a run whose router chooses a model of its pool for each call.")
    router: str = option("", "Name of an untrained router, such as random or rule, that chooses one of pool for each call.")
    pool: str = option("default", "Models that the router chooses from: a pool's name, or its YAML file.")


@attrs.frozen
class Reply:
    """What a model said.

    Attributes:
        text: The answer.
        model: Who gave it.
        tokens: Of prompt and answer together.
        cost: USD, of the tokens at the model's prices.
        counted: Whether the server counted the tokens; else they are estimated from the texts' lengths.
    """

    text: str
    model: str
    tokens: int
    cost: float
    counted: bool = True

    @property
    def metadata(self) -> dict[str, Any]:
        """What an output tells beside the answer."""
        return {"model": self.model, "tokens": self.tokens, "tokens_counted": self.counted}


class ChatModel:
    """Asks a model.

    Args:
        config: Which one, and how.
        services: The run's seed, which the router's draws follow from.
        controller: Chooses the model for each call, in place of one that the options name.

    Raises:
        ConfigError: The options name both a run and a router.
    """

    def __init__(self, config: ModelConfig, services: Services, controller: MetaController | None = None) -> None:
        if config.run and config.router:
            raise ConfigError(f"a model is chosen by the router of a run or by a router of its own, not by both {config.run!r} and {config.router!r}")
        self.config = config
        self._seed = services.seed
        self._controller = controller

    async def ask(self, prompt: str, system: str = "") -> Reply:
        """Return what the model says to a prompt.

        Raises:
            AgentError: No attempt was answered.
        """
        from openai import OpenAIError

        spec = await self._choose(prompt)
        messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": prompt}]
        try:
            async with self._client(spec.endpoint or self.config.base_url) as client:
                answer: ChatCompletion = await client.chat.completions.create(
                    model=spec.name,
                    messages=messages,  # type: ignore[arg-type]  # these are two of the forms that a message may have
                    max_tokens=self.config.max_output_tokens,
                    temperature=self.config.temperature,
                )
        except OpenAIError as error:
            raise AgentError(f"model {spec.name!r} did not answer: {type(error).__name__}: {error}") from error
        return _reply(spec, answer, system + prompt)

    async def _choose(self, prompt: str) -> ModelSpec:
        """Return the model to ask: the router's choice, with our own prices where it has none."""
        config = self.config
        prices = Prices(config.input_usd_per_million, config.output_usd_per_million)
        controller = self._controller = self._controller or self._named_controller()
        if controller is None:
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
            max_retries=self.config.retries,
            http_client=DefaultAsyncHttpxClient(verify=_certificates()),
        )


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes twenty times as long as the rest of a client."""
    return ssl.create_default_context()


def _reply(spec: ModelSpec, answer: ChatCompletion, sent: str) -> Reply:
    text = (answer.choices[0].message.content or "").strip() if answer.choices else ""
    if not text:
        raise AgentError(f"model {spec.name!r} said nothing")
    usage = answer.usage
    given = usage.prompt_tokens if usage else len(sent) // CHARACTERS_PER_TOKEN
    made = usage.completion_tokens if usage else len(text) // CHARACTERS_PER_TOKEN
    prices = spec.prices or Prices(0.0, 0.0)
    cost = (given * prices.input + made * prices.output) / 1e6
    return Reply(text, spec.name, given + made, cost, counted=usage is not None)
