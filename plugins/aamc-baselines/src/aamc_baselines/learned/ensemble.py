"""``ensemble``: a blend of other learned routers, with weights from cross-validation.

    q_m(x) = sum over e of w_e q_m^e(x) + w_0 mean_m,    w >= 0, in sum 1

The weights minimise the squared error on held-out training rows. If nothing can be learned, the candidates' means get all the weight,
and the blend does not depend on the query.

Papers: Wolpert 1992, "Stacked Generalization", Neural Networks 5; Breiman 1996, "Stacked Regressions", Machine Learning 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_lexical.quality import fold_of, stacking_weights
from numpy.typing import NDArray

from aamc_baselines.quality.examples import Examples, QualityFunction
from aamc_baselines.quality.utility_router import UtilityRouter
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Training
from aamc_sdk.storage import under
from aamc_sdk.types import Floats

MEANS = "means"
"""Name of the candidates' means as a member."""
MEMBERS: Mapping[str, Mapping[str, Any]] = {"knn": {}, "ridge": {}, "mf": {}, "irt": {}, "mlp": {}}


@attrs.frozen(kw_only=True)
class EnsembleOptions:
    """Options of ``ensemble``."""

    members: Mapping[str, Mapping[str, Any]] = option(MEMBERS, "Learned routers in the blend, each with its options.")
    folds: int = option(5, "Folds for the choice of the weights; each costs a training of every member.", at_least=2)

    def __attrs_post_init__(self) -> None:
        if not self.members:
            raise ConfigError("an ensemble needs at least one member, such as {knn: {}, ridge: {alpha: 300.0}}")


@attrs.frozen(eq=False)
class EnsembleParts:
    """The unfitted members of a blend by name, and the number of folds."""

    members: Mapping[str, UtilityRouter]
    folds: int


@attrs.frozen(eq=False)
class StackedMembers(QualityFunction):
    """Fitted members by name, the weights of the members and of the means, ``[E + 1]``, and the candidates' means, ``[M]``."""

    members: Mapping[str, QualityFunction]
    weights: Floats
    means: Floats

    @classmethod
    def fit(cls, examples: Examples, options: EnsembleParts, seed: int) -> StackedMembers:
        """Choose the weights by cross-validation, then fit the members to all rows."""
        weights = member_weights(_held_out(examples, options, seed), examples)
        return cls({name: member.fit(examples) for name, member in options.members.items()}, weights, examples.means)

    def predict(self, features: Floats) -> Floats:
        """Return ``[B, M]``."""
        blend = np.tile(self.weights[-1] * self.means, (len(features), 1))
        for weight, member in zip(self.weights[:-1], self.members.values(), strict=True):
            if weight > 0:
                blend += weight * np.clip(member.predict(features), 0.0, 1.0)
        return blend

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the weights, the means, and the members' arrays under the members' names."""
        parts = {f"{name}/{key}": array for name, member in self.members.items() for key, array in member.arrays().items()}
        return {"weights": self.weights, MEANS: self.means, **parts}


def _held_out(examples: Examples, parts: EnsembleParts, seed: int) -> list[Floats]:
    """Return the held-out predictions of each member and of the means, ``[N, M]`` each."""
    predictions = [np.tile(examples.means, (len(examples), 1)) for _ in range(len(parts.members) + 1)]
    fold = fold_of(examples.questions, parts.folds, seed)
    for number in np.unique(fold):
        held, others = np.flatnonzero(fold == number), examples.take(np.flatnonzero(fold != number))
        if not others.known.any():
            continue
        for prediction, member in zip(predictions, parts.members.values(), strict=False):
            prediction[held] = np.clip(member.fit(others).predict(examples.features[held]), 0.0, 1.0)
        predictions[-1][held] = others.means
    return predictions


def member_weights(predictions: Sequence[Floats], examples: Examples) -> Floats:
    """Return the weights of the least-squares blend, ``[E]``, non-negative and with sum one."""
    cells = np.column_stack([prediction[examples.known] for prediction in predictions])
    weights: Floats = stacking_weights(cells, examples.quality[examples.known])[0]
    return weights


class Ensemble(UtilityRouter):
    """A blend of learned routers."""

    Config = EnsembleOptions
    Function = StackedMembers

    def train(self, training: Training) -> dict[str, Any]:
        """Fit the blend; the result has the members' weights and the errors."""
        errors = super().train(training)
        assert self.learned is not None  # training sets it
        blend = self.learned.function
        assert isinstance(blend, StackedMembers)  # fit returns it
        return {**errors, "weights": dict(zip((*blend.members, MEANS), blend.weights.tolist(), strict=True))}

    def fit(self, examples: Examples) -> QualityFunction:
        """Return the blend, fitted to training rows."""
        return StackedMembers.fit(examples, EnsembleParts(self._members(), self.config.folds), self.services.seed)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> QualityFunction:
        """Return the blend of saved arrays."""
        members = {name: member.restore(under(f"{name}/", arrays)) for name, member in self._members().items()}
        return StackedMembers(members, arrays["weights"], arrays[MEANS])

    def _members(self) -> dict[str, UtilityRouter]:
        members = {name: self.services.make("router", name, options) for name, options in self.config.members.items()}
        for name, member in members.items():
            if not isinstance(member, UtilityRouter):
                raise ConfigError(f"an ensemble blends routers that expect quality, such as knn or ridge, and {name!r} is none of them")
        return members
