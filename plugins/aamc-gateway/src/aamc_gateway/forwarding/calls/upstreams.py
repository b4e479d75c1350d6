"""Candidates as the gateway calls them: their APIs, requests in a dialect that they understand, and calls with their usage and cost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs
from aamc_models import HttpProvider, is_loopback
from aamc_models.dialects import (
    DEFAULT_MAX_TOKENS,
    DIALECTS,
    OUTPUT_LIMITS,
    claude_model,
    convert_request,
    with_usage,
    without_foreign_state,
)

from aamc_gateway.access.admission import Reservation
from aamc_gateway.access.callers import Refused
from aamc_gateway.access.max_cost import MaxCost
from aamc_gateway.forwarding.calls.plain_provider import PlainWire
from aamc_gateway.forwarding.calls.usage import UsageEstimator
from aamc_gateway.observe.request_figures import CallFigures
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.routing_arguments import PREFIX
from aamc_sdk.errors import AamcError, PoolError, ProviderError, may_be_billed
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT, Usage, WireProvider, WireRequest, output_limit
from aamc_sdk.messages import failures_text, whole_number_hint
from aamc_sdk.serving import Call, ModelClient, price
from aamc_sdk.types import Candidate, Pool

logger = logging.getLogger(__name__)
_MAX_WARNINGS = 100
_CONTENT = frozenset(("content", "document", "file", "image", "input", "prompt", "tool_choice"))
"""Dropped fields that a server may miss, by the first part of their names. A request that lost options alone, such as marks of a cache, is valid."""
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104  # compared only
"""Addresses by which a server listens on every interface."""
_PORTS = {"http": 80, "https": 443}
Strip = Literal["", "earlier", "all"]


@attrs.frozen(slots=False)  # without slots, construction takes a third less time
class Prepared:
    """A request to a candidate.

    Attributes:
        request: The request; the answer comes in its API.
        dropped: Fields that this dialect cannot express, that the model refuses beside its thinking, or that its provider leaves out.
        max_tokens: The limit of the answer that a budget imposes; None for none.
        is_altered: Whether the request lost content or state: a server that refuses it says nothing about its model.
    """

    request: WireRequest
    dropped: tuple[str, ...] = ()
    max_tokens: int | None = None
    is_altered: bool = False


class Upstream:
    """A candidate that can be called.

    Attributes:
        candidate: The candidate.
        name: Its name.
        endpoint: Its endpoint.
        model: The model's name on its server.
        max_cost: The maximum cost of its answers.
    """

    def __init__(self, candidate: Candidate, models: ModelClient, default_tokens: int) -> None:
        self.candidate, self.name = candidate, candidate.name
        self._models = models
        assert candidate.endpoint is not None  # else it cannot be called
        endpoint = self.endpoint = candidate.endpoint
        self.model = str(endpoint.options.get("model") or candidate.name)
        self._max_tokens = endpoint.options.get("max_output_tokens", DEFAULT_MAX_TOKENS)
        self._claude_model = claude_model(candidate)
        self._warned: set[tuple[str, ...]] = set()
        self._reasons = not candidate.abilities or "reasoning" in candidate.abilities
        self.max_cost = MaxCost(candidate, self.api_of, self._max_tokens, default_tokens)

    @cached_property
    def wire(self) -> WireProvider | PlainWire:
        """The provider.

        Raises:
            ProviderError: It cannot be made: no plugin offers it, a package is missing, or an option of the endpoint is wrong.
        """
        if (problem := self.problem) is not None:
            public = f"model {self.name!r} cannot be called: its provider cannot be made"
            raise ProviderError(f"{public}: {problem}", kind="configuration", public=public)
        provider = self._models.provider(self.candidate)
        return provider if isinstance(provider, WireProvider) else PlainWire(provider)

    @property
    def problem(self) -> AamcError | None:
        """The reason why its provider cannot be made; None if it can."""
        try:
            self._models.provider(self.candidate)
        except AamcError as error:
            return error
        return None

    @property
    def is_available(self) -> bool:
        """Whether it can be called now: its provider can be made, and the circuit breaker of a server is closed."""
        try:
            return self._models.endpoint_state(self.candidate).available
        except AamcError:
            return False

    @property
    def retry_after_s(self) -> float | None:
        """Time in seconds after which its endpoint can be called, where it cannot be now; None if unknown."""
        return self._models.endpoint_state(self.candidate).retry_after_s

    @cached_property
    def apis(self) -> frozenset[str]:
        """The names of the APIs that it offers; none where the provider cannot be made."""
        try:
            return frozenset(self.wire.apis)
        except ProviderError:
            return frozenset()

    def api_of(self, api: str) -> str | None:
        """Return the API by which it serves requests of an API: the same one, else the one that they are converted to; None if it cannot."""
        if api in self.apis:
            return api
        if api.startswith("/"):
            return api if self.apis and isinstance(self.wire, WireProvider) else None
        if api not in DIALECTS:
            return None
        return next((other for other in DIALECTS[:3] if other in self.apis), None)

    def prepare(self, request: ClientRequest, *, strip: Strip = "", limits_answer: bool = False) -> Prepared:
        """Return a request in a dialect that the candidate understands.

        Args:
            request: The request.
            strip: The state to take out because only other candidates understand it: ``"all"``, ``"earlier"`` for that before the last human
                message, or ``""`` for none.
            limits_answer: Whether an answer without a limit of tokens gets one, since a budget limits its cost.

        Raises:
            DataError: A field has a wrong type, so that it cannot be converted.
        """
        if request.raw is not None:
            sent = dict(request.body) if "model" in request.body else request.raw  # a provider writes the model's own name into an object
            return Prepared(WireRequest(api=request.api, body=sent, headers=request.headers, method=request.method))
        api = self.api_of(request.api) or request.api
        body: Mapping[str, Any] = request.body
        limit = self.max_cost.imposed_limit(request) if limits_answer else None
        if limit is not None:
            body = {**body, OUTPUT_LIMITS[request.api][0]: limit}
        stripped = without_foreign_state(request.dialect, body, earlier_only=strip == "earlier", model=self.name) if strip else body
        is_stripped, body = stripped != body, stripped
        dropped: tuple[str, ...] = ()
        if api != request.api or api == "messages":
            converted = convert_request(
                request.dialect,
                api,
                body,
                max_tokens=self._max_tokens,
                parameters=self.candidate.parameters,
                reasons=self._reasons,
                claude_model=self._claude_model,
                model=self.name,
            )
            body, dropped = converted.body, tuple(converted.dropped)
        wire_request = WireRequest(api=api, body=with_usage(api, body), headers=request.headers, is_converted=api != request.api)
        if api in self.apis and isinstance(self.wire, WireProvider):
            dropped = *dropped, *self.wire.dropped(self.candidate, wire_request)
        lost_content = any(name.partition(".")[0] in _CONTENT for name in dropped)
        return Prepared(wire_request, dropped, limit, is_stripped or lost_content)

    def warn_of_refusal(self, prepared: Prepared, status: int | None, decision_id: str) -> None:
        """Warn that the server refused a request without some fields, once for the same ones. Not with its message, which may quote the prompt."""
        if prepared.dropped not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add(prepared.dropped)
            lost = ", ".join(prepared.dropped) or "the state of other models"
            text = "model %r refused a request (status %s) that had lost %.200s; the router learns nothing from it; see decision %s in the log"
            logger.warning(text, self.name, status or "unknown", lost, decision_id)


class UpstreamCall:
    """A call of a candidate: an asynchronous context manager. :meth:`aamc_gateway.forwarding.exchange.Exchange.call_ended` must follow its block.

    A call that ends before its usage has come is billed for its estimated prompt, if its server may bill it: an attempt was sent, and not refused.

    Attributes:
        upstream: The candidate.
        prepared: The request that it gets.
        block: Measures, prices and records the call.
        held: The call's share of the candidate's own limits; None if it has none.
        figures: What metrics and logs see of it.
    """

    __slots__ = ("_asked", "_estimator", "_may_be_billed", "block", "figures", "held", "prepared", "upstream")

    def __init__(
        self, upstream: Upstream, prepared: Prepared, asked: ClientRequest, block: Call, held: Reservation | None, estimator: UsageEstimator
    ) -> None:
        self.upstream, self.prepared, self.block, self.held = upstream, prepared, block, held
        self._asked, self._estimator = asked, estimator
        self._may_be_billed: bool | None = None  # if unknown, the error says it: some providers never do
        self.figures = CallFigures(upstream.name, math.nan, provider=upstream.endpoint.provider, upstream_model=upstream.model)
        self.figures.streamed = self._body().get("stream") is True

    async def __aenter__(self) -> None:
        """Begin the call."""
        await self.block.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End the call and record it."""
        is_cancelled = error is not None and not isinstance(error, Exception)
        if is_cancelled or (isinstance(error, ProviderError) and error.reported is None):
            assumed = not isinstance(error, ProviderError) or may_be_billed(error)
            if assumed if self._may_be_billed is None else self._may_be_billed:
                self._bill_prompt()
        if self._asked.priced_requests > 1 and math.isnan(self.block.cost_usd):
            self._price_images()
        await self.block.__aexit__(kind, error, traceback)

    @property
    def request(self) -> WireRequest:
        """The request to send."""
        return attrs.evolve(self.prepared.request, on_sent=self._note_sent)

    def _note_sent(self, may_be_billed: bool) -> None:
        self._may_be_billed = may_be_billed

    def note_reported_error(self) -> None:
        """Note that the answer itself reports an error, which says whether the call is billed."""
        self._may_be_billed = None

    def _bill_prompt(self) -> None:
        """Estimate the prompt of a call of which nothing else is known."""
        block = self.block
        if self._asked.priced == "tokens" and math.isnan(block.cost_usd) and block.usage.prompt_tokens is None:
            self._set_usage(block.usage, lambda: (0, 0), finished=False)
            block.cost_source = "estimated"

    def _price_images(self) -> None:
        """Price a call of several images."""
        block = self.block
        cost_usd, source = _price(self.upstream.candidate, block.usage, self._asked.priced_requests)
        if source:
            block.cost_usd, block.cost_source = cost_usd, block.cost_source or source

    @property
    def becomes_plain(self) -> bool:
        """Whether an answer of chat is brought into OpenAI's form: a client that did not name the model cannot know the forms of its vendor."""
        return self.prepared.request.api == self._asked.api == "chat" and self._asked.mode != "model"

    def bill(self, reported: Usage, cost_usd: float, answer_bytes: Callable[[], tuple[int, int]], *, finished: bool) -> None:
        """Set usage and cost inside the block: as reported, else estimated from the bytes that came, of which the second number is reasoning.

        Nothing is set where nothing came, and for an answer that goes on in the background, whose usage comes later.
        """
        block = self.block
        is_reported = finished and not math.isnan(cost_usd)
        if is_reported:
            block.cost_usd = cost_usd
        if not finished and not answer_bytes()[0] and reported.prompt_tokens is None:
            return
        if reported.output_tokens is None and self._body().get("background") is True:
            return
        if self._set_usage(reported, answer_bytes, finished=finished) and not is_reported:
            block.cost_source = "estimated"

    def _set_usage(self, reported: Usage, answer_bytes: Callable[[], tuple[int, int]], *, finished: bool) -> bool:
        """Set the usage, and return whether it is estimated."""
        asked, name = self._asked, self.upstream.name
        media = asked.media if asked.has_media else None
        usage, estimated = self._estimator.usage(name, self._body(), answer_bytes, reported, finished=finished, media=media)
        self.block.usage = self._limited(usage, reported) if estimated else usage
        return estimated

    def _body(self) -> Mapping[str, Any]:
        body = self.prepared.request.body
        return body if isinstance(body, dict) else {}

    def _limited(self, estimated: Usage, reported: Usage) -> Usage:
        """Return an estimate whose answer does not exceed the limit of the request, unless the server has reported more."""
        limit = output_limit(self._body()) or output_limit(self.upstream.candidate.parameters)
        if limit is None:
            return estimated
        at_most = max(limit * self._asked.answers, reported.output_tokens or 0)
        return attrs.evolve(estimated, output_tokens=min(estimated.output_tokens or 0, at_most))


class Upstreams(dict[str, Upstream]):
    """The candidates that can be called, by name; ``default_tokens`` is the limit of an answer that a budget imposes."""

    def __init__(self, pool: Pool, models: ModelClient, default_tokens: int) -> None:
        super().__init__((c.name, Upstream(c, models, default_tokens)) for c in pool if c.endpoint is not None)
        self._capable: dict[str, Sequence[str]] = {}

    def check(self, host: str, port: int) -> None:
        """Check that a candidate can be called by a gateway that listens on an address.

        Raises:
            PoolError: None has an endpoint, or no provider can be made; or one has a name of the gateway's own models, or one that cannot be sent, or
                a limit of answers that is not a number, or the address of the gateway, whose requests would never end.
        """
        for name, upstream in self.items():
            if upstream.problem is None and (address := _own_address(upstream.wire, host, port)) is not None:
                what = f"candidate {name!r} has the address of this gateway, {address}, which would call itself"
                raise PoolError(f"{what}; give the address of the model's server, or let the gateway listen on another --port")
            if not name.isprintable():
                raise PoolError(f"candidate {name!r} has a character that no header can carry; rename it in the pool file")
            if name.startswith(PREFIX):
                raise PoolError(f"candidate {name!r} must not begin with {PREFIX!r}, as the gateway's own models do; rename it in the pool file")
            for field in ANY_OUTPUT_LIMIT:
                limit = upstream.candidate.parameters.get(field, 1)
                if type(limit) is not int or limit < 1:
                    wanted = f"must be a number of tokens, such as 1000, not {limit!r:.80}{whole_number_hint(limit)}"
                    raise PoolError(f"candidate {name!r}: the parameter {field} {wanted}")
        if not self:
            raise PoolError("no candidate of the pool has an endpoint, so none can be called; add endpoints to the pool file, or name another pool")
        errors = []
        for name, upstream in self.items():
            if (problem := upstream.problem) is None:
                return
            errors.append(f"{name}: {problem}")
        raise PoolError(failures_text("no candidate of the pool can be called", errors))

    def maximum_usd(self, request: ClientRequest, usage: Usage) -> float:
        """Return the cost of an answer with the candidate for which it costs most, of those that can give it; NaN if none is known."""
        costs = [_price(self[name].candidate, usage, request.priced_requests)[0] for name in self.capable(request.api)]
        return max((cost for cost in costs if not math.isnan(cost)), default=math.nan)

    def capable(self, api: str) -> Sequence[str]:
        """Return the names of the candidates that can answer requests of an API."""
        if api.startswith("/"):
            api = "/"  # the paths of all APIs that pass through are alike
        if api not in self._capable:
            self._capable[api] = tuple(name for name, upstream in self.items() if upstream.api_of(api) is not None)
        return self._capable[api]

    def check_api(self, request: ClientRequest) -> None:
        """Raise Refused if a request's API is not offered: by the model that it names, else by any."""
        asked = [self[request.model]] if request.mode == "model" else self.values()
        if any(upstream.api_of(request.api) is not None or not upstream.apis for upstream in asked):  # a call says why a provider has none
            return
        whose = f"the provider of {request.model!r} has" if request.mode == "model" else "the models here have"
        raise Refused(f"{whose} no API {request.api!r:.100}; ask a model whose provider has it")


def _own_address(wire: object, host: str, port: int) -> str | None:
    """Return the address of a provider's server if the gateway listens there itself, else None."""
    if not isinstance(wire, HttpProvider):
        return None
    is_local = is_loopback(host) or host in _WILDCARDS
    for parts in map(urlsplit, (wire.config.base_url, *(each.base_url for each in wire.config.deployments))):
        is_own = parts.hostname == host or (is_local and parts.hostname is not None and is_loopback(parts.hostname))
        if is_own and (parts.port or _PORTS.get(parts.scheme)) == port:
            return f"{parts.hostname}:{port}"
    return None


def _price(candidate: Candidate, usage: Usage, requests: int) -> tuple[float, str]:
    """Return the cost in USD and its source, as :func:`aamc_sdk.serving.price`; the price of a request is due for each image."""
    cost_usd, source = price(candidate, usage)
    return cost_usd + (requests - 1) * candidate.prices.request if candidate.prices and requests > 1 else cost_usd, source
