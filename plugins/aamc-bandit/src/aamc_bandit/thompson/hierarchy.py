"""From the evidence of four levels to one belief about each candidate's quality: pure functions on arrays.

A posterior is ``[M, 2]``: alpha and beta of a Beta distribution for each of M candidates. A belief says that quality is
shift + scale x theta, where theta has that distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aamc_sdk.types import Floats

CATEGORY_HALF, CATEGORY_AFTER_USER = 0.5, 0.3
"""How much the published blend gives to the category, without a user and with one."""
_USER = 1
"""The user's place among the levels below the first."""


class Belief(NamedTuple):
    """Quality is ``shift + scale * theta``, theta ~ Beta(alpha, beta); all ``[M]``."""

    alpha: Floats
    beta: Floats
    scale: Floats
    shift: Floats

    @property
    def mean(self) -> Floats:
        """The expected quality ``[M]``."""
        return np.asarray(self.shift + self.scale * self.alpha / (self.alpha + self.beta))


def certain(posterior: Floats) -> Belief:
    """Return the belief that quality is theta itself."""
    return Belief(posterior[:, 0], posterior[:, 1], np.ones(len(posterior)), np.zeros(len(posterior)))


class Shrunk(NamedTuple):
    """A level's posterior ``[M, 2]``, and what one outcome counts in it, ``[M, 1]`` each: of the level above, and of its own."""

    posterior: Floats
    others: Floats
    own: Floats


def shrunk(parent: Floats, own: Floats, prior: Floats, strength: float, most: float, counted: Floats | float = 1.0) -> Shrunk:
    """Return the posterior at a level, shrunk towards the level above it.

    What the level above knows from others, rest = max(parent - counted own, prior), counts like K' = min(sum(rest), ``most``)
    outcomes, so that one outcome moves little and a new category starts from nearly all that is known. An outcome of the
    level's own counts w = max(1, K' / ``strength``) times, so that ``strength`` of them outweigh the others':

        posterior = K' rest / sum(rest) + w own                                                                       (2)

    While the others' outcomes are no more than ``strength``, this is conjugate updating with every outcome counted once.
    The mean is that of Beta-binomial shrinkage with prior weight ``strength``; to count outcomes w times is the posterior
    reshaping of Chapelle and Li 2011 ("An Empirical Evaluation of Thompson Sampling"), which keeps a level from
    exploring anew what the level above knows.

    Args:
        parent: Posterior of the level above, ``[M, 2]``.
        own: Wins and losses here, ``[M, 2]``.
        prior: Alpha and beta without any evidence, ``[2]``.
        strength: Outcomes here that weigh as much as what the level above knows, at least 1.
        most: Outcomes that the level above counts for at most.
        counted: What each outcome here counts in the parent at least, ``[M, 1]``; 0 where none may be in it.
    """
    rest = np.maximum(parent - counted * own, prior)
    known = rest[:, :1] + rest[:, 1:]
    kept = np.minimum(known, most)
    others = kept / known * counted
    weight = np.maximum(np.maximum(1.0, others), kept / strength)
    return Shrunk(kept / known * rest + weight * own, others, weight)


def shrinkage(tables: Sequence[Floats | None], prior: Floats, strengths: Sequence[tuple[float, float]], nested: bool) -> Floats:
    """Return the posterior ``[M, 2]`` of the last level, each shrunk towards the one above it by equation (2).

    An outcome of a user's own may be of any category, so it counts in the category's posterior at least what others' do. One
    of a session's counts there what its user's do. So much is taken out before it is added again, and never what is not there.

    Args:
        tables: Wins and losses ``[M, 2]`` everywhere, in the category, of the user and in the session; None for a level without a name.
        prior: Alpha and beta without any evidence, ``[2]``.
        strengths: ``strength`` and ``most`` of the last three levels; a level of infinite strength is left out.
        nested: Whether each level's outcomes are in the levels above at full weight; not where they fade at each level by its own count.
    """
    everywhere, *below = tables
    assert everywhere is not None
    posterior: Floats = prior + everywhere
    counted: Floats = np.full((len(everywhere), 1), float(nested))
    for level, (own, (strength, most)) in enumerate(zip(below, strengths, strict=True)):
        if own is not None and math.isfinite(strength):
            posterior, others, mine = shrunk(posterior, own, prior, strength, most, counted)
            counted = nested * mine if level == _USER else others
    return posterior


def strength_of(weight: float, strength: float) -> float:
    """Return the outcomes after which a level outweighs the one above: ``strength`` at weight 0.5, one at 1, none suffice at 0."""
    return float("inf") if weight == 0 else max(1.0, strength * (1 - weight) / weight)


def blended(first: Floats, second: Floats, weight: float) -> Floats:
    """Return the linear blend of two posteriors: (10, 2) and (2, 10) at 0.5 give (6, 6)."""
    return np.asarray((1 - weight) * first + weight * second)


def linear(everywhere: Floats, category: Floats | None, user: Floats | None, prior: Floats, personalization: float) -> Floats:
    """Return the published blend of posteriors.

    Without a user it is halfway between global and category. With one, global and user are blended by
    ``personalization``, and the result with the category at 0.3. A candidate without evidence at a level is not blended
    there; at the user's it counts as everybody's.

    Args:
        everywhere: Wins and losses of each candidate, ``[M, 2]``.
        category: Likewise in the query's category; None without one.
        user: Likewise of the user's own; None without one.
        prior: Alpha and beta without any evidence, ``[2]``.
        personalization: How much is the user's.
    """
    posterior: Floats = prior + everywhere
    if user is not None:
        posterior = blended(posterior, np.where(_known(user), prior + user, posterior), personalization)
    weight = CATEGORY_HALF if user is None else CATEGORY_AFTER_USER
    return posterior if category is None else blended(posterior, np.where(_known(category), prior + category, posterior), weight)


def _known(evidence: Floats) -> Floats:
    return np.asarray(evidence.sum(axis=1, keepdims=True) > 0)


def mixed_with_session(belief: Belief, successes: Floats, selections: Floats, weight: float) -> Belief:
    """Return quality mixed with the session's success share, for candidates that the session has heard of, as published.

    Args:
        belief: Without the session.
        successes: Of each candidate in the session, ``[M]``.
        selections: Its verdicts in the session, ``[M]``.
        weight: The share's weight.
    """
    weights = np.where(selections > 0, weight, 0.0)
    share = successes / np.maximum(selections, 1)
    return belief._replace(scale=(1 - weights) * belief.scale, shift=(1 - weights) * belief.shift + weights * share)


def cost_bonus(price: Floats, cost_weight: float) -> Floats:
    """Return the published factor of a sample ``[M]``: 1 + cost_weight x (1 - normalised price), 1 where a price is unknown.

    Args:
        price: What a token of the prompt costs, ``[M]``; it is 0 at the least and 1 at the greatest when it is normalised.
        cost_weight: The bonus of the cheapest.
    """
    known = np.isfinite(price)
    if not known.any() or np.ptp(price[known]) == 0:
        return np.ones(len(price))
    return np.where(known, 1 + cost_weight * (1 - (price - price[known].min()) / np.ptp(price[known])), 1.0)
