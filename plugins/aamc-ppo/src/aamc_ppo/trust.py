"""The choice of the trust factor.

A trained policy is the plug-in rule plus a learned correction. Where the plug-in rule is nearly right, the noise of training can outweigh
the little that there was to learn. So the correction is multiplied by a trust factor, of a few from 0 (the plug-in rule) to 1 (the policy as
trained): the largest one whose gain over the plug-in rule on validation rows has an interval above 0, or a smaller one whose gain over that one
is more than its standard error. All factors meet the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_ppo.initial_parameters import plug_in_bias
from aamc_ppo.ppo import Parameters, embed_candidates, utility
from aamc_ppo.rollout import PolicyInputs, known_rewards
from aamc_sdk.interfaces import Reward, RoutingStreams
from aamc_sdk.routing import Array32
from aamc_sdk.types import Floats

TRUST_FACTORS = (0.0, 0.5, 0.75, 1.0)
VALIDATION_STREAMS = 256
"""Streams that a trust factor is measured on: two for each preference."""
MIN_ROWS = 20
"""Rows below which no gain is confirmed: the normal quantile is too small for so few."""
NORMAL_QUANTILE = 1.96
"""Standard errors on each side of a mean in its 95% interval."""


@attrs.frozen(kw_only=True)
class Trust:
    """The choice of the trust factor.

    Attributes:
        factor: The chosen factor: 0 is the plug-in rule, 1 the policy as trained.
        gain: Mean reward of the chosen factor minus that of the plug-in rule.
        ci95: The 95% interval of the gain; (0, 0) for factor 0.
        reward: The mean reward of each factor, by its text.
        doubt: The reason for factor 0; empty for others.
    """

    factor: float
    gain: float
    ci95: tuple[float, float]
    reward: dict[str, float]
    doubt: str = ""

    def __str__(self) -> str:
        if self.factor == 0:
            return f"ppo learned nothing beyond the plug-in rule, and decides by it (trust factor 0): {self.doubt}"
        low, high = self.ci95
        gain = f"{self.gain:.4f} (95% interval {low:.4f} to {high:.4f})"
        return f"ppo gains {gain} over the plug-in rule on validation streams, at trust factor {self.factor:g}"


@attrs.frozen(kw_only=True)
class StreamRewards:
    """The rewards of decisions in streams, or differences of rewards of the same decisions.

    Attributes:
        by_stream: Their mean in each stream, ``[n]``.
        by_row: Their sum over the decisions of each row of the data, ``[R]``.
        decisions: The number of decisions of each row, ``[R]``.
    """

    by_stream: Floats
    by_row: Floats
    decisions: NDArray[np.intp]

    def __sub__(self, other: StreamRewards) -> StreamRewards:
        return attrs.evolve(self, by_stream=self.by_stream - other.by_stream, by_row=self.by_row - other.by_row)

    def mean(self) -> float:
        """Return the mean of all decisions."""
        return float(self.by_stream.mean())


def choose_trust(
    policy: Mapping[str, Array32],
    streams: Callable[[int], tuple[RoutingStreams, Array32]],
    candidates: Array32,
    reward: Reward,
    *,
    steps: int,
    rows: int,
    stationary: bool = False,
) -> Trust:
    """Return the trust factor by the rewards of validation streams, see :func:`compare_factors`.

    ``streams`` makes n streams with their first observations, the same ones each time, with the preferences of their first half repeated in
    the second. The first half of the steps warms up, as queues start empty. The candidates' features are ``[M, 39]``.
    The streams draw from a number of ``rows``.
    """
    rewards = {}
    for factor in TRUST_FACTORS:
        scaled, (played, observations) = scale_correction(policy, factor), streams(VALIDATION_STREAMS)
        rewards[factor] = greedy_rewards(scaled, played, observations, candidates, reward, steps // 2, steps, rows)
    return compare_factors(rewards, stationary=stationary)


def compare_factors(rewards: Mapping[float, StreamRewards], *, stationary: bool = False) -> Trust:
    """Return the largest factor whose gain over the plug-in rule is significant, or a smaller one whose gain is larger by a standard error.

    Neighbouring factors differ by less than an interval, and too large a correction costs control (docs/reference/ppo.md). Rewards are of the
    same decisions at each of ``TRUST_FACTORS``.

    The error of a gain over the rule is that over streams, whose queries share queues, or the larger one over rows, a sample of questions. Of two
    factors the better one on these questions is taken, so streams alone count. Where outcomes depend only on row and candidate (``stationary``),
    streams tell nothing, and rows alone count.
    """
    chosen, gain, error, doubts = 0.0, 0.0, 0.0, {}
    for factor in sorted(rewards, reverse=True):
        above_rule, more = rewards[factor] - rewards[0.0], rewards[factor] - rewards[chosen]
        over_rows, over_streams = error_of_rows(above_rule.by_row, above_rule.decisions), error_of_streams(above_rule.by_stream)
        its_error = over_rows if stationary else max(over_rows, over_streams)
        noise = error_of_rows(more.by_row, more.decisions) if stationary else error_of_streams(more.by_stream)
        if above_rule.mean() > NORMAL_QUANTILE * its_error and (chosen == 0 or more.mean() > noise):
            chosen, gain, error = factor, above_rule.mean(), its_error
        elif factor:
            doubts[above_rule.mean()] = _doubt(factor, above_rule.mean(), its_error)
    margin = NORMAL_QUANTILE * error
    means = {f"{factor:g}": own.mean() for factor, own in rewards.items()}
    doubt = "" if chosen else doubts[max(doubts)]
    return Trust(factor=chosen, gain=gain, ci95=(gain - margin, gain + margin), reward=means, doubt=doubt)


def _doubt(factor: float, gain: float, error: float) -> str:
    """Return the reason why a factor's gain is not confirmed."""
    if error == np.inf:
        return f"validation confirms a gain only with at least {MIN_ROWS} different questions"
    margin = NORMAL_QUANTILE * error
    return f"validation confirms no gain; it is {gain:.4f} (95% interval {gain - margin:.4f} to {gain + margin:.4f}) at trust factor {factor:g}"


def error_of_streams(gain: Floats) -> float:
    """Return the standard error of the mean of streams' gains, ``[n]``, whose preferences in the first and second half are the same.

    Preferences are spread evenly instead of drawn, so how gains differ between them is not an error. Two streams of one preference differ by chance
    alone: half their squared difference is an unbiased estimate of a stream's variance.
    """
    first, second = gain.reshape(2, -1)
    return float(np.sqrt(((first - second) ** 2).sum()) / len(gain))


def error_of_rows(gain: Floats, decisions: NDArray[np.intp]) -> float:
    """Return the standard error of the mean gain of decisions over their rows, infinite for fewer than ``MIN_ROWS`` rows.

    The gains of a row's decisions are given as a sum, ``[R]``: drawing a question again tells nothing new of other questions.
    """
    total, n = decisions.sum(), np.count_nonzero(decisions)
    deviations = gain - decisions * (gain.sum() / total)
    return float(np.sqrt((deviations**2).sum() * n / (n - 1)) / total) if n >= MIN_ROWS else np.inf


def scale_correction(policy: Mapping[str, Array32], trust: float) -> dict[str, Array32]:
    """Return the policy with its learned correction multiplied by ``trust``."""
    start = plug_in_bias(policy["candidate_w2"].shape[1])
    w2, b2 = np.float32(trust) * policy["query_w2"], start + np.float32(trust) * (policy["query_b2"] - start)
    return {**policy, "query_w2": w2, "query_b2": b2}


def greedy_rewards(
    policy: Parameters, streams: RoutingStreams, observations: Array32, candidates: Array32, reward: Reward, warm_up: int, steps: int, rows: int
) -> StreamRewards:
    """Return the scalar rewards of the candidates of maximum utility in each step after ``warm_up``."""
    embedded = embed_candidates(policy, candidates)
    by_stream, by_row, decisions = np.zeros(len(observations)), np.zeros(rows), np.zeros(rows, np.intp)
    for t in range(steps):
        inputs = PolicyInputs.of(observations, len(candidates), reward)
        utilities = utility(policy, inputs.query, inputs.weights, inputs.pair, embedded)
        action = np.where(inputs.mask, utilities, -np.inf).argmax(axis=1)
        observations, _, _, _, info = streams.step(action)
        if t >= warm_up:
            step_reward = (inputs.weights * known_rewards(info["vector_reward"], inputs.weights)).sum(axis=1, dtype=np.float64)
            by_stream += step_reward
            by_row += np.bincount(info["row"], step_reward, minlength=rows)
            decisions += np.bincount(info["row"], minlength=rows)
    return StreamRewards(by_stream=by_stream / (steps - warm_up), by_row=by_row, decisions=decisions)
