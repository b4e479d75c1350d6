"""``gbdt``: gradient-boosted decision trees for each candidate.

    q_m(x) = mean_m + eta sum over t of tree_mt(x)

where each small tree is fitted to the residuals of those before it, on a random half of the rows and a random subset of the features
at each split (stochastic gradient boosting). Trees are saved as arrays and evaluated in numpy.

Papers: Friedman 2001, "Greedy Function Approximation", Annals of Statistics 29, and 2002, "Stochastic Gradient Boosting",
Computational Statistics and Data Analysis 38.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from aamc_baselines.quality.examples import Examples, Indices, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.config import option
from aamc_sdk.types import Floats

SUBSAMPLE = 0.5
"""Share of the rows in the sample of each tree."""


@attrs.frozen(kw_only=True)
class GbdtOptions:
    """Options of ``gbdt``."""

    trees: int = option(100, "Trees per candidate.", at_least=1)
    depth: int = option(4, "Maximum depth of a tree.", at_least=1, at_most=10)
    learning_rate: float = option(0.05, "Factor on the values of each tree.", above=0, at_most=1)
    leaf_rows: int = option(50, "Minimum number of training rows in a leaf.", at_least=1)


@attrs.frozen(eq=False)
class Trees(QualityFunction):
    """Trees as arrays: M candidates, T trees, nodes numbered from the root, padded to the largest tree.

    Attributes:
        feature: The feature that a node splits on, ``[M, T, nodes]``.
        threshold: A row goes left if the feature is at most this value, ``[M, T, nodes]``.
        left: The left child, or a leaf itself, ``[M, T, nodes]``.
        right: The right child, or a leaf itself, ``[M, T, nodes]``.
        value: The value that a leaf adds, ``[M, T, nodes]``.
        means: The candidates' means, ``[M]``.
        depth: The maximum depth, ``[]``.
    """

    feature: Indices
    threshold: Floats
    left: Indices
    right: Indices
    value: Floats
    means: Floats
    depth: Indices

    @classmethod
    def fit(cls, examples: Examples, options: GbdtOptions, seed: int) -> Trees:
        """Fit each candidate's trees; a candidate with too few outcomes for two leaves keeps its mean."""
        shape = (len(examples.means), options.trees, 2 ** (options.depth + 1) - 1)
        nodes: Indices = np.broadcast_to(np.arange(shape[2]), shape).copy()
        trees = cls(
            feature=np.zeros(shape, dtype=np.intp),
            threshold=np.zeros(shape),
            left=nodes,
            right=nodes.copy(),
            value=np.zeros(shape),
            means=examples.means,
            depth=np.array(options.depth),
        )
        for m, known in enumerate(examples.known.T):
            if SUBSAMPLE * known.sum() >= 2 * options.leaf_rows:
                trees._keep(m, _boost(examples.features[known], examples.quality[known, m], options, seed), options.learning_rate)
        return trees

    def _keep(self, m: int, fitted: list[Any], learning_rate: float) -> None:
        for t, tree in enumerate(fitted):
            inner = np.flatnonzero(tree.children_left >= 0)
            self.feature[m, t, inner] = tree.feature[inner]
            self.threshold[m, t, inner] = tree.threshold[inner]
            self.left[m, t, inner], self.right[m, t, inner] = tree.children_left[inner], tree.children_right[inner]
            self.value[m, t, : tree.node_count] = learning_rate * tree.value[:, 0, 0]

    def predict(self, features: Floats) -> Floats:
        """Evaluate all trees at once; return ``[B, M]``, which may lie outside 0 to 1."""
        candidates, trees, nodes = self.feature.shape
        root = np.arange(candidates * trees) * nodes
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        left, right = self.left.ravel(), self.right.ravel()
        single = features.astype(np.float32)  # scikit-learn compares single precision
        row = np.arange(len(features))[:, None]
        node = np.broadcast_to(root, (len(features), len(root)))
        for _ in range(int(self.depth)):
            goes_left = single[row, feature[node]] <= threshold[node]
            node = root + np.where(goes_left, left[node], right[node])
        added = self.value.ravel()[node].reshape(len(features), candidates, trees).sum(axis=2)
        return np.asarray(self.means + added)


def _boost(features: Floats, quality: Floats, options: GbdtOptions, seed: int) -> list[Any]:
    """Return a candidate's trees, which add to the mean of its outcomes."""
    from sklearn.ensemble import GradientBoostingRegressor  # type: ignore[import-untyped]  # scikit-learn ships no types

    model = GradientBoostingRegressor(
        n_estimators=options.trees,
        max_depth=options.depth,
        learning_rate=options.learning_rate,
        min_samples_leaf=options.leaf_rows,
        subsample=SUBSAMPLE,
        max_features="sqrt",
        random_state=seed,
    )
    return [stage.tree_ for stage in model.fit(features, quality).estimators_[:, 0]]


class Gbdt(UtilityRouter):
    """Gradient-boosted trees for each candidate's quality."""

    Config = GbdtOptions
    Function = Trees
