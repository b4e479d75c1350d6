"""The promotion gate: whether a router beats constant policies, which send all queries to one candidate.

Random mixtures of two candidates reach every point between the two. So the best quality of a constant policy at a cost
c is the non-decreasing concave hull H(c) of single candidates (RouterBench's zero router), and a router is compared by

    quality gap = its mean quality - H(its mean cost),

where its cost includes that of deciding. If the headline preference weighs latency, the router's reward is compared too:

    reward gap = its mean reward - the maximum mean reward of a single candidate,

where its latency includes the time of deciding. A router passes if the 95% interval of each gap lies above zero. On every
resample the candidates on the hull and the best candidate are those of the data. The best ones of a resample would often be others, by chance, so
that the baseline would be too high twice: already the maximum on the data is.

Paper: Hu et al. 2024, "RouterBench: A Benchmark for Multi-LLM Routing System" (the zero router, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_experiments.evaluation.bootstrap import Figures, Resampling, combined_intervals, point_estimates
from aamc_experiments.evaluation.comparison import HEADLINE, Comparison, Integers
from aamc_experiments.evaluation.formulas.frontier import hull_positions, mixture_at_cost, quality_at_cost
from aamc_experiments.evaluation.metrics import ORACLE, SHARES, binary_shares
from aamc_sdk.interfaces import Reward, Router, Services
from aamc_sdk.storage import plain
from aamc_sdk.types import ROUNDING, Floats, Outcomes, RoutingRequest, Scores

MIN_UNITS = 30
"""The minimum number of different queries of a table, or streams of a simulation; the intervals of fewer are too narrow."""
TESTS = {
    "quality_gap": "compared with the best constant choice at its cost ({mixture}), its quality is {gap}",
    "reward_gap": "compared with the best single candidate, its reward is {gap}",
}
"""The description of each gap."""


class ConstantRouter(Router):
    """Always chooses one candidate, or the first allowed one if that candidate is not allowed."""

    uses_preference = False

    def __init__(self, candidate: str, services: Services) -> None:
        super().__init__(None, services)
        self.candidate = candidate

    def score(self, request: RoutingRequest) -> Scores:
        """Return utility 1 for the candidate and 0 for the others."""
        wanted = np.arange(len(request.pool)) == request.pool.index(self.candidate)
        return Scores(np.tile(wanted.astype(np.float64), (len(request), 1)))


def constant_routers(services: Services) -> dict[str, Router]:
    """Return a constant router for each candidate of the pool, by the candidate's name."""
    return {name: ConstantRouter(name, services) for name in services.pool.names}


@attrs.frozen(eq=False)
class ConstantOutcomes:
    """The outcomes of the M constant policies on Q queries, at the headline preference.

    Attributes:
        names: The names of the candidates.
        quality: ``[Q, M]``.
        cost_usd: ``[Q, M]``.
        reward: ``[Q, M]``.
    """

    names: Sequence[str]
    quality: Floats
    cost_usd: Floats
    reward: Floats

    @classmethod
    def of(cls, comparison: Comparison, reward: Reward) -> ConstantOutcomes:
        """Return the outcomes in the table of a comparison, or in streams those of :func:`constant_routers`, which played them."""
        if comparison.is_table:
            outcomes = comparison.constant_outcomes
        else:
            outcomes = Outcomes(*(values[:, HEADLINE].T for values in (comparison.quality, comparison.cost_usd, comparison.latency_ms)))
        preferences = np.broadcast_to(comparison.preferences[HEADLINE], (len(outcomes.cost_usd), 3))
        return cls(comparison.candidates.tolist(), outcomes.known_quality, outcomes.cost_usd, reward.scalar(outcomes, preferences))


@attrs.frozen(eq=False)
class Baselines:
    """The baselines that routers are compared with, on B resamples.

    Attributes:
        resampling: The data itself, then its resamples.
        quality: Each candidate's mean quality, ``[B, M]``.
        cost_usd: Each candidate's mean cost in USD, ``[B, M]``.
        on_hull: The positions of the candidates on the hull of the data.
        reward: The mean reward of the candidate that is best on the data, ``[B]``.
        oracle_reward: The oracle's mean reward, ``[B]``; NaN without an oracle.
    """

    resampling: Resampling
    quality: Floats
    cost_usd: Floats
    on_hull: Integers
    reward: Floats
    oracle_reward: Floats

    @classmethod
    def of(cls, constants: ConstantOutcomes, oracle: Floats | None, resampling: Resampling) -> Baselines:
        """Return the means of constant policies, and of the oracle's quality, cost and reward ``[Q, 3]``."""
        unknown = np.full(len(resampling.weights), np.nan)
        best = int(constants.reward.mean(axis=0).argmax())
        return cls(
            resampling,
            quality=resampling.means(constants.quality),
            cost_usd=resampling.means(constants.cost_usd),
            on_hull=np.unique(hull_positions(constants.cost_usd.mean(axis=0), constants.quality.mean(axis=0))),
            reward=resampling.means(constants.reward[:, [best]])[:, 0],
            oracle_reward=unknown if oracle is None else resampling.means(oracle)[:, 2],
        )

    def figures(self, realised: Floats) -> Figures:
        """Return the figures of a router with the quality, cost and reward ``[Q, 3]``."""
        quality, cost_usd, reward = self.resampling.means(realised).T
        constant = quality_at_cost(self.cost_usd[:, self.on_hull], self.quality[:, self.on_hull], cost_usd)
        gap, way = reward - self.reward, self.oracle_reward - self.reward
        return {
            "mean_quality": quality,
            "mean_cost_usd": cost_usd,
            "constant_quality": constant,
            "quality_gap": quality - constant,
            "reward_gap": gap,
            "oracle_share": np.divide(gap, way, out=np.full(len(gap), np.nan), where=way > ROUNDING),
        }


def promotion(
    comparison: Comparison, constants: ConstantOutcomes, reward: Reward, router: str, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return whether each router of a comparison passes the gate, and why.

    Args:
        comparison: The decisions of the routers.
        constants: The outcomes of constant policies on the same queries.
        reward: The reward that the routers were compared by.
        router: The name of the router that the gate decides on.
        resamples: The bootstrap resamples for each interval.
        seed: The seed of the resamples.

    Returns:
        ``router``, whether it ``passed``, ``why`` in a sentence, and under ``routers`` the result of each with its figures:
        ``quality_gap``, ``reward_gap``, ``oracle_share`` (the share of the way, in reward, from the best single candidate
        to the oracle; null without one), ``mixture`` (the shares of the best constant choice at the router's cost) and
        ``tests`` (the gaps whose intervals must lie above zero).
    """
    realised = {name: _headline(comparison, position, reward) for position, name in enumerate(comparison.routers.tolist())}
    over = [Baselines.of(constants, realised.get(ORACLE), resampling.with_data()) for resampling in comparison.resamplings(resamples, seed)]
    baselines = over[0]
    left = float(baselines.oracle_reward[0] - baselines.reward[0])
    tests = list(TESTS) if comparison.preferences[HEADLINE, 2] > 0 else ["quality_gap"]
    routers, binary = {}, binary_shares(comparison.is_graded())
    for name, answers in realised.items():
        found = [each.figures(answers) for each in over]
        ci95 = combined_intervals([each.resampling for each in over], found, binary, SHARES)
        figures = {**point_estimates(found[0]), "ci95": ci95}
        shares = mixture_at_cost(baselines.cost_usd[0], baselines.quality[0], figures["mean_cost_usd"])
        mixture = {candidate: share for candidate, share in zip(constants.names, shares, strict=True) if share > ROUNDING}
        known = {**figures, "mixture": mixture, "tests": tests}
        routers[name] = _result(name, known, units=min(each.resampling.units for each in over), left=left)
    gate = {"router": router, "passed": routers[router]["passed"], "why": routers[router]["why"], "routers": routers}
    document: dict[str, Any] = plain(gate)
    return document


def _result(name: str, figures: Mapping[str, Any], units: int, left: float) -> dict[str, Any]:
    """Return the result of one router, on a number of queries or streams; ``left`` is the oracle's reward gap, NaN if unknown."""
    clear = all(_is_clear(figures["ci95"][test]) for test in figures["tests"])
    too_few = f"it takes at least {MIN_UNITS} independent queries or streams to tell, and there are {units}"
    passed, why = (clear, _findings(figures, left)) if units >= MIN_UNITS else (False, too_few)
    return {"passed": passed, "why": f"{name} {'passes' if passed else 'does not pass'} the gate: {why}", **figures}


def _is_clear(bounds: Sequence[float] | None) -> bool:
    return bounds is not None and bounds[0] > ROUNDING


def _headline(comparison: Comparison, position: int, reward: Reward) -> Floats:
    """Return a router's quality, cost and reward at the headline preference, ``[Q, 3]``."""
    outcomes = comparison.realised(position).take([HEADLINE])
    return np.concatenate((outcomes.known_quality, outcomes.cost_usd, reward.scalar(outcomes, comparison.preferences[[HEADLINE]]))).T


def _findings(figures: Mapping[str, Any], left: float) -> str:
    """Return the gaps of a router in words."""
    mixture = " + ".join(f"{share:.0%} {candidate}" for candidate, share in figures["mixture"].items())
    return "; ".join((*(TESTS[test].format(mixture=mixture, gap=_gap(figures, test)) for test in figures["tests"]), _oracle_share(figures, left)))


def _gap(figures: Mapping[str, Any], test: str) -> str:
    bounds = figures["ci95"][test]
    if bounds is None:
        return "not known"
    figure, low, high = (f"{round(value, 4) + 0.0:+.4f}" for value in (figures[test], *bounds))  # without -0.0000
    return f"{figure} (95% {low} to {high}{'' if _is_clear(bounds) else ', not clearly above zero'})"


def _oracle_share(figures: Mapping[str, Any], left: float) -> str:
    """Return the oracle share of a router in words."""
    share, bounds = figures["oracle_share"], figures["ci95"]["oracle_share"]
    if left <= ROUNDING:
        return "the oracle's reward is no better than the best single candidate's, so nothing is left to gain"
    if np.isnan(share):
        return "how far that is from the oracle is not known"
    within = "" if bounds is None else f" ({_percent(bounds[0])} to {_percent(bounds[1])})"
    return f"it closes {_percent(share)}{within} of the gap in reward between the best single candidate and the oracle"


def _percent(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # without -0%
