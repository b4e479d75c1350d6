"""Maximum a posteriori estimates of functions whose quality is the sigmoid of a score, from outcomes, comparisons or both.

With a score s for each row and candidate, outcomes and comparisons have the likelihoods of a Rasch and a Bradley-Terry model,

    quality y of candidate m:      y log sigmoid(s_m) + (1 - y) log sigmoid(-s_m)
    candidate i preferred to j:    log sigmoid(s_i - s_j); a tie counts half in each direction

The second follows from the first if exactly one of the two candidates succeeds. From comparisons alone the scores of a row sum to zero,
and sigmoid(s_m) is the probability of beating an average candidate. L-BFGS maximises the likelihood times a normal prior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aamc_baselines.quality.examples import Examples
from aamc_sdk.types import Floats, sigmoid

Parameters = Mapping[str, Floats]
"""The arrays of a function by name."""
MIN_MEAN = 0.001
"""Mean qualities are limited to this distance from 0 and 1."""


def offsets(examples: Examples) -> Floats:
    """Return the scores ``[M]`` of the candidates' mean qualities, the predictions without features."""
    means = np.clip(examples.means, MIN_MEAN, 1 - MIN_MEAN)
    return np.asarray(np.log(means / (1 - means)))


def negative_log_likelihood(score: Floats, examples: Examples) -> tuple[float, Floats]:
    """Return the negative log-likelihood of the examples and its gradient ``[N, M]`` in the scores ``[N, M]``."""
    loss, gradient, known, pairs = 0.0, np.zeros_like(score), examples.known, examples.comparisons
    if known.any():
        quality = np.nan_to_num(examples.quality)
        loss += float(np.where(known, np.logaddexp(0.0, score) - quality * score, 0.0).sum())
        gradient = np.where(known, sigmoid(score) - quality, 0.0)
    if len(pairs):
        lead = score[pairs.row, pairs.winner] - score[pairs.row, pairs.loser]
        loss += float((pairs.weight * (np.logaddexp(0.0, lead) - pairs.won * lead)).sum())
        pull = pairs.weight * (sigmoid(lead) - pairs.won)
        np.add.at(gradient, (pairs.row, pairs.winner), pull)
        np.add.at(gradient, (pairs.row, pairs.loser), -pull)
    return loss, gradient


def map_estimate(
    loss_and_gradient: Callable[[Parameters], tuple[float, Parameters]],
    start: Parameters,
    precision: Mapping[str, float],
    iterations: int,
) -> Parameters:
    """Return the maximum a posteriori parameters under a normal prior around zero, with ``precision`` the inverse variance of each parameter.

    ``loss_and_gradient`` returns the negative log-likelihood and its gradient in each parameter.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy ships no types

    weights = _flat({name: np.full(array.shape, precision[name]) for name, array in start.items()})

    def objective(flat: Floats) -> tuple[float, Floats]:
        loss, gradient = loss_and_gradient(_unflat(flat, start))
        return loss + 0.5 * float(weights @ flat**2), _flat({name: gradient[name] for name in start}) + weights * flat

    found = minimize(objective, _flat(start), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    return _unflat(found.x, start)


def _flat(parameters: Parameters) -> Floats:
    return np.concatenate([array.ravel() for array in parameters.values()])


def _unflat(flat: Floats, like: Parameters) -> Parameters:
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    return {name: part.reshape(like[name].shape) for name, part in zip(like, np.split(flat, ends), strict=True)}
