"""Reads the answer of a model: a text with its tokens and cost, or an error with the cost."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

import attrs

from aamc_agents.tool import AgentError
from aamc_sdk import ModelSpec, Prices
from aamc_sdk.interfaces import Completion
from aamc_sdk.types import CHARACTERS_PER_TOKEN

MAX_TOKENS = 10**8
"""A higher count in one call is taken for a server error."""


@attrs.frozen
class Reply:
    """A model's answer.

    Attributes:
        text: The answer.
        model: The model's name.
        tokens: Tokens of prompt and answer together.
        cost: Cost of the tokens in USD at the model's prices.
        counted: Whether the server counted the tokens; otherwise they are estimated from the texts' lengths.
    """

    text: str
    model: str
    tokens: int
    cost: float
    counted: bool = True

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of an agent's output."""
        return {"model": self.model, "tokens": self.tokens, "tokens_counted": self.counted}


def read_reply(body: str, spec: ModelSpec, sent: int) -> Reply:
    """Return the reply in a server's answer.

    Args:
        body: The answer, a chat completion as JSON.
        spec: The model with its prices.
        sent: Number of characters in the prompt.

    Raises:
        AgentError: The answer has no text. The error has the cost of its tokens.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise AgentError(f"did not answer with a JSON object but with {body!r:.80}; check the end of base_url, usually /v1")
    text = _text(answer)
    given, made, counted = _tokens(answer.get("usage"), sent, len(text or ""))
    cost = _cost(spec, given, made)
    if not text:
        what = "said nothing" if text == "" else f"sent no text but {body!r:.80}"
        raise AgentError(f"{what}; check that it is a chat model, and max_output_tokens", cost)
    return Reply(text, spec.name, given + made, cost, counted)


def read_completion(completion: Completion, spec: ModelSpec, sent: int) -> Reply:
    """Return the reply in a provider's completion; unknown tokens are estimated and priced as in :func:`read_reply`.

    Raises:
        AgentError: The completion has no text. The error has the cost of its tokens.
    """
    usage = {"prompt_tokens": completion.usage.prompt_tokens, "completion_tokens": completion.usage.output_tokens}
    text = completion.text.strip()
    given, made, counted = _tokens(usage, sent, len(text))
    cost = _cost(spec, given, made) if math.isnan(completion.cost_usd) else completion.cost_usd
    if not text:
        raise AgentError("said nothing; check that it is a chat model, and max_output_tokens", cost)
    return Reply(text, spec.name, given + made, cost, counted)


def _cost(spec: ModelSpec, given: int, made: int) -> float:
    prices = spec.prices or Prices(0.0, 0.0)
    return (given * prices.input + made * prices.output) / 1e6


def _text(answer: dict[str, Any]) -> str | None:
    """Return the first choice's text, empty if there is no choice; None if the content is not text."""
    choices = answer.get("choices")
    try:
        content = choices[0]["message"].get("content") if choices else None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if content is None:
        return ""
    return content.strip() if isinstance(content, str) else None


def _tokens(usage: object, sent: int, said: int) -> tuple[int, int, bool]:
    """Return the tokens of prompt and answer, and whether the server counted them; otherwise they are estimated from characters."""
    if isinstance(usage, dict):
        given, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if _is_count(given) and _is_count(made):
            return given, made, True
    return sent // CHARACTERS_PER_TOKEN, said // CHARACTERS_PER_TOKEN, False


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_TOKENS
