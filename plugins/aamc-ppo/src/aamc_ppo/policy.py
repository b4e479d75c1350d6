r"""The policy's and the critic's formulas, once for decisions (numpy) and training (torch).

Every function takes ``xp``, the module whose arrays it is given: ``numpy`` or ``torch``. B rows, M candidates,
Q query features, E embedding width, F = 5 pair features, K = 3 objectives.

A candidate's worth for objective k is a two-tower product plus a load term, and the preference weighs the objectives:

.. math::
    c_m &= \mathrm{tower}_c(\text{candidate}_m) \in R^E                                         & (1) \\
    (q_{bk}, a_{bk}) &= \mathrm{tower}_q(\text{query}_b)_k \in R^{E + F}                        & (2) \\
    V_k(b, m) &= \langle q_{bk}, c_m \rangle + \langle a_{bk}, \text{pair}_{bm} \rangle         & (3) \\
    U(b, m) &= \textstyle\sum_k w_{bk} V_k(b, m), \qquad
    \pi(m \mid b) \propto \exp(\tau\, U(b, m)) \text{ over the allowed } m                      & (4)

Pair feature k is the expected objective k. The query's tower begins with q = 0 and a_k = e_k (a unit vector, in the bias of its
last layer), which picks what the plug-in rule maximises: **the untrained policy is the plug-in rule**, and what is learned is where
that is wrong. Since V does not see the preference, weighing an objective more never lowers what is chosen of V_k.
The sums over k are taken before those over m, so a candidate costs E + F multiplications whatever K is. Pair features
come before candidates in memory, ``[B, F, M]``: sums of F products then run along rows, which with many candidates is
several times as fast as sums along the shortest axis. Biases are rows ``[1, N]``: numpy adds arrays of one number of axes more quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_sdk.routing import CANDIDATE_NUMBERS, PAIR_FEATURES, QUERY_NUMBERS, WORD_BUCKETS, Array32
from aamc_sdk.types import Floats

Parameters = Mapping[str, Any]
OBJECTIVES = 3
PAIR = len(PAIR_FEATURES)
CANDIDATE = len(CANDIDATE_NUMBERS) + WORD_BUCKETS


def query_width(categories: int) -> int:
    """Return the number of query features."""
    return len(QUERY_NUMBERS) + categories


def initial_policy(rng: np.random.Generator, categories: int, hidden: int, embedding: int, temperature: float) -> dict[str, Array32]:
    """Return the parameters of a policy that is the plug-in rule."""
    query = query_width(categories)
    return {
        "candidate_w1": _uniform(rng, CANDIDATE, hidden),
        "candidate_b1": np.zeros((1, hidden), np.float32),
        "candidate_w2": _uniform(rng, hidden, embedding),
        "candidate_b2": np.zeros((1, embedding), np.float32),
        "query_w1": _uniform(rng, query, hidden),
        "query_b1": np.zeros((1, hidden), np.float32),
        "query_w2": np.zeros((hidden, OBJECTIVES * (embedding + PAIR)), np.float32),
        "query_b2": plug_in(embedding),
        "log_temperature": np.array(np.log(temperature), np.float32),
    }


def plug_in(embedding: int) -> Array32:
    """Return what the query's tower gives before it has learned anything: q = 0 and a_k = e_k, ``[1, 3 (E + 5)]``."""
    return np.eye(OBJECTIVES, embedding + PAIR, embedding, dtype=np.float32).reshape(1, -1)


def initial_critic(rng: np.random.Generator, categories: int, hidden: int) -> dict[str, Array32]:
    """Return the parameters of a critic that expects what the plug-in rule expects."""
    inputs = query_width(categories) + OBJECTIVES + PAIR
    return {
        "critic_w1": _uniform(rng, inputs, hidden),
        "critic_b1": np.zeros((1, hidden), np.float32),
        "critic_w2": np.zeros((hidden, OBJECTIVES), np.float32),
        "critic_b2": np.zeros((1, OBJECTIVES), np.float32),
    }


def _uniform(rng: np.random.Generator, inputs: int, outputs: int) -> Array32:
    bound = (3 / inputs) ** 0.5  # variance 1 / inputs (LeCun et al. 1998)
    return rng.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)


def embed_candidates(p: Parameters, candidate: Any, xp: Any = np) -> Any:
    """Return equation (1), ``[M, E]``: needed once a pool."""
    return xp.tanh(candidate @ p["candidate_w1"] + p["candidate_b1"]) @ p["candidate_w2"] + p["candidate_b2"]


def utility(p: Parameters, query: Any, weights: Any, pair: Any, embedded: Any, xp: Any = np, tau: Any = None) -> Any:
    """Return equations (2) to (4), U as ``[B, M]``, in the unit of the reward; or tau U.

    Args:
        p: The policy's parameters.
        query: ``[B, Q]``.
        weights: What each objective counts, ``[B, 3]``.
        pair: ``[B, 5, M]``.
        embedded: The candidates by equation (1), ``[M, E]``.
        xp: ``numpy`` or ``torch``.
        tau: What U is multiplied by, if anything: E + F products a row here, M afterwards.
    """
    hidden = xp.tanh(_product(query, p["query_w1"]) + p["query_b1"])
    width = embedded.shape[1]
    per_objective = (_product(hidden, p["query_w2"]) + p["query_b2"]).reshape(len(query), OBJECTIVES, width + PAIR)
    factors = row_products(weights, per_objective)
    if tau is not None:
        factors = tau * factors
    return _product(factors[:, :width], embedded.T) + row_products(factors[:, width:], pair)


def _product(left: Any, right: Any) -> Any:
    """Return the product of two matrices; of small arrays ``dot`` takes less than half as long as ``@``."""
    return left.dot(right) if isinstance(left, np.ndarray) else left @ right


def row_products(vectors: Any, matrices: Any) -> Any:
    """Return the product of each row's vector ``[B, K]`` and its matrix ``[B, K, N]``, ``[B, N]``."""
    if len(vectors) == 1:  # a request that is served alone
        return _product(vectors, matrices[0])
    with np.errstate(invalid="ignore"):  # OpenBLAS may raise it of finite numbers, for lanes that a narrow matrix leaves unused
        return (vectors[:, None, :] @ matrices)[:, 0, :]


def log_softmax(logits: Any, mask: Any | None, xp: Any = np) -> Any:
    """Return log probabilities by equation (4) from tau U, ``[B, M]``; -1e9 or less, so probability 0, where masked."""
    if mask is not None and not mask.all():  # else two passes over all pairs, forward and back, would change nothing
        logits = xp.where(mask, logits, -1e9)
    if xp is not np:
        return xp.log_softmax(logits, 1)  # torch's own makes fewer passes, forward and back
    shifted = logits - xp.amax(logits, 1)[:, None]
    return shifted - xp.log(xp.exp(shifted).sum(1))[:, None]


def values(p: Parameters, query: Any, weights: Any, pooled: Any, xp: Any = np) -> Any:
    """Return the critic's values of the objectives, ``[B, 3]``, in reward per step.

    Args:
        p: The critic's parameters.
        query: ``[B, Q]``.
        weights: ``[B, 3]``.
        pooled: Pair features averaged by the policy's probabilities, ``[B, 5]``: the same for any order of
            candidates. The first three are what the policy expects to get, so the net only learns the rest.
        xp: ``numpy`` or ``torch``.
    """
    inputs = xp.concatenate((query, weights, pooled), 1)
    return pooled[:, :OBJECTIVES] + xp.tanh(inputs @ p["critic_w1"] + p["critic_b1"]) @ p["critic_w2"] + p["critic_b2"]


def pool_pairs(probabilities: Floats, pair: Array32) -> Array32:
    """Return pair features ``[B, 5, M]`` averaged by ``[B, M]`` probabilities, ``[B, 5]``."""
    with np.errstate(invalid="ignore"):  # as in row_products
        return np.asarray((pair @ probabilities[:, :, None])[:, :, 0], dtype=np.float32)


def draw_actions(probabilities: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return one candidate a row, drawn by inversion from ``[B, M]``: never one of probability 0, ``[B]``."""
    cumulative = probabilities.cumsum(axis=1)
    reached = rng.random((len(cumulative), 1), dtype=np.float32) * cumulative[:, -1:]  # always below the last
    return np.asarray((cumulative > reached).argmax(axis=1))
