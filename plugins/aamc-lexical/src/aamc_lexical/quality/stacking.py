"""Weights of a blend of predictions by least squares ("stacking": Wolpert 1992, Breiman 1996)."""

from __future__ import annotations

import numpy as np

from aamc_sdk.types import Floats

SUM_TO_ONE = 1e3
"""Weight of the constraint that the weights sum to one, in roots of the number of cells."""


def stacking_weights(cells: Floats, target: Floats, blends: int = 1) -> Floats:
    """Return non-negative weights ``[blends, E]``, each row with sum one, of the least-squares blend.

    Args:
        cells: Out-of-fold predictions, ``[R, blends * E]``: E predictions of each of the blends that are added.
        target: The outcomes, ``[R]``.
        blends: Number of blends with weights of their own.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # scipy ships no types

    penalty = SUM_TO_ONE * np.sqrt(max(len(cells), 1))
    sums = np.kron(np.eye(blends), np.ones(cells.shape[1] // blends))
    weights = nnls(np.vstack((cells, penalty * sums)), np.append(target, [penalty] * blends))[0].reshape(blends, -1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
