"""The served policy: values that do not change between requests are computed once, so that a request takes half as many operations.

The folded policy is the same function as :func:`aamc_ppo.ppo.utility`, with the reward's slopes s and offsets o folded into the query
tower's last layer. With expected outcomes x (quality, cost, latency), cheapness and the like are s_j x_j + o_j, so equation (3) becomes

    V_k(b, m) = <q_bk, c_m> + (a_bk7 + a_bk6 + sum_j a_bkj o_j) + a_bk6 (s_2 / o_2) t_b p_m + sum_j a_bkj s_j x_bmj

which has the form of (3) again: the second and third term are the factors of two more numbers of the embeddings, 1 and the price p of a cached
token, the latter times the query's tokens t; the pair features are the outcomes themselves. It holds where the pool is idle, so that no candidate
has a wait or pressure, and all figures are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from aamc_ppo.ppo import Parameters, combined_factors, embed_candidates, utility
from aamc_ppo.rollout import CACHE_READ, CONTEXT, LOG_PROMPT, OBJECTIVES, PAIR_WIDTH, policy_query, prompt_length, with_length
from aamc_sdk.interfaces import Reward
from aamc_sdk.routing import PAIR_FEATURES, Array32, encode, encode_candidates, encode_queries
from aamc_sdk.types import Floats, Pool, RoutingRequest

TOKENS = slice(LOG_PROMPT, LOG_PROMPT + 2)
"""The query's features of prompt and answer, log(1 + tokens) / 10."""
CACHED_PAIRS = 32_768
"""(Query, candidate) pairs that are scored together: some MiB, which the processor's cache holds."""
MAX_OFFSET = 100.0
"""Maximum folded offset: slope times figure cancels it, and numbers of this size have five decimals in 32 bits."""
MAX_SLOPE = 1e30
"""Maximum folded slope, near the limit of 32 bits."""


@attrs.frozen(eq=False)
class FoldedPolicy:
    """A policy folded with a reward.

    Attributes:
        query_tower: The query tower's parameters, whose output is ``[K (E + 2 + 3)]``.
        embedded: The candidates' embeddings, a 1 and the price of a cached token, ``[M, E + 2]``.
    """

    query_tower: dict[str, Array32]
    embedded: Array32

    @classmethod
    def of(cls, p: Parameters, pool: Pool, embedded: Array32, slopes: Floats, offsets: Floats) -> FoldedPolicy:
        """Fold a policy, whose candidates' embeddings are ``[M, E]``, with the reward's slopes ``[3]`` and offsets ``[3]``."""
        fold = _fold(embedded.shape[1], slopes, offsets)
        layers = np.concatenate((p["query_w2"], p["query_b2"])).reshape(-1, OBJECTIVES, len(fold)) @ fold
        *w2, b2 = layers.reshape(len(layers), -1).astype(np.float32)
        tower = {"query_w1": p["query_w1"][:-CONTEXT], "query_b1": p["query_b1"], "query_w2": np.array(w2), "query_b2": b2[None]}
        return cls(tower, np.vstack((embedded.T, np.ones(len(pool)), pool.arrays.cache_read_usd), dtype=np.float32).T)

    def utilities(self, request: RoutingRequest, reward: Reward, categories: tuple[str, ...]) -> Array32 | None:
        """Return U (4) of allowed candidates, ``[B, M]``.

        Args:
            request: B rows.
            reward: The folded reward; it turns preferences into weights.
            categories: The categories that the policy was trained with.

        Returns:
            None if there is no row, a candidate has a wait or pressure, or an expected outcome is unknown; for one row also if its estimates are.
        """
        if not len(request) or _has_waits(request.wait_ms) or request.pressure is not None or _lacks_figures(request):
            return None
        weights = reward.weights(request.preferences.astype(np.float32))
        utilities = self._many(request, weights, categories) if len(request) > 1 else self._one(request, weights, categories)
        known = not math.isnan(utilities.item(utilities.argmax()))  # argmax finds a NaN first
        return utilities if known else None

    def _one(self, request: RoutingRequest, weights: Array32, categories: tuple[str, ...]) -> Array32:
        """Return the utilities of the only row, ``[1, M]``."""
        (query,), expected, width = request.queries, request.expected, self.embedded.shape[1]
        features = np.array([query_features(request, categories)], dtype=np.float32)
        factors = self._factors(features, weights, query.expected_prompt_tokens + query.expected_output_tokens)
        figures = np.concatenate((expected.known_quality, expected.cost_usd, expected.latency_ms), dtype=np.float32)
        return np.asarray(factors[:, :width].dot(self.embedded.T) + factors[:, width:].dot(figures))

    def _many(self, request: RoutingRequest, weights: Array32, categories: tuple[str, ...]) -> Array32:
        """Return the utilities of each row, ``[B, M]``: equation (3) in place, without an array of pair features."""
        expected = request.expected
        query = with_length(encode_queries(request.queries, request.estimates, categories))
        factors = self._factors(query, weights, np.expm1(10 * query[:, TOKENS]).sum(axis=1))
        width, rows = self.embedded.shape[1], max(CACHED_PAIRS // len(request.pool), 1)
        utilities = np.empty(request.mask.shape, dtype=np.float32)
        scratch = np.empty_like(utilities[:rows])  # fresh memory for each part costs more time than filling it
        for start in range(0, len(request), rows):
            part = slice(start, start + rows)
            summed = factors[part, :width].dot(self.embedded.T, out=utilities[part])
            for column, figure in enumerate((expected.known_quality, expected.cost_usd, expected.latency_ms), start=width):
                summed += np.multiply(factors[part, column, None], figure[part], out=scratch[: len(summed)], dtype=np.float32, casting="same_kind")
        return utilities

    def _factors(self, query: Array32, weights: Array32, tokens: Floats | int) -> Array32:
        """Return the factors of embeddings, 1, price and outcomes, ``[B, E + 2 + 3]``, of queries with so many tokens ``[B]``."""
        factors: Array32 = combined_factors(self.query_tower, query, weights).astype(np.float32, copy=False)
        factors[:, self.embedded.shape[1] - 1] *= tokens
        return factors


@attrs.frozen(eq=False)
class ServedPolicy:
    """A policy prepared for the candidates of one pool.

    Attributes:
        parameters: The policy's parameters.
        pool: The candidates.
        affine: The reward's slopes and offsets; None if it is not affine.
        embedded: The candidates' embeddings (1), ``[M, E]``.
        folded: The folded policy; None without slopes and offsets, or if 32 bits cannot hold them.
    """

    parameters: Parameters
    pool: Pool
    affine: tuple[Floats, Floats] | None
    embedded: Array32
    folded: FoldedPolicy | None

    @classmethod
    def of(cls, p: Parameters, pool: Pool, affine: tuple[Floats, Floats] | None) -> ServedPolicy:
        """Prepare a policy."""
        embedded: Array32 = embed_candidates(p, encode_candidates(pool))
        folds = affine is not None and np.abs(affine[0]).max() <= MAX_SLOPE and np.abs(affine[1]).max() <= MAX_OFFSET
        return cls(p, pool, affine, embedded, FoldedPolicy.of(p, pool, embedded, *affine) if affine is not None and folds else None)

    def utilities(self, request: RoutingRequest, reward: Reward, categories: tuple[str, ...]) -> Array32:
        """Return U (4), ``[B, M]``: by the folded policy where it holds, else from features, in parts that the processor's cache holds."""
        folded = None if self.folded is None else self.folded.utilities(request, reward, categories)
        if folded is not None:
            return folded
        parts = request.batches(CACHED_PAIRS) if request.mask.size > CACHED_PAIRS else (request,)
        return np.concatenate([self._of_features(part, reward, categories) for part in parts])

    def _of_features(self, request: RoutingRequest, reward: Reward, categories: tuple[str, ...]) -> Array32:
        features = encode(request, reward, categories)
        weights, pair = reward.weights(features.preference), features.pair.swapaxes(1, 2)
        return np.asarray(utility(self.parameters, policy_query(features.query, pair), weights, pair, self.embedded))


def query_features(request: RoutingRequest, categories: Sequence[str]) -> list[float]:
    """Return the features of the only query as ``with_length(encode_queries(...))`` does, but NaN for unknowns: a list, which is quicker."""
    query, estimates = request.queries[0], request.estimates
    (complexity,), (tool_use,), (probabilities,) = estimates.complexity.tolist(), estimates.tool_use.tolist(), estimates.aligned(categories).tolist()
    lengths = [math.log1p(tokens) / 10 for tokens in (query.expected_prompt_tokens, query.expected_output_tokens)]
    return [complexity, tool_use, *lengths, *probabilities, prompt_length(lengths[0])]


def _lacks_figures(request: RoutingRequest) -> bool:
    """Whether expected quality is unknown, or any figure of the first of many rows: usually it is then unknown in all."""
    expected = request.expected
    if expected.quality is None:
        return True
    return len(request) > 1 and math.isnan(expected.quality[0].sum() + expected.cost_usd[0].sum() + expected.latency_ms[0].sum())


def _fold(width: int, slopes: Floats, offsets: Floats) -> npt.NDArray[np.float64]:
    """Return the matrix ``[E + 7, E + 5]`` from factors of embedding and pair features to those of embedding, 1, price and outcomes."""
    figures, one, price = slice(width, width + OBJECTIVES), width, width + 1
    fold = np.zeros((width + PAIR_WIDTH, width + 2 + OBJECTIVES))
    fold[:width, :width] = np.eye(width)
    fold[figures, one] = offsets
    fold[width + PAIR_FEATURES.index("allowed"), one] = 1
    if offsets[1] > 0:
        fold[width + CACHE_READ, [one, price]] = 1, slopes[1] / offsets[1]
    fold[figures, price + 1 :] = np.diag(slopes)
    return fold


def _has_waits(wait_ms: Floats) -> bool:
    shared = wait_ms.strides[0] == 0  # all rows are the same memory
    return bool(np.count_nonzero(wait_ms[:1] if shared else wait_ms))
