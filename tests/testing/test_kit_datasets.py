"""Each broken dataset format is caught by the check that is meant for it."""

import itertools

import attrs
import numpy as np
import pytest
from offering import failed

from aamc_sdk import DataError, DatasetFormat
from aamc_sdk.testing import estimates_of, make_dataset, require_consistent
from aamc_sdk.types import Decision, Experience, Feedback, Preference


class Careless(DatasetFormat):
    def read(self, path):
        with open(path) as file:  # noqa: PTH123  # as careless as it gets
            return file.read()


class FairFormat(DatasetFormat):
    def read(self, path):
        if path:
            raise DataError(f"cannot read {path!r}")
        return {"train": make_dataset(20), "test": make_dataset(10, first=100)}


class Leaking(FairFormat):
    def read(self, path):
        super().read(path)
        return {"train": make_dataset(20), "test": make_dataset(10, first=15)}


class Moody(FairFormat):
    moods = itertools.count()

    def read(self, path):
        super().read(path)
        return make_dataset(10, first=10 * next(self.moods))


class OtherNames(FairFormat):
    def read(self, path):
        super().read(path)
        return {"train": make_dataset(20), "valid": make_dataset(10, first=100)}


class Growing(FairFormat):
    reads = itertools.count()

    def read(self, path):
        super().read(path)
        return {("train", "test")[next(self.reads) % 2]: make_dataset(10)}


def logged(**changes):
    """Return a dataset whose experience has one judged decision a query."""
    dataset = make_dataset(3)
    decisions = [Decision(f"d{n}", "SLM-Tiny", 0.5, Preference()) for n in range(3)]
    feedback = [Feedback(decision_id=decision.id, quality=1.0) for decision in decisions]
    experience = Experience(6, dataset.queries, estimates_of(dataset), decisions, feedback)
    return attrs.evolve(dataset, experience=attrs.evolve(experience, estimates=experience.estimates, **changes))


def with_outcomes(**changes):
    dataset = make_dataset(3)
    return attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, **changes))


def test_a_careless_dataset_format_is_caught(offer):
    assert {"bad paths are refused", "what is read is consistent"} <= failed(offer("dataset", Careless), "dataset")


@pytest.mark.parametrize(
    ("target", "checks"),
    [
        (FairFormat, set()),
        (Leaking, {"what is read is consistent"}),
        (OtherNames, {"what is read is consistent"}),
        (Moody, {"reading twice gives the same"}),
        (Growing, {"reading twice gives the same"}),
    ],
)
def test_a_broken_format_is_caught(offer, target, checks):
    assert failed(offer("dataset", target), "dataset") == checks


def test_logged_decisions_are_consistent():
    require_consistent(logged())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: logged(decisions=[Decision("d0", "SLM-Tiny", 0.5, Preference())] * 3), "ids of decisions must be unique.* used twice: d0"),
        (lambda: logged(entries=[Feedback(decision_id="d0", quality=1.0)] * 2), "ids of feedback must be unique"),
        (lambda: logged(queries=[]), "one query a decision, 3, not 0"),
        (
            lambda: with_outcomes(cost_usd=np.full((3, 4), -1.0)),
            r"outcomes.cost_usd must be finite and at least 0, .* not -1.0 \(row 0, candidate 'SLM-Tiny'\)",
        ),
        (lambda: with_outcomes(latency_ms=np.full((3, 4), np.inf)), "latency_ms must be finite"),
        (lambda: with_outcomes(latency_ms=[[1.0] * 4] * 3), r"outcomes.latency_ms must be an array of numbers, not \[\[1.0, "),
        (
            lambda: with_outcomes(quality=np.full((3, 4), "good")),
            r"outcomes.quality must be an array of numbers, not an array of shape \(3, 4\) and type <U4",
        ),
        (lambda: attrs.evolve(make_dataset(3), outcomes={"quality": []}), "outcomes must be aamc_sdk.Outcomes, not dict"),
        (lambda: attrs.evolve(make_dataset(3), pool=["small"]), "outcomes need a pool, an aamc_sdk.Pool, not list"),
        (lambda: with_outcomes(quality=np.full((3, 4), 1.5)), "outcomes.quality must be from 0 to 1, or NaN where unknown, not 1.5"),
        (lambda: attrs.evolve(make_dataset(3), groups=["a"]), "groups must have one entry a query, 3, not 1"),
    ],
)
def test_an_inconsistent_dataset_is_described(dataset, message):
    with pytest.raises(AssertionError, match=message):
        require_consistent(dataset())
