"""The plan of a collection: the requests with their parameters, keys and maximum costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from aamc_models.collect.judges import Judge
from aamc_models.collect.ledger import ANSWER, key_of
from aamc_models.dialects.messages.thinking import thinking_budget
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT, output_limit, without_replaced_limits
from aamc_sdk.types import ModelSpec, Pool

_ENVELOPE_TOKENS = 64
"""More tokens than a server adds around a message."""


@attrs.frozen(kw_only=True)
class Collection:
    """The plan of a collection.

    Attributes:
        pool: The candidates that answer.
        judge: Scores the answers.
        judge_model: The candidate that the judge asks; None if it asks none.
        options: Parameters of every request for an answer.
        max_tokens: Maximum tokens of an answer and of a verdict, without those of Anthropic's thinking, for requests without such a parameter.
        concurrency: Maximum number of calls in flight.
        budget_usd: Maximum cost of everything in the ledger; infinity for no limit.
        count_failures: Whether a failed call is an outcome of quality 0; else it is unknown.
    """

    pool: Pool
    judge: Judge
    judge_model: ModelSpec | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    max_tokens: int = 4096
    concurrency: int = 4
    budget_usd: float = float("inf")
    count_failures: bool = False

    @property
    def candidates(self) -> tuple[ModelSpec, ...]:
        """The candidates that answer."""
        return tuple(candidate for candidate in self.pool if isinstance(candidate, ModelSpec))

    def parameters(self, kind: str, candidate: ModelSpec) -> dict[str, Any]:
        """Return the parameters of a request, with a maximum of tokens unless they have one; null is none."""
        options = self.options if kind == ANSWER else {}
        given = {**without_replaced_limits(candidate.parameters, options), **options}
        parameters = {name: value for name, value in given.items() if value is not None or name not in ANY_OUTPUT_LIMIT}
        return parameters if output_limit(parameters) else {**parameters, "max_tokens": self.max_tokens + thinking_budget(parameters)}

    def key(self, kind: str, candidate: ModelSpec, text: str) -> str:
        """Return the ledger's key of a request: everything that determines the answer, so neither address nor account."""
        endpoint = candidate.endpoint
        assert endpoint is not None  # of a candidate that is asked
        model = endpoint.options.get("model") or candidate.name
        return key_of(kind, candidate.name, endpoint.provider, model, self.parameters(kind, candidate), text)

    def output_limit(self, kind: str, candidate: ModelSpec) -> int:
        """Return the maximum tokens of a request's answer."""
        return output_limit(self.parameters(kind, candidate)) or self.max_tokens

    def maximum_usd(self, kind: str, candidate: ModelSpec, text: str, further_bytes: int = 0) -> float:
        """Return the maximum cost of a request with a text, which may become longer by further bytes; 0 if prices are unknown."""
        if candidate.prices is None:
            return 0.0
        parameters = self.parameters(kind, candidate)
        added = (value for value in parameters.values() if isinstance(value, str | list | dict))  # to the prompt, such as tools or a system prompt
        size = len(text.encode()) + sum(len(json.dumps(value, default=str)) for value in added) + further_bytes
        tokens, output = size + _ENVELOPE_TOKENS, self.output_limit(kind, candidate)  # a token has at least one byte
        return max(candidate.prices.cost_usd(tokens, output), candidate.prices.cost_usd(tokens, output, written_tokens=tokens))


def check_parameters(candidate: str, parameters: Mapping[str, Any]) -> None:
    """Check that the maximum cost of a candidate's requests can be known."""
    n = parameters.get("n")
    if n not in (None, 1):
        raise ConfigError(f"{candidate} would be paid for n={n} answers a prompt, of which only the first is judged; leave out the parameter n")
    for name in ANY_OUTPUT_LIMIT:
        limit = parameters.get(name)
        if limit is not None and not (type(limit) is int and limit >= 1):
            raise ConfigError(f"the parameter {name} of {candidate} must be a whole number of at least 1, not {limit!r:.80}")
