"""Candidates: models and agents that may be chosen, with prices (USD per million tokens), latencies (milliseconds) and endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.messages import check_type, whole_number_hint
from aamc_sdk.types.checks import MAX_FIGURE, as_int, check_name, is_figure, names_field


def _check_price(prices: Prices, attribute: attrs.Attribute[Any], value: float | None) -> None:
    optional = value is None and attribute.default is None
    if not optional and not is_figure(value):
        raise PoolError(f"price {attribute.name} must be USD from 0 to {MAX_FIGURE:g}, not {value!r}")


@attrs.frozen
class Prices:
    """Prices in USD.

    Attributes:
        input: Per million tokens of the prompt.
        output: Per million tokens of the answer.
        cached_input: Per million tokens of the prompt that are read from a cache; None for ``input``.
        cache_write: Per million tokens of the prompt that are written to a cache; None for ``input``.
        request: Per request.
        cache_write_1h: Per million tokens of the prompt that are written to a cache for an hour or longer; None for twice ``input``.
    """

    input: float = attrs.field(validator=_check_price)
    output: float = attrs.field(validator=_check_price)
    cached_input: float | None = attrs.field(default=None, validator=_check_price)
    cache_write: float | None = attrs.field(default=None, validator=_check_price)
    request: float = attrs.field(default=0.0, validator=_check_price)
    cache_write_1h: float | None = attrs.field(default=None, validator=_check_price, kw_only=True)

    def cost_usd(
        self, prompt_tokens: int, output_tokens: float, cached_tokens: int = 0, written_tokens: int = 0, written_1h_tokens: int = 0
    ) -> float:
        """Return the cost of a request; tokens that are read from or written to a cache, some of these for an hour, are part of the prompt."""
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        written_1h = 2 * self.input if self.cache_write_1h is None else self.cache_write_1h
        written_usd = (written_tokens - written_1h_tokens) * written + written_1h_tokens * written_1h
        prompt_usd = (prompt_tokens - cached_tokens - written_tokens) * self.input + cached_tokens * cached + written_usd
        return (prompt_usd + output_tokens * self.output) / 1e6 + self.request


def _check_latency(latency: Latency, attribute: attrs.Attribute[Any], value: float) -> None:
    if not is_figure(value):
        raise PoolError(f"{attribute.name} must be milliseconds from 0 to {MAX_FIGURE:g}, not {value!r}")


@attrs.frozen
class Latency:
    """The latency of an unloaded candidate in milliseconds: network round trip and mean service time, which grows with the answer's length."""

    network_ms: float = attrs.field(default=0.0, validator=_check_latency)
    service_ms: float = attrs.field(default=0.0, validator=_check_latency)

    @property
    def total_ms(self) -> float:
        """Mean latency without waiting."""
        return self.network_ms + self.service_ms


def _check_candidate(candidate: Candidate, attribute: attrs.Attribute[Any], value: object) -> None:
    try:
        check_name(value, "a candidate's name")
    except DataError as error:
        raise PoolError(str(error)) from error


@attrs.frozen
class Candidate:
    """A model or an agent that may be chosen, with a name, a description in words, and abilities.

    What only a :class:`ModelSpec` has, such as prices, is unknown or empty here, so that code need not ask which of the two it has.
    """

    name: str = attrs.field(validator=_check_candidate)
    description: str = ""
    abilities: frozenset[str] = attrs.field(default=frozenset(), converter=names_field)

    @property
    def prices(self) -> Prices | None:
        """None: unknown."""
        return None

    @property
    def latency(self) -> Latency | None:
        """None: unknown."""
        return None

    @property
    def context_window(self) -> int | None:
        """None: no limit."""
        return None

    @property
    def endpoint(self) -> Endpoint | None:
        """None: it cannot be called."""
        return None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Empty: a model's parameters."""
        return {}


def _check_figures(spec: ModelSpec, attribute: attrs.Attribute[Any], value: object) -> None:
    kind = Prices if attribute.name == "prices" else Latency
    check_type(value, kind | None, f"the {attribute.name} of {spec.name!r} must be aamc_sdk.{kind.__name__}", PoolError)


def _check_window(spec: ModelSpec, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise PoolError(f"the context window of {spec.name!r} must be a whole number of at least 1 token, not {value!r:.80}")


def _copied(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy, since the caller may change the mapping for the next candidate."""
    return dict(values) if isinstance(values, Mapping) else values


@attrs.frozen
class Endpoint:
    """The endpoint of a candidate.

    Attributes:
        provider: The name of the provider, such as ``"openai"``.
        options: The provider's options, such as ``base_url``.
        concurrency: Maximum number of parallel requests; None for an endpoint without a queue, such as a hosted API.
    """

    provider: str
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=_copied, hash=False)
    concurrency: int | None = None

    @classmethod
    def of(cls, value: Endpoint | str | Mapping[str, Any]) -> Endpoint:
        """Read an endpoint: a base URL of an OpenAI-compatible server, or keys with a ``provider``.

        Raises:
            PoolError: The value has neither form.
        """
        if isinstance(value, Endpoint):
            return value
        if isinstance(value, str) and value:
            return cls("openai", {"base_url": value})
        if isinstance(value, Mapping) and isinstance(value.get("provider"), str):
            concurrency = as_int(value.get("concurrency"))
            if concurrency is not None and (not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1):
                raise PoolError(
                    f"an endpoint's concurrency must be a whole number of at least 1, not {concurrency!r}{whole_number_hint(concurrency)}"
                )
            options = {key: option for key, option in value.items() if key not in ("provider", "concurrency")}
            return cls(value["provider"], options, concurrency)
        raise PoolError(f"an endpoint must be a base URL, or keys with a 'provider', not {value!r:.80}")

    def to_dict(self) -> dict[str, Any]:
        """Return the keys that :meth:`of` reads."""
        limit = {} if self.concurrency is None else {"concurrency": self.concurrency}
        return {"provider": self.provider, **limit, **self.options}


def _endpoint(value: Endpoint | str | Mapping[str, Any] | None) -> Endpoint | None:
    return None if value is None else Endpoint.of(value)


@attrs.frozen
class ModelSpec(Candidate):
    """A model that may be chosen.

    Attributes:
        prices: Prices in USD; None if unknown (the cost is then NaN).
        latency: Unloaded latency; None if unknown.
        context_window: Maximum tokens of prompt and answer together; None for no limit.
        endpoint: The endpoint, which may be given in any form that :meth:`Endpoint.of` reads; None if the model cannot be called.
        parameters: Parameters of every request to the model, such as ``reasoning_effort``.
    """

    prices: Prices | None = attrs.field(default=None, validator=_check_figures)
    latency: Latency | None = attrs.field(default=None, validator=_check_figures)
    context_window: int | None = attrs.field(default=None, converter=as_int, validator=_check_window)
    endpoint: Endpoint | None = attrs.field(default=None, converter=_endpoint)
    parameters: Mapping[str, Any] = attrs.field(factory=dict, converter=_copied, hash=False, kw_only=True)
