"""The promotion gate: whether a router is worth having, or one candidate for all queries would do as well.

Whoever sends a share of the queries to one candidate and the rest to another, by chance, reaches every point between
the two. So the best that a constant policy does at a cost c is the non-decreasing concave hull H(c) of single
candidates (RouterBench's zero router), and a router's worth is

    quality gap = its mean quality - H(its mean cost),

where its cost includes that of deciding. Where the headline's preference weighs latency, cost is not all that a
candidate is chosen for, and the router's reward must be better too:

    reward gap = its mean reward - the greatest mean reward of a single candidate,

where its latency includes what deciding took. A router passes where the 95% interval of each gap lies above zero. The
hull and the best candidate are found anew on every resample, so that choosing them is part of what is uncertain.

Paper: Hu et al. 2024, "RouterBench: A Benchmark for Multi-LLM Routing System" (the zero router, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_experiments.evaluation.bootstrap import Figures, Resampling, intervals, point_estimates
from aamc_experiments.evaluation.decisions.comparison import Comparison
from aamc_experiments.evaluation.constant_policies import Constants
from aamc_experiments.evaluation.frontier import mixture_at_cost, quality_at_cost
from aamc_experiments.evaluation.metrics import YARDSTICK
from aamc_experiments.evaluation.decisions.preferences import HEADLINE
from aamc_sdk.interfaces import Reward
from aamc_sdk.storage import plain
from aamc_sdk.types import ROUNDING, Floats

LEAST_UNITS = 30
"""The fewest queries of a table, or streams of a simulation, for a verdict: the intervals of fewer are too narrow."""
TESTS = {
    "quality_gap": "beside the best constant choice at its cost ({mixture}) its quality is {gap}",
    "reward_gap": "beside the best single candidate its reward is {gap}",
}
"""Each gap that may have to lie above zero, in words."""


@attrs.frozen(eq=False)
class Rivals:
    """What routers are compared with, on B resamples.

    Attributes:
        resampling: The resamples.
        quality: Each candidate's mean, ``[B, M]``.
        cost_usd: Likewise.
        reward: The greatest mean reward of a single candidate, ``[B]``.
        oracle_reward: The oracle's, ``[B]``; NaN where it was not compared.
    """

    resampling: Resampling
    quality: Floats
    cost_usd: Floats
    reward: Floats
    oracle_reward: Floats

    @classmethod
    def of(cls, constants: Constants, oracle: Floats | None, resampling: Resampling) -> Rivals:
        """Take the means of constant choices and of what the oracle realised, ``[Q, 3]``."""
        unknown = np.full(len(resampling.weights), np.nan)
        return cls(
            resampling,
            quality=resampling.means(constants.quality),
            cost_usd=resampling.means(constants.cost_usd),
            reward=resampling.means(constants.reward).max(axis=1),
            oracle_reward=unknown if oracle is None else resampling.means(oracle)[:, 2],
        )

    def figures(self, realised: Floats) -> Figures:
        """Return how a router compares whose quality, cost and reward were ``[Q, 3]``."""
        quality, cost_usd, reward = self.resampling.means(realised).T
        constant = quality_at_cost(self.cost_usd, self.quality, cost_usd)
        gap, way = reward - self.reward, self.oracle_reward - self.reward
        return {
            "mean_quality": quality,
            "mean_cost_usd": cost_usd,
            "constant_quality": constant,
            "quality_gap": quality - constant,
            "reward_gap": gap,
            "oracle_share": np.divide(gap, way, out=np.full(len(gap), np.nan), where=way > ROUNDING),
        }


def promotion(comparison: Comparison, constants: Constants, reward: Reward, router: str, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return whether each router of a comparison passes the gate, and why.

    Args:
        comparison: What the routers did.
        constants: What comes of always choosing one candidate for the same queries.
        reward: The reward they were compared by.
        router: The one that is in question.
        resamples: Bootstrap resamples behind each interval.
        seed: The resamples follow from it.

    Returns:
        ``router``, whether it ``passed``, ``why`` in a sentence, and under ``routers`` each one's verdict with its figures:
        ``quality_gap``, ``reward_gap``, ``oracle_share`` (the share of the way, in reward, from the best single candidate
        to the oracle; null without one), ``mixture`` (the shares of the best constant choice at the router's cost) and
        ``tests`` (the gaps whose intervals must lie above zero).
    """
    realised = {name: _headline(comparison, position, reward) for position, name in enumerate(comparison.routers.tolist())}
    samples = Resampling.once(comparison.stream), Resampling.bootstrap(comparison.stream, resamples, seed)
    data, spread = (Rivals.of(constants, realised.get(YARDSTICK), resampling) for resampling in samples)
    tests = list(TESTS) if comparison.preferences[HEADLINE, 2] > 0 else ["quality_gap"]
    routers = {}
    for name, answers in realised.items():
        figures = {**point_estimates(data.figures(answers)), "ci95": intervals(spread.figures(answers))}
        shares = mixture_at_cost(data.cost_usd[0], data.quality[0], figures["mean_cost_usd"])
        mixture = {candidate: share for candidate, share in zip(constants.names, shares, strict=True) if share > ROUNDING}
        known = {**figures, "mixture": mixture, "tests": tests}
        routers[name] = _verdict(name, known, units=data.resampling.weights.shape[1], left=float(data.oracle_reward[0] - data.reward[0]))
    verdict = {"router": router, "passed": routers[router]["passed"], "why": routers[router]["why"], "routers": routers}
    document: dict[str, Any] = plain(verdict)
    return document


def _verdict(name: str, figures: Mapping[str, Any], units: int, left: float) -> dict[str, Any]:
    """Return a router's verdict on so many units, where the oracle's reward is that far above the best single candidate's, NaN if unknown."""
    clear = all(_is_clear(figures["ci95"][test]) for test in figures["tests"])
    passed, why = (clear, _findings(figures, left)) if units >= LEAST_UNITS else (False, _too_few(units))
    return {"passed": passed, "why": f"{name} {'passes' if passed else 'does not pass'} the gate: {why}", **figures}


def _is_clear(bounds: Sequence[float] | None) -> bool:
    return bounds is not None and bounds[0] > ROUNDING


def _too_few(units: int) -> str:
    return f"it takes at least {LEAST_UNITS} independent queries or streams to tell, and there are {units}"


def _headline(comparison: Comparison, position: int, reward: Reward) -> Floats:
    """Return a router's quality, cost and reward at the headline's preference, ``[Q, 3]``."""
    outcomes = comparison.realised(position).take([HEADLINE])
    return np.concatenate((outcomes.known_quality, outcomes.cost_usd, reward.scalar(outcomes, comparison.preferences[[HEADLINE]]))).T


def _findings(figures: Mapping[str, Any], left: float) -> str:
    """Return in words how a router compares."""
    mixture = " + ".join(f"{share:.0%} {candidate}" for candidate, share in figures["mixture"].items())
    return "; ".join((*(TESTS[test].format(mixture=mixture, gap=_gap(figures, test)) for test in figures["tests"]), _way(figures, left)))


def _gap(figures: Mapping[str, Any], test: str) -> str:
    bounds = figures["ci95"][test]
    if bounds is None:
        return "not known"
    figure, low, high = (f"{round(value, 4) + 0.0:+.4f}" for value in (figures[test], *bounds))  # without -0.0000
    return f"{figure} (95% {low} to {high}{'' if _is_clear(bounds) else ', not clearly above zero'})"


def _way(figures: Mapping[str, Any], left: float) -> str:
    """Return in words how far a router goes from the best single candidate to the oracle."""
    share, bounds = figures["oracle_share"], figures["ci95"]["oracle_share"]
    if left <= ROUNDING:
        return "the oracle's reward is no better than the best single candidate's, so nothing is left to gain"
    if np.isnan(share):
        return "how far that is from the oracle is not known"
    within = "" if bounds is None else f" ({_percent(bounds[0])} to {_percent(bounds[1])})"
    return f"of the way in reward from the best single candidate to the oracle it goes {_percent(share)}{within}"


def _percent(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # without -0%
