"""An episode in plain JSON values."""

from __future__ import annotations

import math
from typing import Any

import attrs

from aamc_router_r1.episode import Episode, ModelCall


def document(episode: Episode) -> dict[str, Any]:
    """Return an episode's result and its calls as ``steps``; an unknown cost is None."""
    return {
        "episode": episode.id,
        "outcome": episode.outcome,
        "reason": episode.reason,
        "answered_by": episode.answered_by,
        "rounds": episode.dialogue.rounds,
        "malformed": [error.kind for error in episode.dialogue.format_errors],
        "cost_known": episode.budget.cost_known,
        "tokens": episode.budget.tokens,
        "seconds": round(episode.seconds, 6),
        "steps": [step(call) for call in episode.calls],
    }


def step(call: ModelCall) -> dict[str, Any]:
    """Return a call as a step."""
    return {
        **attrs.asdict(call, filter=lambda attribute, _: attribute.name != "public_error"),
        "tokens": call.tokens,
        "cost_usd": None if math.isnan(call.cost_usd) else call.cost_usd,
        "seconds": round(call.seconds, 6),
        "faults": list(call.faults),
    }
