"""A plugin for the core's own tests: a minimal component of each kind, on the conformance kit's data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np

from aamc_sdk import Component, Dataset, DatasetFormat, Estimates, Estimator, Query, Requirements, Router, Scores, hookimpl, option
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import TableEnvironment, make_dataset


@attrs.frozen(kw_only=True)
class TinyFormatOptions:
    """Options of the dataset."""

    first: int = option(0, "The first row's number.", at_least=0)


class TinyFormat(DatasetFormat):
    """Rows of the kit's data; the path is their number."""

    Config = TinyFormatOptions

    def read(self, path: str) -> Dataset:
        return make_dataset(int(path or 200), self.config.first)


class TinyEstimator(Estimator):
    """Expects each candidate's mean training quality."""

    means = np.empty(0)

    def estimate(self, queries: list[Query]) -> Estimates:
        return Estimates.unknown(len(queries))

    def quality(self, estimates, pool):
        return np.tile([self.means[self.services.pool.index(name)] for name in pool.names], (len(estimates), 1))

    def out_of_fold(self):
        return np.full((self.rows, len(self.means)), 0.5)

    def train(self, training):
        self.means = training.dataset.outcomes.quality.mean(axis=0)
        self.rows = len(training.dataset)
        return {"rows": self.rows}

    def save(self, folder: Path) -> None:
        write_json(folder / "means.json", self.means)

    def load(self, folder: Path) -> None:
        self.means = np.array(read_json(folder / "means.json"))


class Numbered(TinyEstimator):
    """Expects a tenth of each candidate's position in the training pool as quality."""

    def out_of_fold(self):
        return np.tile(np.arange(len(self.means)) / 10, (self.rows, 1))


@attrs.frozen(kw_only=True)
class TinyOptions:
    favourite: int = option(0, "The candidate's number.", at_least=0)

    presets: ClassVar[dict[str, dict[str, int]]] = {"full": {"favourite": 1}}


class TinyRouter(Router):
    """Always chooses one candidate; its metrics are its training data."""

    Config = TinyOptions
    uses_preference = False

    def score(self, request) -> Scores:
        utility = np.zeros(request.mask.shape)
        utility[:, self.config.favourite % utility.shape[1]] = 1.0
        return Scores(utility)

    def train(self, training):
        return {"steps": 3, "expected": training.request.expected.known_quality.mean(), "curve": [{"step": 1, "return": 0.5}]}

    def save(self, folder):
        write_json(folder / "favourite.json", self.config.favourite)


class Greedy(Router):
    """The maximum expected utility."""

    requires = Requirements(estimator=True)

    def score(self, request) -> Scores:
        return Scores(self.services.reward.scalar(request.expected, request.preferences))


class Seer(Router):
    """The maximum utility in hindsight."""

    privileged = True

    def score(self, request) -> Scores:
        return Scores(self.services.reward.scalar(request.hindsight, request.preferences))


class Tiny:
    """The plugin."""

    @hookimpl
    def aamc_datasets(self):
        return [Component("tiny", "tiny:TinyFormat", "Rows of the tiny world.")]

    @hookimpl
    def aamc_estimators(self):
        return [Component("means", "tiny:TinyEstimator", "Mean qualities."), Component("numbered", "tiny:Numbered", "Numbers.")]

    @hookimpl
    def aamc_environments(self):
        return [Component("table", "tiny:TableEnvironment", "The rows' own outcomes.")]

    @hookimpl
    def aamc_routers(self):
        return [
            Component("favourite", "tiny:TinyRouter", "One candidate."),
            Component("best-expected", "tiny:Greedy", "The maximum expected utility."),
            Component("seer", "tiny:Seer", "The maximum utility in hindsight."),
        ]


__all__ = ["Greedy", "Seer", "TableEnvironment", "Tiny", "TinyEstimator", "TinyFormat", "TinyRouter"]
