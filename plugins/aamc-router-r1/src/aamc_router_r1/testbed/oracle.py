"""The best possible policy of a world, by dynamic programming, with the truth about its models known."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aamc_router_r1.data.tasks import RoutingTask
from aamc_router_r1.protocol import SubQuestion
from aamc_router_r1.reward import CostNormalizer, exact_match
from aamc_router_r1.testbed.world import DOMAINS, OTHER_DOMAIN, REASONING_TOKENS, Truth, WorldReplies
from aamc_router_r1.training.replies import priced, spec_of


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

    Args:
        task: A world's task.
        alpha: Weight of the cost.
        normalizer: The scale of costs, frozen.
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
