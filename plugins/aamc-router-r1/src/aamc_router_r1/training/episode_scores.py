"""Rewards and figures of training episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.reward import CostNormalizer, exact_match
from aamc_router_r1.training.rollout import PlayedEpisode


def score(config: RouterR1Config, normalizer: CostNormalizer, episodes: Sequence[PlayedEpisode]) -> None:
    """Reward episodes in order; each enters the normalizer before it is scaled, unless that is frozen."""
    for episode in episodes:
        rule = attrs.evolve(config.rule, alpha=episode.alpha, normalizer=normalizer)
        episode.reward = rule.score(
            episode.dialogue.answer,
            episode.task.golds,
            episode.cost_usd,
            malformed=episode.malformed,
            size_tokens=episode.size_tokens,
        )


def figures(episodes: Sequence[PlayedEpisode]) -> dict[str, Any]:
    """Return mean figures of scored episodes: reward, exact match, cost in USD, consultations, malformed share, and each model's share."""
    consulted = Counter(name for episode in episodes for name in episode.consulted)
    total = max(1, consulted.total())
    return {
        "episodes": len(episodes),
        "reward": float(np.mean([episode.reward.total for episode in episodes if episode.reward is not None])),
        "exact_match": float(np.mean([exact_match(episode.dialogue.answer or "", episode.task.golds) for episode in episodes])),
        "cost_usd": float(np.mean([episode.cost_usd for episode in episodes])),
        "consultations": float(np.mean([len(episode.consulted) for episode in episodes])),
        "malformed": float(np.mean([episode.malformed for episode in episodes])),
        "model_share": {name: count / total for name, count in consulted.most_common(8)},
    }
