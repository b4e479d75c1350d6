"""The prompt of the policy: the rules of the protocol, the pool's models, and the question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from aamc_sdk.types import Candidate, Preference, Turn

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


def model_card(model: Candidate, quality: Mapping[str, float]) -> str:
    """Return the description of a model in the prompt, with its measured quality in [0, 1] by category, ``""`` for all queries."""
    lines = [f"{model.name}: {' '.join(model.description.split()) or 'no description'}"]
    if model.abilities:
        lines.append(f"  abilities: {', '.join(sorted(model.abilities))}")
    if model.prices is not None:
        lines.append(f"  price: {model.prices.input:g} USD per million prompt tokens, {model.prices.output:g} USD per million answer tokens")
    if model.latency is not None:
        lines.append(f"  latency: {model.latency.total_ms / 1000:g} s")
    if known := {name: measured for name, measured in quality.items() if not math.isnan(measured)}:
        figures = ", ".join(f"{name or 'overall'} {measured:.2f}" for name, measured in known.items())
        lines.append(f"  measured quality: {figures}")
    return "\n".join(lines)


def render_prompt(
    question: str,
    models: Iterable[Candidate],
    quality: Mapping[str, Mapping[str, float]],
    *,
    codec: str = TAGS,
    rounds: int,
    calls: int = 1,
    preference: Preference | None = None,
    context: str = "",
    history: Sequence[Turn] = (),
) -> str:
    """Return the prompt of an episode, with the models that may be consulted and their measured quality by name and category.

    In at most ``rounds`` rounds, each turn consults at most ``calls`` models. ``context`` is what is known of the user.
    """
    models = list(models)
    rules = (_TAG_RULES if codec == TAGS else _TOOL_RULES).format(
        names=", ".join(model.name for model in models), rounds=rounds, calls="" if calls == 1 else f", up to {calls} models in each"
    )
    parts = ["Answer the given question.", rules, "The models:\n" + "\n".join(model_card(model, quality.get(model.name, {})) for model in models)]
    if preference is not None:
        weights = f"quality {preference.quality:g}, low cost {preference.cost:g}, low latency {preference.latency:g}"
        parts.append(f"The user's preference: {weights}. Consult expensive or slow models only where these weights justify it.")
    if context:
        parts.append(f"The user's context: {context}")
    if history:
        parts.append("The conversation so far:\n" + "\n".join(f"{turn.role}: {turn.content}" for turn in history))
    return "\n\n".join([*parts, f"Question: {question}"]) + "\n"
