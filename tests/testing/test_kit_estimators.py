"""Each broken estimator is caught by the check that is meant for it."""

import threading
import time

import attrs
import numpy as np
import pytest
from offering import failed

from aamc_sdk import Estimates
from aamc_sdk.interfaces import Estimator
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import AnswerLengths


class FairEstimator(Estimator):
    """Long texts are hard; quality is the training mean."""

    mean = 0.0

    def train(self, training):
        quality = np.zeros((len(training.dataset), 1)) if training.dataset.outcomes is None else training.dataset.outcomes.quality
        self.mean = float(np.nanmean(quality))
        self.means_without = [float(np.nanmean(np.delete(quality, row, axis=0))) for row in range(len(quality))]
        return {"mean": self.mean}

    def estimate(self, queries):
        length = np.array([min(len(query.text) / 100, 1.0) for query in queries])
        return Estimates(length, np.stack([length, 1 - length], axis=1), ("long", "short"), length, None, f"fair-{self.mean}")

    def quality(self, estimates, pool):
        return np.full((len(estimates), len(pool)), self.mean)

    def out_of_fold(self):
        return np.tile(np.array(self.means_without)[:, None], (1, len(self.services.pool)))

    def save(self, folder):
        write_json(folder / "mean.json", {"mean": self.mean})

    def load(self, folder):
        self.mean = read_json(folder / "mean.json")["mean"]


class OutOfRange(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), complexity=np.full(len(queries), 1.5))


class NotOne(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), categories=np.full((len(queries), 2), 0.2))


class Ranked(FairEstimator):
    def quality(self, estimates, pool):
        return super().quality(estimates, pool) * np.linspace(0, 1, len(pool))


class LongestFirst(FairEstimator):
    def answer_lengths(self, estimates, pool):
        return AnswerLengths(np.tile(np.arange(len(pool), 0.0, -1.0), (len(estimates), 1)), np.ones(len(pool)))


class MoreThanTheMean(FairEstimator):
    def answer_lengths(self, estimates, pool):
        return AnswerLengths(np.ones((len(estimates), len(pool))), np.ones(len(pool)), fixed_latency=np.full(len(pool), 1.5))


class SlowestFirst(FairEstimator):
    def answer_lengths(self, estimates, pool):
        return AnswerLengths(np.ones((len(estimates), len(pool))), np.ones(len(pool)), fixed_latency=np.linspace(1, 0, len(pool)))


class InSample(FairEstimator):
    def out_of_fold(self):
        return np.full((1, len(self.services.pool)), 0.5)


class SeesItsRows(FairEstimator):
    def out_of_fold(self):
        return np.full((len(self.means_without), len(self.services.pool)), self.mean)


class NeedsEveryOutcome(FairEstimator):
    def train(self, training):
        found = super().train(training)
        if training.dataset.outcomes is not None:
            self.mean = float(training.dataset.outcomes.quality.mean())
        return found


class Unready(FairEstimator):
    """Predicts quality from a table that only training makes."""

    table = None

    def train(self, training):
        self.table = np.ones(1)
        return super().train(training)

    def load(self, folder):
        super().load(folder)
        self.table = np.ones(1)

    def quality(self, estimates, pool):
        return self.table[0] * super().quality(estimates, pool)


class Relabelled(FairEstimator):
    def load(self, folder):
        super().load(folder)
        self.mean = self.mean / 2


class Absent(FairEstimator):
    """Keeps its input in an attribute that threads overwrite."""

    def estimate(self, queries):
        self.queries = queries
        length = super().estimate(queries).complexity
        return super().estimate(self.queries) if length.any() else Estimates.unknown(len(queries))


class NeedsOutcomes(FairEstimator):
    def train(self, training):
        self.mean = float(training.dataset.outcomes.quality.mean())
        return super().train(training)


class Sorting(FairEstimator):
    """Sorts the queries in place, as for batches of similar length."""

    def estimate(self, queries):
        if isinstance(queries, list):
            queries.sort(key=lambda query: len(query.text))
        return super().estimate(queries)


class Reusing(FairEstimator):
    """Returns the same array again and again."""

    def estimate(self, queries):
        found = super().estimate(queries)
        if getattr(self, "buffer", np.empty(0)).shape != found.complexity.shape:
            self.buffer = np.empty_like(found.complexity)
        self.buffer[:] = found.complexity
        return attrs.evolve(found, complexity=self.buffer)


class Clipping(FairEstimator):
    """Changes the estimates when it predicts quality."""

    def quality(self, estimates, pool):
        np.minimum(estimates.complexity, 0.1, out=estimates.complexity)
        return super().quality(estimates, pool)


class Shared(FairEstimator):
    """Keeps what it learned in its class."""

    def train(self, training):
        metrics = super().train(training)
        type(self).mean = self.mean
        del self.mean
        return metrics


class OneName(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), fingerprint="mine")


class Flat(FairEstimator):
    def embed(self, texts):
        return np.array([float(len(text)) for text in texts])


class Listed(FairEstimator):
    def embed(self, texts):
        return [[float(len(text))] for text in texts]


class Centred(FairEstimator):
    def embed(self, texts):
        lengths = np.array([[float(len(text))] for text in texts])
        return lengths - lengths.mean()


class NeedsTraining(FairEstimator):
    def estimate(self, queries):
        _ = self.means_without
        return super().estimate(queries)


class LeavesAThread(FairEstimator):
    def train(self, training):
        threading.Thread(target=time.sleep, args=(8.0,), name="sleeper").start()
        return super().train(training)


class Chatting(FairEstimator):
    def estimate(self, queries):
        print("estimating")  # noqa: T201  # the mistake
        return super().estimate(queries)


class GlobalDraws(FairEstimator):
    def train(self, training):
        metrics = super().train(training)
        return metrics | {"luck": np.random.random()}  # the mistake


def test_a_fair_estimator_passes_every_check(offer):
    assert failed(offer("estimator", FairEstimator), "estimator") == set()


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (OutOfRange, "shapes and ranges"),
        (NotOne, "shapes and ranges"),
        (Ranked, "quality for any pool"),
        (LongestFirst, "answer lengths for any pool"),
        (MoreThanTheMean, "answer lengths for any pool"),
        (SlowestFirst, "answer lengths for any pool"),
        (InSample, "out of fold quality"),
        (SeesItsRows, "out of fold quality"),
        (NeedsEveryOutcome, "training with missing outcomes"),
        (Unready, "untrained it estimates or says so"),
        (Relabelled, "save and load"),
        (Absent, "estimating from several threads"),
        (Sorting, "an earlier result stays as it is"),
        (Reusing, "an earlier result stays as it is"),
        (Clipping, "an earlier result stays as it is"),
        (Shared, "instances share nothing"),
        (OneName, "instances share nothing"),
        (Flat, "embeddings of texts"),
        (Listed, "embeddings of texts"),
        (Centred, "embeddings of texts"),
        (NeedsTraining, "untrained it estimates or says so"),
        (LeavesAThread, "its threads let the program end"),
        (Chatting, "estimating leaves no global state"),
        (GlobalDraws, "training leaves no global state"),
        (NeedsOutcomes, "training without outcomes"),
    ],
)
def test_a_broken_estimator_is_caught(offer, target, check):
    assert check in failed(offer("estimator", target), "estimator")


class ListsQualities(FairEstimator):
    def quality(self, estimates, pool):
        return super().quality(estimates, pool).tolist()


class Graded(FairEstimator):
    def estimate(self, queries):
        return attrs.evolve(super().estimate(queries), complexity=np.array(["hard"] * len(queries)))


class Reporting(FairEstimator):
    def train(self, training):
        return {**super().train(training), "model": object()}


class Curved(FairEstimator):
    def train(self, training):
        return {**super().train(training), "curve": 5}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (ListsQualities, r"quality for any pool: quality must be an array of real numbers, not \[\["),
        (Graded, "shapes and ranges: complexity must be an array of real numbers, not an array of type <U4"),
        (OutOfRange, r"must lie in 0 to 1, or be NaN where unknown, not \["),
        (Reporting, r"training returns metrics: metrics\['model'\] must be a JSON value: Object of type object"),
        (Curved, r"training returns metrics: metrics\['curve'\] must be a list of mappings"),
    ],
)
def test_a_wrong_value_of_an_estimator_is_described(offer, target, message):
    with pytest.raises(AssertionError, match=message):
        assert_conforms("estimator", "mine", offer("estimator", target))
