"""What a policy needs from request to request, computed beforehand; and the policy as it is served, in fewer operations.

The equations of :mod:`aamc_ppo.policy` are a dozen operations: on a single request they work on tiny arrays, where calling numpy
takes longer than computing, and on many they are passes over all pairs. The folded policy makes half as many. The reward's slopes and
offsets are folded into the query tower's last layer, so that expected outcomes are multiplied as they are and no pair features are made;
biases are one more row of a matrix.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from aamc_ppo.policy import OBJECTIVES, PAIR, Parameters, embed_candidates, row_products
from aamc_sdk.batch import Floats, RoutingRequest
from aamc_sdk.features import PAIR_FEATURES, Array32, encode_candidates, encode_queries, encode_query
from aamc_sdk.interfaces import Reward
from aamc_sdk.types import Pool

CACHED_PAIRS = 32_768
"""Pairs of a query and a candidate that are scored together: some MiB, which the processor's cache holds."""
MOST_OFFSET = 100.0
"""The greatest offset that is folded: slope times figure cancels it, and of numbers this size 32 bits keep five digits behind the point."""
MOST_SLOPE = 1e30
"""The greatest slope that is folded: in 32 bits no number reaches far beyond."""


@attrs.frozen(eq=False)
class Folded:
    r"""A policy where nobody waits and all figures are known.

    With the reward's slopes s and offsets o, equation (3) becomes

    .. math::
        V_k(b, m) = \langle q_{bk}, c_m \rangle + \Big(a_{bk5} + \textstyle\sum_{j \le 3} a_{bkj} o_j\Big)
            + \textstyle\sum_{j \le 3} a_{bkj} s_j x_{bmj}

    where x are expected quality, cost and latency. The second term is one weight for every candidate, so it is the
    factor of one more number of their embeddings, which is 1.

    Attributes:
        first: The query tower's first layer, with its bias as the last row, ``[Q + 1, H]``.
        second: Its last layer, ``[H, 3 (E + 4)]``.
        bias: The last layer's bias, ``[3 (E + 4)]``.
        embedded: The candidates' embeddings, and ones, ``[E + 1, M]``.
    """

    first: Array32
    second: Array32
    bias: Array32
    embedded: Array32

    @classmethod
    def of(cls, p: Parameters, embedded: Array32, slopes: Floats, offsets: Floats) -> Folded:
        """Fold a policy ``p`` whose candidates' embeddings are ``[M, E]``, and a reward."""
        fold = _fold(embedded.shape[1], slopes, offsets)
        layers = np.concatenate((p["query_w2"], p["query_b2"])).reshape(-1, OBJECTIVES, len(fold)) @ fold
        *second, bias = layers.reshape(len(layers), -1).astype(np.float32)
        return cls(
            first=np.concatenate((p["query_w1"], p["query_b1"])),
            second=np.array(second),
            bias=bias,
            embedded=np.concatenate((embedded.T, np.ones((1, len(embedded)), np.float32))),
        )

    def utilities(self, request: RoutingRequest, reward: Reward, categories: tuple[str, ...]) -> Array32 | None:
        """Return U by equation (4) where a candidate is allowed, ``[B, M]``.

        Args:
            request: Of B rows.
            reward: The one that was folded; it turns preferences into weights.
            categories: Those that the policy was trained with.

        Returns:
            None where there is no request, somebody waits, or an expected outcome is unknown; of a single request also where its estimates are.
        """
        if not len(request) or request.somebody_waits or _lacks_figures(request):
            return None
        weights = reward.weights(request.preferences.astype(np.float32))
        utilities = self._of_many(request, weights, categories) if len(request) > 1 else self._of_one(request, weights[0], categories)[None]
        known = not math.isnan(utilities.item(utilities.argmax()))  # to argmax NaN is the greatest of all
        return utilities if known else None

    def _of_one(self, request: RoutingRequest, weights: Array32, categories: tuple[str, ...]) -> Array32:
        """Return the utilities of the only row, ``[M]``: products with vectors begin sooner than those of matrices."""
        expected = request.expected
        query = np.array([*encode_query(request.queries[0], request.estimates, categories), 1.0], dtype=np.float32)
        factors = weights.dot((np.tanh(query.dot(self.first)).dot(self.second) + self.bias).reshape(OBJECTIVES, -1))
        figures = np.array((expected.quality, expected.cost_usd, expected.latency_ms), dtype=np.float32)[:, 0]
        width = len(self.embedded)
        return np.asarray(factors[:width].dot(self.embedded) + factors[width:].dot(figures))

    def _of_many(self, request: RoutingRequest, weights: Array32, categories: tuple[str, ...]) -> Array32:
        """Return the utilities of each row, ``[B, M]``."""
        expected, first = request.expected, self.first
        hidden = np.tanh(encode_queries(request.queries, request.estimates, categories).dot(first[:-1]) + first[-1:])
        factors = row_products(weights, (hidden.dot(self.second) + self.bias).reshape(len(request), OBJECTIVES, -1)).astype(np.float32, copy=False)
        width, rows = len(self.embedded), max(CACHED_PAIRS // len(request.pool), 1)
        utilities = np.empty(request.mask.shape, dtype=np.float32)
        scratch = np.empty_like(utilities[:rows])  # used again and again: fresh memory costs more time than filling it
        for start in range(0, len(request), rows):
            part = slice(start, start + rows)
            stretch = factors[part, :width].dot(self.embedded, out=utilities[part])
            for column, figure in enumerate((expected.known_quality, expected.cost_usd, expected.latency_ms), start=width):
                stretch += np.multiply(factors[part, column, None], figure[part], out=scratch[: len(stretch)], dtype=np.float32, casting="same_kind")
        return utilities


@attrs.frozen(eq=False)
class Prepared:
    """What a policy needs for every request among the candidates of one pool.

    Attributes:
        policy: Its parameters.
        pool: The candidates.
        affine: The reward's slopes and offsets, or None where it is no such function.
        embedded: The candidates by equation (1), ``[M, E]``.
        folded: The policy as it is served; None without slopes and offsets, or where these are too great.
    """

    policy: Parameters
    pool: Pool
    affine: tuple[Floats, Floats] | None
    embedded: Array32
    folded: Folded | None

    @classmethod
    def of(cls, p: Parameters, pool: Pool, affine: tuple[Floats, Floats] | None) -> Prepared:
        """Prepare a policy ``p``."""
        embedded: Array32 = embed_candidates(p, encode_candidates(pool))
        folded = None if affine is None or _too_great(*affine) else Folded.of(p, embedded, *affine)
        return cls(p, pool, affine, embedded, folded)


def _lacks_figures(request: RoutingRequest) -> bool:
    """Whether a figure is unknown of the first of many requests, which shows before they are scored: mostly, it is then unknown of all."""
    expected = request.expected
    if expected.quality is None:
        return True
    return len(request) > 1 and math.isnan(expected.quality[0].sum() + expected.cost_usd[0].sum() + expected.latency_ms[0].sum())


def _too_great(slopes: Floats, offsets: Floats) -> bool:
    """Whether 32 bits would not do."""
    return bool(np.abs(slopes).max() > MOST_SLOPE or np.abs(offsets).max() > MOST_OFFSET)


def _fold(width: int, slopes: Floats, offsets: Floats) -> npt.NDArray[np.float64]:
    """Return the matrix ``[E + 5, E + 4]`` that brings factors of embedding and pair features to those of embedding, 1 and figures."""
    figures = slice(width, width + OBJECTIVES)
    fold = np.zeros((width + PAIR, width + 1 + OBJECTIVES))
    fold[:width, :width] = np.eye(width)
    fold[figures, width] = offsets
    fold[width + PAIR_FEATURES.index("allowed"), width] = 1
    fold[figures, width + 1 :] = np.diag(slopes)
    return fold
