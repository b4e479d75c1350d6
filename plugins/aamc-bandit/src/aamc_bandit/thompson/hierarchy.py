"""Combines the evidence of four levels into one distribution of each candidate's quality: pure functions on arrays.

A posterior is ``[M, 2]``: alpha and beta of a Beta distribution for each of M candidates. A :class:`QualityBelief` scales and
shifts it: quality = shift + scale x theta, theta ~ Beta(alpha, beta).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aamc_sdk.types import Floats

CATEGORY_WEIGHT, CATEGORY_WEIGHT_WITH_USER = 0.5, 0.3
"""The category's weight in the published blend, without a user and with one."""
_USER = 1
"""The user's index among the levels below the global one."""


class QualityBelief(NamedTuple):
    """Quality is ``shift + scale * theta``, theta ~ Beta(alpha, beta); all ``[M]``."""

    alpha: Floats
    beta: Floats
    scale: Floats
    shift: Floats

    @property
    def mean(self) -> Floats:
        """The expected quality ``[M]``."""
        return np.asarray(self.shift + self.scale * self.alpha / (self.alpha + self.beta))


def unscaled_belief(posterior: Floats) -> QualityBelief:
    """Return the belief with scale 1 and shift 0: quality is theta."""
    return QualityBelief(posterior[:, 0], posterior[:, 1], np.ones(len(posterior)), np.zeros(len(posterior)))


def shrink(parent: Floats, own: Floats, prior: Floats, strength: float, limit: float, counted: Floats | float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Return the posterior at a level ``[M, 2]``, shrunk towards that of its parent level.

    Also return the weights in it of one outcome of the parent level and of its own, ``[M, 1]`` each.

    The parent's evidence from others, rest = max(parent - counted own, prior), counts as K' = min(sum(rest), ``limit``)
    outcomes, so that one outcome moves the mean little and a new category starts from nearly all that is known. An own outcome
    of the level counts w = max(1, K' / ``strength``) times, so that ``strength`` own outcomes outweigh those of others:

        posterior = K' rest / sum(rest) + w own                                                                       (2)

    With at most ``strength`` outcomes of others, this is conjugate updating in which every outcome counts once. The mean is
    that of Beta-binomial shrinkage with prior weight ``strength``. Counting outcomes w times is the posterior reshaping of
    Chapelle and Li 2011 ("An Empirical Evaluation of Thompson Sampling"): it keeps a level from repeating exploration that
    the parent level has done.

    Args:
        parent: Posterior of the parent level, ``[M, 2]``.
        own: Wins and losses of this level, ``[M, 2]``.
        prior: Alpha and beta without any evidence, ``[2]``.
        strength: Own outcomes that weigh as much as the parent, at least 1.
        limit: Maximum number of outcomes that the parent counts as.
        counted: Minimum weight of an own outcome in the parent, ``[M, 1]``; 0 where the parent may not contain it.
    """
    rest = np.maximum(parent - counted * own, prior)
    total = rest[:, :1] + rest[:, 1:]
    kept = np.minimum(total, limit)
    parent_weight = kept / total * counted
    own_weight = np.maximum(np.maximum(1.0, parent_weight), kept / strength)
    return kept / total * rest + own_weight * own, parent_weight, own_weight


def shrinkage_posterior(tables: Sequence[Floats | None], prior: Floats, strengths: Sequence[tuple[float, float]], nested: bool) -> Floats:
    """Return the posterior ``[M, 2]`` of the lowest level, each level shrunk towards its parent by equation (2).

    A user's own outcome may be of any category, so it counts in the category's posterior at least as much as others' outcomes.
    A session's own outcome counts there as much as its user's. This weight is subtracted before the outcome is added again, so
    that nothing is subtracted that was never added.

    Args:
        tables: Wins and losses ``[M, 2]`` globally, of the category, the user and the session; None for a level without an entity.
        prior: Alpha and beta without any evidence, ``[2]``.
        strengths: ``strength`` and ``limit`` of the last three levels; a level of infinite strength is skipped.
        nested: Whether each level's outcomes count fully in its parent levels; false where every level discounts by its own clock.
    """
    everywhere, *below = tables
    assert everywhere is not None
    posterior: Floats = prior + everywhere
    counted: Floats = np.full((len(everywhere), 1), float(nested))
    for level, (own, (strength, limit)) in enumerate(zip(below, strengths, strict=True)):
        if own is not None and math.isfinite(strength):
            posterior, parent_weight, own_weight = shrink(posterior, own, prior, strength, limit, counted)
            counted = nested * own_weight if level == _USER else parent_weight
    return posterior


def level_strength(weight: float, strength: float) -> float:
    """Return the own outcomes after which a level outweighs its parent: ``strength`` at weight 0.5, 1 at weight 1, infinite at 0."""
    return float("inf") if weight == 0 else max(1.0, strength * (1 - weight) / weight)


def average_posteriors(first: Floats, second: Floats, weight: float) -> Floats:
    """Return the weighted average of two posteriors: (10, 2) and (2, 10) at weight 0.5 give (6, 6)."""
    return np.asarray((1 - weight) * first + weight * second)


def linear_posterior(everywhere: Floats, category: Floats | None, user: Floats | None, prior: Floats, personalization: float) -> Floats:
    """Return the linear blend of posteriors that vLLM Semantic Router publishes, from wins and losses ``[M, 2]`` at each level.

    Without a user it averages global and category. With a user, it averages global and user by ``personalization``, and the
    result with the category at weight 0.3. A candidate without evidence at a level keeps the posterior so far.
    """
    posterior: Floats = prior + everywhere
    if user is not None:
        posterior = average_posteriors(posterior, np.where(user.sum(axis=1, keepdims=True) > 0, prior + user, posterior), personalization)
    if category is None:
        return posterior
    weight = CATEGORY_WEIGHT if user is None else CATEGORY_WEIGHT_WITH_USER
    return average_posteriors(posterior, np.where(category.sum(axis=1, keepdims=True) > 0, prior + category, posterior), weight)


def mix_session(belief: QualityBelief, successes: Floats, selections: Floats, weight: float) -> QualityBelief:
    """Return the published mix of quality and the session's success share, for candidates with feedback in the session.

    Successes and outcomes (``selections``) in the session are ``[M]``; ``weight`` is that of the success share.
    """
    weights = np.where(selections > 0, weight, 0.0)
    share = successes / np.maximum(selections, 1)
    return belief._replace(scale=(1 - weights) * belief.scale, shift=(1 - weights) * belief.shift + weights * share)


def cost_bonus(price: Floats, cost_weight: float) -> Floats:
    """Return the published factor of a sample ``[M]``: 1 + cost_weight x (1 - normalised price); 1 where the price is unknown.

    Prices per prompt token are normalised to 0 for the cheapest and 1 for the most expensive candidate.
    """
    known = np.isfinite(price)
    if not known.any() or np.ptp(price[known]) == 0:
        return np.ones(len(price))
    return np.where(known, 1 + cost_weight * (1 - (price - price[known].min()) / np.ptp(price[known])), 1.0)
