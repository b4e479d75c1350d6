r"""Expected output tokens of each candidate, from a text's embedding.

A ridge regression predicts the logarithm of one plus the tokens t of an answer:

.. math:: \hat t_m = s_m \exp(w_m^\top x + \overline{\log(1 + t_m)}) - 1

The factor s of each candidate makes the sum of the predictions that of the training answers (a ratio form of the smearing estimate of Duan
1983, "Smearing Estimate: A Nonparametric Retransformation Method"), since costs are linear in tokens. Logarithms are clipped to those seen.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.quality.smoothing import ridge_coefficients
from aamc_sdk.types import AnswerLengths, Dataset, Floats, Pool

PENALTIES = (1.0, 10.0, 100.0, 300.0, 1000.0, 10_000.0)
"""The penalties on squared coefficients to choose from, for embeddings of unit variance."""
MIN_SHARE = 0.5
"""Minimum share of a candidate's outcomes with a length."""


def known_lengths(dataset: Dataset, rows: NDArray[np.intp]) -> tuple[tuple[str, ...], Floats]:
    """Return the K candidates with known lengths of answers, and the lengths of all rows in tokens ``[N, K]``, NaN where unknown.

    A candidate counts if at least half of its outcomes in ``rows`` have a length: those with one may be of one kind of question.
    """
    if dataset.outcomes is None or dataset.outcomes.output_tokens is None or dataset.pool is None:
        return (), np.empty((len(dataset), 0))
    tokens = dataset.outcomes.output_tokens
    lengths, qualities = (np.isfinite(values[rows]).sum(axis=0) for values in (tokens, dataset.outcomes.known_quality))
    known = np.flatnonzero((lengths > 0) & (lengths >= MIN_SHARE * qualities))
    return tuple(dataset.pool.names[m] for m in known), tokens[:, known]


@attrs.frozen(eq=False)
class LengthModel:
    """Predicts the output tokens of K candidates from an embedding.

    Attributes:
        coefficients: ``[D, K]``.
        center: The mean training embedding, ``[D]``.
        log_means: The candidates' mean logarithms, ``[K]``.
        factors: The factors s, ``[K]``.
        means: The candidates' mean tokens, ``[K]``.
        limits: The minimum and maximum logarithm seen, ``[2, K]``.
        fixed_latency: The share of the candidates' mean latency that does not grow with the length, ``[K]``; 0 in earlier checkpoints.
    """

    coefficients: Floats
    center: Floats
    log_means: Floats
    factors: Floats
    means: Floats
    limits: Floats
    fixed_latency: Floats = attrs.Factory(lambda self: np.zeros(len(self.means)), takes_self=True)

    @classmethod
    def fit(cls, embedding: Floats, tokens: Floats, penalty: float) -> LengthModel:
        """Fit the model to N rows, ``[N, D]`` and ``[N, K]``, NaN where unknown; each candidate needs an answer."""
        logs, center = np.log1p(tokens), embedding.mean(axis=0, dtype=np.float64)
        log_means = np.nanmean(logs, axis=0)
        coefficients = ridge_coefficients(embedding - center, logs, log_means, penalty)
        limits = np.array((np.nanmin(logs, axis=0), np.nanmax(logs, axis=0)))
        bare = cls(coefficients, center, log_means, np.ones(len(log_means)), np.nanmean(tokens, axis=0), limits)
        fitted = np.where(np.isfinite(tokens), bare(embedding) + 1, np.nan)
        return attrs.evolve(bare, factors=np.nansum(tokens + 1, axis=0) / np.nansum(fitted, axis=0))

    def __call__(self, embedding: Floats) -> Floats:
        """Return the expected tokens ``[B, K]``."""
        logs = np.clip((embedding - self.center) @ self.coefficients + self.log_means, *self.limits)
        return np.asarray(np.maximum(self.factors * np.exp(logs) - 1, 0.0))


def cross_validated(embedding: Floats, tokens: Floats, fold: NDArray[np.intp]) -> tuple[float, Floats]:
    """Return the penalty with the least squared error of logarithms, and the expected tokens ``[N, K]`` of each row without its fold."""
    predicted = {penalty: _out_of_fold(embedding, tokens, fold, penalty) for penalty in PENALTIES}
    errors = {penalty: (np.log1p(held_out) - np.log1p(tokens)) ** 2 for penalty, held_out in predicted.items()}
    best = min(PENALTIES, key=lambda penalty: float(np.nansum(errors[penalty])))
    return best, predicted[best]


def _out_of_fold(embedding: Floats, tokens: Floats, fold: NDArray[np.intp], penalty: float) -> Floats:
    """Return the expected tokens ``[N, K]`` of each row, from models fitted without its fold; NaN where no other fold knows a candidate."""
    result = np.full(tokens.shape, np.nan)
    for number in np.unique(fold):
        held = fold == number
        others = ~held & np.isfinite(tokens).any(axis=1)
        known = np.flatnonzero(np.isfinite(tokens[others]).any(axis=0))
        if len(known):
            result[np.ix_(held, known)] = LengthModel.fit(embedding[others], tokens[others][:, known], penalty)(embedding[held])
    return result


def fixed_latency(tokens: Floats, latency_ms: Floats) -> Floats:
    """Return the share of each candidate's mean latency that a line through lengths and latencies has at length 0, ``[K]``, from 0 to 1.

    The line is that of weighted least squares, with less weight for long answers, whose latencies vary more. Lengths and latencies are ``[N, K]``,
    NaN where unknown. The share is 0 where latencies are unknown or all answers have one length.
    """
    shares = np.zeros(tokens.shape[1])
    for k, (length, latency) in enumerate(zip(tokens.T, latency_ms.T, strict=True)):
        known = np.isfinite(length) & np.isfinite(latency)
        length, latency = length[known], latency[known]
        if known.any() and np.ptp(length) > 0 and latency.mean() > 0:
            weight = 1 / (length + length.mean())
            from_mean = length - np.average(length, weights=weight)
            slope = np.sum(weight * from_mean * latency) / np.sum(weight * from_mean**2)
            shares[k] = np.clip(np.average(latency - slope * length, weights=weight) / latency.mean(), 0.0, 1.0)
    return shares


def for_pool(tokens: Floats, model: LengthModel, candidates: tuple[str, ...], pool: Pool) -> AnswerLengths:
    """Return expected tokens ``[B, K]`` of known candidates as those of a pool; an unseen candidate has the mean of the known ones."""
    known = {name: place for place, name in enumerate(candidates)}
    places = np.array([known.get(name, len(known)) for name in pool.names], dtype=np.intp)
    figures = (tokens, model.means, model.fixed_latency)
    if places.max(initial=0) == len(candidates):
        figures = tuple(np.append(values, values.mean(axis=-1, keepdims=True), axis=-1) for values in figures)
    return AnswerLengths(*(values[..., places] for values in figures))
