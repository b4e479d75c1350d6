"""Mean training outcomes by candidate name, which remain valid when the pool changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.typical_outcomes import typical_outcomes

from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Router, Services, Training
from aamc_sdk.routing import expected_cost, token_counts
from aamc_sdk.storage import read_arrays, write_arrays
from aamc_sdk.types import DEFAULT_OUTPUT_TOKENS, Floats, Pool, Query

FILE = "means.npz"


@attrs.frozen(eq=False)
class TrainingMeans:
    """Mean outcomes of the candidates of the training data.

    Attributes:
        names: Names of the candidates.
        outcomes: Their mean quality, cost in USD and latency in ms, ``[len(names), 3]``; NaN where unknown.
        tokens: Mean prompt and output tokens of a query.
    """

    names: tuple[str, ...] = ()
    outcomes: Floats = attrs.field(factory=lambda: np.empty((0, 3)))
    tokens: tuple[float, float] = (DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS)

    @classmethod
    def of(cls, training: Training, services: Services) -> TrainingMeans:
        """Return the means of a training table, or estimates from comparisons and list prices.

        Raises:
            DataError: The dataset has neither outcomes nor comparisons, or only comparisons and a candidate without prices.
        """
        dataset = training.dataset
        prompt, output = token_counts(dataset.queries).mean(axis=0)
        pool = services.pool if dataset.outcomes is None or dataset.pool is None else dataset.pool
        return cls(pool.names, typical_outcomes(dataset, pool).means, (float(prompt), float(output)))

    def by_candidate(self, pool: Pool) -> Floats:
        """Return mean quality, cost and latency of a pool's candidates, ``[M, 3]``; NaN for an unseen one."""
        means = np.full((len(pool), 3), np.nan)
        for m, name in enumerate(pool.names):
            if name in self.names:
                means[m] = self.outcomes[self.names.index(name)]
        return means

    def price_level(self, pool: Pool) -> Floats:
        """Return each candidate's mean cost in USD at equal token counts, ``[M]``.

        It is the price of the mean training query, independent of the length of the candidate's own answers. Without prices it is the
        measured mean cost, or NaN.
        """
        prompt, output = (round(tokens) for tokens in self.tokens)
        level = expected_cost([Query("", prompt_tokens=prompt, output_tokens=output)], pool)[0]
        return np.where(np.isnan(level), self.by_candidate(pool)[:, 1], level)


class MeansRouter(Router):
    """A router that uses the training means; before training all are unknown."""

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.means = TrainingMeans()

    def train(self, training: Training) -> dict[str, Any]:
        """Compute the candidates' means."""
        self.means = TrainingMeans.of(training, self.services)
        return {}

    def save(self, folder: Path) -> None:
        """Write the means as npz."""
        means = self.means
        write_arrays(folder / FILE, {"names": np.array(means.names, dtype=np.str_), "outcomes": means.outcomes, "tokens": np.array(means.tokens)})

    def load(self, folder: Path) -> None:
        """Read the means.

        Raises:
            CheckpointError: They are missing or damaged.
        """
        saved = read_arrays(folder / FILE)
        if not {"names", "outcomes", "tokens"} <= set(saved) or saved["outcomes"].shape != (len(saved["names"]), 3):
            raise CheckpointError(f"{folder / FILE} does not hold a candidate's means; train again")
        prompt, output = saved["tokens"].tolist()
        self.means = TrainingMeans(tuple(saved["names"].tolist()), saved["outcomes"], (prompt, output))
