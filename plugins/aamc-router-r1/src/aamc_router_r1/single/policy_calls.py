"""Asking a policy which model to call: by the first turn of an episode, or by a server's ``POST /route``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs

from aamc_router_r1.config import CHAT, PolicyOptions, RouterOptions
from aamc_router_r1.episode.calls import request_options
from aamc_router_r1.policy import prompt_of
from aamc_router_r1.protocol import ModelNames, clean, codec_of, cut_turn, parse_turn
from aamc_sdk import Preference, Query
from aamc_sdk.errors import AamcError, ConfigError, ProviderError
from aamc_sdk.interfaces import ModelCaller, Services, WireProvider, WireRequest
from aamc_sdk.types import Candidate, ModelSpec, Pool, is_figure


class SelectionError(AamcError):
    """Raised when a policy gives no usable selection; the fallback then decides.

    Attributes:
        reason: The reason without the policy's text, which may quote the request; decisions note it.
        cost_usd: Cost of the call in USD; NaN if unknown.
    """

    def __init__(self, message: str, reason: str | None = None, cost_usd: float = math.nan) -> None:
        super().__init__(message)
        self.reason, self.cost_usd = message if reason is None else reason, cost_usd


@attrs.frozen
class ModelSelection:
    """The policy's choice, with its reasons and its whole answer; an unknown cost is NaN."""

    candidate: str
    thinking: str = ""
    cost_usd: float = math.nan
    text: str = ""


class FirstCall:
    """Asks a policy for the first turn of an episode, and selects the model that it consults, or itself if it answers."""

    def __init__(
        self, options: PolicyOptions, policy: Candidate, client: ModelCaller, quality: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self._options, self._policy, self._client, self._quality = options, policy, client, quality or {}

    async def select(self, query: Query, pool: Pool, preference: Preference | None) -> ModelSelection:
        """Return the model of the policy's first call; the prompt states the preference, unless it is None.

        Raises:
            AamcError: The policy did not answer, or gave no usable answer.
        """
        options = self._options
        others = {candidate.name: candidate for candidate in pool if options.consult_policy or candidate.name != self._policy.name}
        if not others:
            reason = f"there is no model besides the policy {self._policy.name!r}"
            raise SelectionError(f"{reason}; add one, or set consult_policy=true", reason, 0.0)
        names = ModelNames(others, {alias: name for alias, name in options.aliases.items() if name in others})
        codec = codec_of(options.codec, names, options.continues)
        prompt = prompt_of(options, query, others.values(), self._quality, preference)
        more = {**codec.options(1, True), **options.parameters}
        asked = request_options(self._policy, options.turn_tokens, more)
        completion = await self._client.complete(self._policy, codec.messages(prompt, ()), **asked)
        turn = parse_turn(cut_turn(clean(codec.text(completion))), names)
        if turn.blocked is not None:
            reason = f"the policy broke the protocol: {turn.blocked.kind}"
            raise SelectionError(f"the policy {self._policy.name!r}: {turn.blocked}", reason, completion.cost_usd)
        candidate = turn.calls[0].model if turn.calls else self._policy.name
        return ModelSelection(candidate, turn.thinking, completion.cost_usd, turn.text)


class RouteServer:
    """Asks a server by ``POST /route``, with the retries and the circuit breaker of a provider."""

    def __init__(self, options: RouterOptions, provider: WireProvider) -> None:
        self._aliases, self._provider = options.aliases, provider
        self._server = ModelSpec(options.server_model)

    async def select(self, query: Query, pool: Pool, preference: Preference | None) -> ModelSelection:
        """Return the ``selected_model`` of the server's answer, which need not be a candidate; arguments and errors as :meth:`FirstCall.select`."""
        body: dict[str, Any] = {"query": query.text, "candidates": [described(candidate) for candidate in pool]}
        if query.turns:
            body["history"] = [{"role": turn.role, "content": turn.content} for turn in query.turns]
        if preference is not None:
            body["preference"] = {"quality": preference.quality, "cost": preference.cost, "latency": preference.latency}
        try:
            reply = await self._provider.send(self._server, WireRequest(api="/route", body=body))
        except ProviderError as error:  # such as 422, where its policy was asked and gave no usable answer
            raise SelectionError(str(error), cost_usd=_cost_in(_json(error.body))) from error
        answer = _json(reply.body)
        if answer is None:
            raise SelectionError(f"the server's answer is not JSON: {reply.body[:80]!r}", "the server's answer is not JSON")
        cost_usd = _cost_in(answer)
        if not isinstance(answer, Mapping) or not isinstance(answer.get("selected_model"), str) or not answer["selected_model"].strip():
            message = f"the server's answer must have a selected_model, not {clean(str(answer)):.200}"
            raise SelectionError(message, "the server's answer has no selected_model", cost_usd)
        name = answer["selected_model"].strip()
        thinking, text = (clean(str(answer.get(key) or "")) for key in ("thinking", "full_response"))
        return ModelSelection(self._aliases.get(name, name), thinking, cost_usd, text)


Selector = FirstCall | RouteServer


def described(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate in the body of a request to a server: name, description, abilities, prices and latency."""
    document: dict[str, Any] = {"name": candidate.name, "description": candidate.description, "abilities": sorted(candidate.abilities)}
    if candidate.prices is not None:
        document["prices"] = {"input": candidate.prices.input, "output": candidate.prices.output}
    if candidate.latency is not None:
        document["latency_ms"] = candidate.latency.total_ms
    return document


def _json(body: bytes) -> Any:
    """Return the value of a body in JSON; None for another one."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _cost_in(answer: Any) -> float:
    """Return the ``cost_usd`` of a server's answer; NaN without a possible one."""
    cost: Any = answer.get("cost_usd") if isinstance(answer, Mapping) else None
    return float(cost) if is_figure(cost) else math.nan


def server_selector(options: RouterOptions, services: Services) -> Selector:
    """Return the selector of the server that options name."""
    url = options.router_r1_server_url.rstrip("/")
    if options.server_api == CHAT and not url.endswith("/v1"):
        url += "/v1"
    provider = services.make(
        "provider",
        "openai",
        {
            "base_url": url,
            "api_key_env": options.server_key_env,
            "timeout_seconds": options.timeout_seconds,
            "retries": options.retries,
            "breaker_failures": options.breaker_failures,
            "breaker_rest_s": options.breaker_rest_seconds,
            "max_pause_s": min(8.0, options.timeout_seconds),
        },
    )
    if not isinstance(provider, WireProvider):
        raise ConfigError("router_r1_server_url needs the provider openai of aamc-models; install that package")
    if options.server_api == CHAT:
        return FirstCall(options, ModelSpec(options.server_model), provider)
    return RouteServer(options, provider)
