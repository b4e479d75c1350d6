"""Asks language models. The model is fixed, a candidate of the pool, or chosen for each call by a router of the SDK."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from aamc_agents.tool import AgentError
from aamc_sdk import Candidate, MetaController, ModelSpec, Prices, Query, Services, get_plugin_manager, option
from aamc_sdk.errors import AamcError, ConfigError, PoolError, ProviderError
from aamc_sdk.interfaces import Completion, Message, Provider, Usage, output_limit, public_url
from aamc_sdk.messages import one_of
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import AttemptKeywords, ModelClient, counted_calls, make_services, price
from aamc_sdk.types import Decision, Endpoint, estimated_tokens, utf8_bytes

UNCONFIGURED = "no language model is configured; add an endpoint to the pool, or set endpoint"
_USUAL_TOKENS = 4096
"""Tokens of a long answer, for estimates where no limit is set."""


@attrs.frozen(kw_only=True)
class ModelConfig:
    """The model, or the router that chooses it. Without ``endpoint``, ``run`` and ``router``: a candidate of the pool."""

    endpoint: Any = option("", "Endpoint of the model, as in a pool file (default: that of a candidate of the pool).")  # noqa: RUF009  # an attrs field
    model: str = option("", "The model's name on the server, or the candidate's name (default: the only candidate with an endpoint).")
    prices: Mapping[str, float] = option({}, "USD per million tokens as in a pool file, unless a candidate has prices (default: unknown).")
    parameters: Mapping[str, Any] = option({}, "Parameters of each request, such as max_tokens; a candidate's own have priority.")
    run: str = option("", "Run folder whose router chooses a model of its pool for each call.")
    router: str = option("", "Untrained router, such as random or rule, that chooses a model of the pool for each call.")
    pool: str = option("default", "Pool of the untrained router: a name or a YAML file.")

    def __attrs_post_init__(self) -> None:
        self.spec("model")  # its errors belong here

    def spec(self, name: str) -> ModelSpec:
        """Return a model with these options, under a name."""
        try:
            prices = Prices(**self.prices) if self.prices else None
            return ModelSpec(name, prices=prices, endpoint=self.endpoint or None, parameters=self.parameters)
        except TypeError:
            known = [field.name for field in attrs.fields(Prices)]
            raise ConfigError(f"prices must have input and output, and may have others of {one_of(known)}, not {dict(self.prices)!r}") from None
        except PoolError as error:
            raise ConfigError(str(error)) from error


@attrs.frozen
class ModelReply:
    """A model's answer.

    Attributes:
        text: The answer.
        model: The model's name.
        tokens: Tokens of prompt and answer together.
        cost: Cost of the tokens in USD at the model's prices; NaN without prices.
        counted: Whether the server counted the tokens; otherwise they are estimated from the texts' lengths.
        prompt_tokens: Tokens of the prompt.
    """

    text: str
    model: str
    tokens: int
    cost: float
    counted: bool = True
    prompt_tokens: int = 0

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of an agent's output."""
        unknown = {"cost_known": False} if math.isnan(self.cost) else {}
        return {"model": self.model, "tokens": self.tokens, "prompt_tokens": self.prompt_tokens, "tokens_counted": self.counted, **unknown}


class ChatModel:
    """A model that answers prompts. A call of a routed model is recorded as an attempt of the router's decision.

    The model's own parameters in the pool have priority over the options.

    Args:
        config: The model and its limits.
        services: Have the pool, the client for models, and the seed of a router's draws; those of an empty configuration when None.
        controller: Chooses the model for each call, instead of the router in the options.

    Raises:
        ConfigError: The options name both a run and a router, or the endpoint has a wrong option.
        PluginError: No plugin offers the endpoint's provider.
    """

    def __init__(self, config: ModelConfig, services: Services | None, controller: MetaController | None = None) -> None:
        if config.run and config.router:
            raise ConfigError(f"options run ({config.run!r}) and router ({config.router!r}) exclude each other; give one of them")
        self.config = config
        self._services = services or make_services(default_pool(), get_plugin_manager())
        self._client = self._services.models or ModelClient(self._provider)
        self._given = controller
        self._named: MetaController | None = None
        self._lock = threading.Lock()
        self._controller()  # its errors belong here
        if config.endpoint:
            self._provider(Endpoint.of(config.endpoint))  # likewise

    async def ask(self, prompt: str, system: str = "") -> ModelReply:
        """Return the model's reply to a prompt.

        Raises:
            AgentError: No model is configured, none answered, or the answer is unusable. The error has the cost of the answer's tokens.
        """
        sent: list[Message] = [{"role": "user", "content": prompt}]
        if system:
            sent.insert(0, {"role": "system", "content": system})
        controller = self._controller()
        if controller is None:
            return await self._call(self._fixed(), sent)
        self.check()  # before the router decides in vain
        decision = await controller.aroute(Query(prompt, output_tokens=output_limit(self.config.parameters)))
        return await self._call_recorded(controller, decision, sent)

    def check(self) -> None:
        """Raise AgentError if no model is configured, or the options name none of the pool's."""
        controller = self._controller()
        if controller is None:
            self._fixed()
        elif not self.config.endpoint and not any(model.endpoint for model in controller.pool):
            raise AgentError(UNCONFIGURED)

    def max_cost_usd(self, prompt_bytes: int) -> float:
        """Return the estimated maximum cost in USD of a call with a prompt of this many bytes of UTF-8; NaN if a model has no prices."""
        controller = self._controller()
        try:
            specs = [self._fixed()] if controller is None else [self._complete(candidate) for candidate in controller.pool]
        except AgentError:
            return math.nan
        tokens = [output_limit(spec.parameters) or _USUAL_TOKENS for spec in specs]
        usages = [Usage(prompt_tokens=estimated_tokens(prompt_bytes), output_tokens=made) for made in tokens]
        costs = [price(spec, usage)[0] for spec, usage in zip(specs, usages, strict=True)]
        return float(np.max(costs))  # NaN if any is NaN

    def close(self) -> None:
        """Close the router that the options name; a later call opens it again."""
        with self._lock:
            named, self._named = self._named, None
        if named is not None:
            named.close()

    def _provider(self, endpoint: Endpoint) -> Provider:
        provider: Provider = self._services.make("provider", endpoint.provider, endpoint.options)
        return provider

    def _fixed(self) -> ModelSpec:
        """Return the model of the options, else the candidate of the pool that they name."""
        name = self.config.model
        if self.config.endpoint:
            return self.config.spec(name or "default")
        found = {model.name: model for model in self._services.pool if model.endpoint is not None}
        if not found:
            raise AgentError(UNCONFIGURED)
        if (name and name not in found) or (not name and len(found) > 1):
            given = f", not {name!r}" if name else ", as the pool has several"
            raise AgentError(f"option model must name a candidate with an endpoint ({one_of(found)}){given}; or let option run or router choose")
        return self._complete(found[name] if name else next(iter(found.values())))

    def _complete(self, candidate: Candidate) -> ModelSpec:
        """Return a candidate with endpoint, prices and parameters; its own have priority over those of the options."""
        own, spec = self.config.spec(candidate.name), candidate if isinstance(candidate, ModelSpec) else ModelSpec(candidate.name)
        if spec.endpoint is None and own.endpoint is None:
            raise AgentError(f"candidate {candidate.name!r} has no endpoint; add one to the pool, or set endpoint")
        return attrs.evolve(
            spec, endpoint=spec.endpoint or own.endpoint, prices=spec.prices or own.prices, parameters={**own.parameters, **spec.parameters}
        )

    async def _call_recorded(self, controller: MetaController, decision: Decision, messages: list[Message]) -> ModelReply:
        """Call the candidate of a decision and record the call as an attempt."""
        spec = self._complete(controller.pool.candidates[controller.pool.index(decision.candidate)])
        began = time.monotonic()
        figures: AttemptKeywords = {"candidate": spec.name}
        try:
            reply = await self._call(spec, messages)
            figures |= {"cost_usd": None if math.isnan(reply.cost) else reply.cost}
        except asyncio.CancelledError as error:
            figures |= {"cost_usd": getattr(error, "cost", None), "status": "cancelled", "error": "the caller cancelled the call"}
            raise
        except Exception as error:
            figures |= {"cost_usd": getattr(error, "cost", None), "error": str(error) or type(error).__name__}
            raise
        finally:
            figures["latency_ms"] = 1000 * (time.monotonic() - began)
            await controller.aattempt(decision.id, **figures)
        return reply

    async def _call(self, spec: ModelSpec, messages: list[Message]) -> ModelReply:
        """Return a model's reply, through the client for models; time limits and further attempts are those of the endpoint."""
        costs: list[float] = []
        with counted_calls(costs):
            called = self._services.loop.submit(self._client.complete(spec, messages))  # a provider's connections belong to this loop
        try:
            completion = await asyncio.wrap_future(called)
        except asyncio.CancelledError as error:
            error.cost = sum(costs)  # type: ignore[attr-defined]  # any error may have a cost
            raise
        except AamcError as error:
            raise AgentError(str(error), sum(costs)) from error
        return _reply(completion, spec, sum(utf8_bytes(message["content"]) for message in messages))

    def _controller(self) -> MetaController | None:
        """Return the router: the given one, else that of the options, opened if necessary; None for a fixed model.

        A router of the options logs to memory: nobody asks for an agent's inner calls later.
        """
        if self._given is not None:
            return self._given
        with self._lock:
            if self._named is None and self.config.run:
                self._named = MetaController.load(self.config.run, store="memory:")
            elif self._named is None and self.config.router:
                self._named = MetaController.build(router=self.config.router, pool=self.config.pool, seed=self._services.seed)
            return self._named


def _reply(completion: Completion, spec: ModelSpec, sent: int) -> ModelReply:
    """Return the reply in a completion. Tokens that the server did not count are estimated from the bytes of prompt and text.

    Raises:
        AgentError: The completion has no text. The error has the cost of its tokens.
    """
    text, given, made = completion.text.strip(), completion.usage.prompt_tokens, completion.usage.output_tokens
    counted = given is not None and made is not None
    if given is None or made is None:
        given, made = estimated_tokens(sent), estimated_tokens(text)
    cost = price(spec, Usage(prompt_tokens=given, output_tokens=made))[0] if math.isnan(completion.cost_usd) else completion.cost_usd
    if not text:
        public = f"model {spec.name!r} said nothing"
        where = f"model {spec.name!r}"
        if spec.endpoint is not None:
            where += f" at {public_url(str(spec.endpoint.options.get('base_url', spec.endpoint.provider)))}"
        empty = ProviderError(f"{where} said nothing; check that it is a chat model, and the limit of its tokens", kind="protocol", public=public)
        raise AgentError(str(empty), 0.0 if math.isnan(cost) else cost) from empty
    return ModelReply(text, spec.name, given + made, cost, counted, given)
