"""Measurements of a trained policy in a world: beside the best possible policy, with an unseen model, and with other statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.protocol import SubQuestion
from aamc_router_r1.reward import CostNormalizer, exact_match
from aamc_router_r1.training.replies import priced, spec_of
from aamc_router_r1.training.rollout import BatchPlayer, PlayedEpisode, figures, score
from aamc_router_r1.training.stages import STATE, load_model, play_all
from aamc_router_r1.world import (
    DOMAINS,
    GOOD,
    LEVELS,
    OTHER_DOMAIN,
    REASONING_TOKENS,
    ROUNDS,
    UNSEEN_NAMES,
    FactWorld,
    Truth,
    WorldReplies,
    draw_names,
)

from aamc_sdk.storage import read_json


@attrs.frozen
class OracleResult:
    """The oracle's share of right answers on tasks, and the mean cost of its calls in USD."""

    exact_match: float
    cost_usd: float


def best_plan(task: RoutingTask, alpha: float, normalizer: CostNormalizer) -> tuple[str, ...]:
    """Return the models to consult, one for each hop; none if to answer at once is best.

    The state is the hop, the probability that the facts so far are right, and the cost so far. Its value is
    max over models m of V(hop + 1, probability x quality(m), cost + price(m)), and after the last hop
    (1 - alpha) probability + alpha R_cost(cost).
    """
    truth = task.simulation
    assert isinstance(truth, Truth)

    def value(hop: int, probability: float, cost: float) -> tuple[float, tuple[str, ...]]:
        if hop == len(truth.hops):
            return (1 - alpha) * probability + alpha * normalizer(cost), ()
        domain = DOMAINS[truth.hops[hop]]
        found: tuple[float, tuple[str, ...]] = (-1.0, ())
        for name, quality in truth.quality.items():
            call_usd = priced(spec_of(task, name), f"{domain} of item{truth.entity}", "", REASONING_TOKENS).cost_usd
            reached, rest = value(hop + 1, probability * quality.get(domain, OTHER_DOMAIN), cost + call_usd)
            found = max(found, (reached, (name, *rest)))
        return found

    consulting, plan = value(0, 1.0, 0.0)
    return plan if consulting > alpha * normalizer(0.0) else ()


def oracle(tasks: Sequence[RoutingTask], alpha: float, normalizer: CostNormalizer) -> OracleResult:
    """Return the oracle's results, with the same replies that the policy would get."""
    was, normalizer.frozen = normalizer.frozen, True
    replies, right, cost = WorldReplies(), 0.0, 0.0
    for task in tasks:
        truth = task.simulation
        assert isinstance(truth, Truth)
        told = f"item{truth.entity}"
        plan = best_plan(task, alpha, normalizer)
        for hop, name in zip(truth.hops, plan, strict=False):
            (reply,) = replies([(task, SubQuestion(name, f"{DOMAINS[hop]} of {told}"))])
            told, cost = reply.text, cost + reply.cost_usd
        right += exact_match(told if plan else "unknown", task.golds)
    normalizer.frozen = was
    return OracleResult(right / len(tasks), cost / len(tasks))


class TrainedPolicy:
    """A checkpoint that plays a world's tasks greedily.

    Args:
        folder: The checkpoint.
        turn_tokens: Maximum tokens of a turn.
        scale: The checkpoint whose cost normalizer counts, so that policies can be compared; its own when None.
    """

    def __init__(self, folder: Path, turn_tokens: int = 24, scale: Path | None = None) -> None:
        self.model, tokenizer = load_model(str(folder), "cpu")
        self.normalizer = CostNormalizer.from_state(read_json((scale or folder) / STATE)["normalizer"])
        self.normalizer.frozen = True
        self.player = BatchPlayer(
            tokenizer=tokenizer,
            replies=WorldReplies(),
            config=RouterR1Config(rounds=ROUNDS, turn_tokens=turn_tokens, show_preference=True),
            temperature=0.0,
        )

    def play(self, tasks: Sequence[RoutingTask], alpha: float) -> list[PlayedEpisode]:
        """Return the policy's episodes."""
        episodes = [self.player.begin(task, alpha) for task in tasks]
        play_all(self.player, self.model, episodes, 128)
        return episodes


def beside_oracle(policy: TrainedPolicy, tasks: Sequence[RoutingTask], alpha: float) -> dict[str, Any]:
    """Return reward, exact match, cost in USD and malformed share of the policy, and the oracle's, on the same tasks.

    ``right`` and ``malformed_tasks`` hold 1 or 0 for each task.
    """
    episodes = policy.play(tasks, alpha)
    score(RouterR1Config(), policy.normalizer, episodes)
    found = {key: value for key, value in figures(episodes).items() if key not in ("episodes", "model_share")}
    best = oracle(tasks, alpha, policy.normalizer)
    return {
        "alpha": alpha,
        "questions": len(tasks),
        **found,
        "oracle_exact_match": best.exact_match,
        "oracle_cost_usd": best.cost_usd,
        "right": [int(exact_match(episode.dialogue.answer or "", episode.task.golds)) for episode in episodes],
        "malformed_tasks": [int(episode.malformed) for episode in episodes],
    }


def unseen_model_share(policy: TrainedPolicy, world: FactWorld, n: int, alpha: float, seed: int = 11) -> float:
    """Return the share of first calls that go to a new model, which has an unseen name and is better than the known specialist of its domain.

    The names of all other models are drawn anew, so only the description tells that it is better.
    """
    rng, changed = np.random.default_rng((world.seed, seed)), []
    for task in world.tasks(n, seed):
        truth = task.simulation
        assert isinstance(truth, Truth)
        domain = truth.hops[0]
        old, (new,) = truth.best[domain], draw_names(rng, 1, UNSEEN_NAMES, taken=list(truth.quality))
        known = {name: dict(levels) for name, levels in truth.quality.items()}
        for name, levels in known.items():
            if name != truth.generalist and DOMAINS[domain] in levels:
                levels[DOMAINS[domain]] = min(levels[DOMAINS[domain]], LEVELS[GOOD])
        rest = [name for name in known if name == old or DOMAINS[domain] not in known[name] or name == truth.generalist]
        quality = {**{name: known[name] for name in rest}, new: {DOMAINS[domain]: LEVELS[-1]}}
        order = [str(name) for name in rng.permutation(list(quality))]
        changed.append((new, world.described(attrs.evolve(truth, quality=quality, best={**truth.best, domain: new}), order, rng)))
    episodes = policy.play([task for _, task in changed], alpha)
    return float(np.mean([episode.consulted[:1] == [new] for (new, _), episode in zip(changed, episodes, strict=True)]))


def statistics_share(policy: TrainedPolicy, world: FactWorld, n: int, alpha: float, seed: int = 12) -> float:
    """Return the share of first choices between two rivals that follow the statistics, when only the statistics in the prompt are swapped."""
    rng = np.random.default_rng((world.seed, seed))
    before: list[RoutingTask] = []
    after: list[RoutingTask] = []
    better: list[tuple[str, str]] = []
    for task in world.tasks(20 * n, seed):
        truth = task.simulation
        assert isinstance(truth, Truth)
        word = DOMAINS[truth.hops[0]]
        rivals = [name for name, levels in truth.quality.items() if list(levels) == [word]]
        if len(rivals) == 2 and len(before) < n:
            first, second = rivals
            exchanged = {**truth.quality, first: truth.quality[second], second: truth.quality[first]}
            best = max(rivals, key=lambda name: exchanged[name][word])
            changed = attrs.evolve(truth, quality=exchanged, best={**truth.best, truth.hops[0]: best})
            before.append(task)
            after.append(world.described(changed, [spec.name for spec in task.specs], rng))
            better.append((truth.best[truth.hops[0]], best))
    played = zip(better, policy.play(before, alpha), policy.play(after, alpha), strict=True)
    return float(np.mean([(one.consulted[:1], two.consulted[:1]) == ([old], [new]) for (old, new), one, two in played]))
