"""The prompt of the policy: the rules of the protocol, the pool's models, and the question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from aamc_sdk.types import ModelSpec, Pool, Preference, Prices, Turn

TAGS, TOOLS = "tags", "tools"
CODECS = (TAGS, TOOLS)

_TAG_RULES = """\
Reason inside <think> ... </think> first, and again each time you receive new information: which knowledge is missing, which model fits best.
To consult a model, write <search> Model-Name: sub-question </search>. Its reply comes inside <information> ... </information>.
- In place of Model-Name, write exactly one of these names: {names}.
- In place of sub-question, write a concrete question that helps to answer the question below, never a placeholder or a model's description.
Write nothing outside the tags, and never write <information> yourself.
You may consult models in at most {rounds} rounds{calls}; different models may be asked the same question.
When you need no further information, write the final answer alone in <answer> ... </answer>. For example: <answer> Beijing </answer>."""
_TOOL_RULES = """\
Reason first, and again each time you receive new information: which knowledge is missing, which model fits best.
To consult a model, call the tool search with the model's name and a concrete sub-question that helps to answer the question below.
The models are: {names}.
You may consult models in at most {rounds} rounds{calls}; different models may be asked the same question.
When you need no further information, call the tool answer with the final answer alone. For example: Beijing."""


@attrs.frozen(kw_only=True)
class ModelCard:
    """The description of a model in the policy's prompt.

    Attributes:
        name: The name by which it is consulted.
        description: Its abilities in words.
        abilities: Names of abilities.
        prices: Its prices; None if unknown.
        latency_ms: Its usual latency; None if unknown.
        quality: Its measured quality in [0, 1], by category; ``""`` for all queries.
    """

    name: str
    description: str = ""
    abilities: Sequence[str] = ()
    prices: Prices | None = None
    latency_ms: float | None = None
    quality: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def text(self) -> str:
        """The card as lines of the prompt."""
        lines = [f"{self.name}: {self.description or 'no description'}"]
        if self.abilities:
            lines.append(f"  abilities: {', '.join(sorted(self.abilities))}")
        if self.prices is not None:
            lines.append(f"  price: {self.prices.input:g} USD per million prompt tokens, {self.prices.output:g} USD per million answer tokens")
        if self.latency_ms is not None:
            lines.append(f"  latency: {self.latency_ms / 1000:g} s")
        if known := {name: quality for name, quality in self.quality.items() if not math.isnan(quality)}:
            figures = ", ".join(f"{name or 'overall'} {quality:.2f}" for name, quality in known.items())
            lines.append(f"  measured quality: {figures}")
        return "\n".join(lines)


def cards_of(pool: Pool, quality: Mapping[str, Mapping[str, float]] | None = None, *, leave_out: Sequence[str] = ()) -> list[ModelCard]:
    """Return the cards of a pool's candidates.

    Args:
        pool: The candidates.
        quality: Measured quality by candidate and category.
        leave_out: Names of candidates that are not consulted, such as the policy.
    """
    cards = []
    for candidate in pool:
        if candidate.name not in leave_out:
            spec = candidate if isinstance(candidate, ModelSpec) else ModelSpec(candidate.name)
            cards.append(
                ModelCard(
                    name=candidate.name,
                    description=" ".join(candidate.description.split()),
                    abilities=tuple(candidate.abilities),
                    prices=spec.prices,
                    latency_ms=None if spec.latency is None else spec.latency.total_ms,
                    quality=(quality or {}).get(candidate.name, {}),
                )
            )
    return cards


def render_prompt(
    question: str,
    cards: Sequence[ModelCard],
    *,
    codec: str = TAGS,
    rounds: int,
    calls: int = 1,
    preference: Preference | None = None,
    context: str = "",
    history: Sequence[Turn] = (),
) -> str:
    """Return the prompt of an episode.

    Args:
        question: The question to answer.
        cards: The models that may be consulted.
        codec: ``"tags"`` or ``"tools"``.
        rounds: Maximum number of routing rounds.
        calls: Maximum number of models that one turn consults.
        preference: Weights of quality, cost and latency; None to leave them out.
        context: What is known of the user; ``""`` to leave it out.
        history: Earlier turns of the conversation.
    """
    rules = (_TAG_RULES if codec == TAGS else _TOOL_RULES).format(
        names=", ".join(card.name for card in cards), rounds=rounds, calls="" if calls == 1 else f", up to {calls} models in each"
    )
    parts = ["Answer the given question.", rules, "The models:\n" + "\n".join(card.text for card in cards)]
    if preference is not None:
        weights = f"quality {preference.quality:g}, low cost {preference.cost:g}, low latency {preference.latency:g}"
        parts.append(f"The user's preference: {weights}. Consult expensive or slow models only where these weights justify it.")
    if context:
        parts.append(f"The user's context: {context}")
    if history:
        parts.append("The conversation so far:\n" + "\n".join(f"{turn.role}: {turn.content}" for turn in history))
    return "\n\n".join([*parts, f"Question: {question}"]) + "\n"
