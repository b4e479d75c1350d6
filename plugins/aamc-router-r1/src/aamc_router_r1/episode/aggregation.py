"""The answer of an episode whose policy gave none, from the replies of the models that it consulted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from aamc_router_r1.episode.calls import ModelCall
from aamc_router_r1.reward import normalize_answer

POLICY, VOTE, BEST = "policy", "vote", "best"
AGGREGATIONS = (POLICY, VOTE, BEST)
"""The policy's answer only; else a vote of the replies; else the reply of the best model."""


def aggregated(how: str, calls: Sequence[ModelCall], quality: Mapping[str, float]) -> str | None:
    """Return an answer from the models' replies; None without a reply.

    ``vote`` takes the reply that the most calls gave, compared after normalisation; of equally many, the one whose models have the highest
    expected quality, then the latest. ``best`` takes the latest reply of the model with the highest expected quality. A model of unknown
    quality counts as 0, so with none known ``best`` is the latest reply.

    Args:
        how: ``"vote"`` or ``"best"``; ``"policy"`` for no answer.
        calls: The calls of the consulted models, in order.
        quality: Expected quality by candidate.
    """
    replies = [call for call in calls if call.status == "ok" and call.text.strip()]
    if how == POLICY or not replies:
        return None
    votes = Counter(normalize_answer(call.text) for call in replies)
    best: dict[str, float] = {}
    for call in replies:
        key = normalize_answer(call.text)
        best[key] = max(best.get(key, 0.0), quality.get(call.candidate, 0.0))

    def rank(item: tuple[int, ModelCall]) -> tuple[float, float, int]:
        position, call = item
        key = normalize_answer(call.text)
        return (votes[key], best[key], position) if how == VOTE else (quality.get(call.candidate, 0.0), 0.0, position)

    return max(enumerate(replies), key=rank)[1].text.strip()
