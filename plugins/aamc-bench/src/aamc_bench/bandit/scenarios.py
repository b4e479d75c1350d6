"""The streams of each scenario: what is asked, what every candidate would do, and what a router is told of it, and when.

A stream is an order of the rows, and luck; both follow from the seed and the stream's number. All routers meet the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bench.bandit.material import Material
from aamc_sdk.types import Floats, Outcomes, RoutingRequest

JOINS = 1 / 3
"""When the new model joins, as a share of the stream."""
DEGRADES, RESTARTS = 1 / 2, 1 / 2
"""When the model degrades, and when the router is restarted, likewise."""
LOST = 0.5
"""Share of the degraded model's answers that are worth nothing."""
LATEST = 200
"""Most decisions that are made before delayed feedback comes."""
SPARSE = 0.05
"""Share of the decisions that get feedback, where it is sparse."""
POISONED = 0.1
"""Share of the feedback that says the opposite, where it is poisoned."""
NEVER = -1


@attrs.frozen(eq=False)
class Stream:
    """T decisions in a row, among at most M candidates.

    Attributes:
        request: The rows in the order of the stream, of the whole pool.
        before: The same while the new model is not there, of the other candidates.
        joins: From which decision on the whole pool is there; 0 for always.
        outcomes: What every candidate would do, ``[T, M]``.
        reward: What that is worth, ``[T, M]``.
        told_at: Before which decision the feedback on each comes, ``[T]``; ``NEVER`` for none.
        opposite: Whether it says the opposite, ``[T]``.
        restart: Before which decision the router is saved and loaded; None for not at all.
    """

    request: RoutingRequest
    before: RoutingRequest
    joins: int
    outcomes: Outcomes
    reward: Floats
    told_at: NDArray[np.intp]
    opposite: NDArray[np.bool_]
    restart: int | None = None

    @property
    def available(self) -> NDArray[np.bool_]:
        """Which candidates are there, ``[T, M]``."""
        names = np.array(self.request.pool.names)
        there = np.ones(self.reward.shape, dtype=bool)
        there[: self.joins] = np.isin(names, self.before.pool.names)
        return there

    @property
    def best(self) -> Floats:
        """The greatest reward of a candidate that is there, ``[T]``."""
        return np.asarray(np.where(self.available, self.reward, -np.inf).max(axis=1))

    @property
    def best_fixed(self) -> int:
        """The candidate that is there all the time and has the greatest sum of rewards: the best in hindsight."""
        return int(np.where(self.available.all(axis=0), self.reward.sum(axis=0), -np.inf).argmax())


Change = Callable[[Stream, Material, np.random.Generator], Stream]


def stationary(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """Nothing changes, and feedback comes at once."""
    return stream


def drift(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """In mid-stream the model that was best so far begins to fail half of the time."""
    quality = stream.outcomes.known_quality.copy()
    start = int(DEGRADES * len(quality))
    quality[start:, material.best] *= rng.random(len(quality) - start) >= LOST
    outcomes = attrs.evolve(stream.outcomes, quality=quality)
    return attrs.evolve(stream, outcomes=outcomes, reward=material.reward(outcomes))


def new_model(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """The best model joins after a third of the stream; the estimator knows no outcome of it."""
    return attrs.evolve(stream, joins=int(JOINS * len(stream.reward)))


def delayed(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """Feedback comes up to 200 decisions late, in any order."""
    return attrs.evolve(stream, told_at=stream.told_at + rng.integers(LATEST, size=len(stream.told_at)))


def sparse(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """One decision in twenty gets feedback."""
    return attrs.evolve(stream, told_at=np.where(rng.random(len(stream.told_at)) < SPARSE, stream.told_at, NEVER))


def poisoned(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """One feedback in ten says the opposite."""
    return attrs.evolve(stream, opposite=rng.random(len(stream.opposite)) < POISONED)


def restart(stream: Stream, material: Material, rng: np.random.Generator) -> Stream:
    """In mid-stream the router is saved, and a fresh one loads what was saved."""
    return attrs.evolve(stream, restart=int(RESTARTS * len(stream.reward)))


NEW_MODEL = "new-model"
SCENARIOS: Mapping[str, Change] = {
    "stationary": stationary,
    "drift": drift,
    NEW_MODEL: new_model,
    "delayed": delayed,
    "sparse": sparse,
    "poisoned": poisoned,
    "restart": restart,
}


def make_stream(scenario: str, material: Material, steps: int, seed: int, number: int) -> Stream:
    """Return a stream of a scenario.

    Args:
        scenario: One of ``SCENARIOS``.
        material: The rows; each is met once.
        steps: The most decisions.
        seed: Of the experiment.
        number: The stream's.
    """
    order, luck = (np.random.default_rng((seed, number, part)) for part in range(2))
    rows = order.permutation(len(material.request))[:steps]
    outcomes = material.outcomes.take(rows)
    others = [m for m in range(len(material.request.pool)) if m != material.best]
    request = (material.unheard if scenario == NEW_MODEL else material.request).take(rows)
    stream = Stream(
        request=request,
        before=of_candidates(request, others),
        joins=0,
        outcomes=outcomes,
        reward=material.reward(outcomes),
        told_at=np.arange(1, len(rows) + 1),
        opposite=np.zeros(len(rows), dtype=bool),
    )
    return SCENARIOS[scenario](stream, material, luck)


def of_candidates(request: RoutingRequest, columns: list[int]) -> RoutingRequest:
    """Return a request for some of its candidates."""
    names = [request.pool.names[m] for m in columns]
    masked_why = {why: where[:, columns] for why, where in request.masked_why.items()}
    return attrs.evolve(
        request,
        pool=request.pool.subset(names),
        expected=request.expected.columns(columns),
        wait_ms=request.wait_ms[:, columns],
        mask=request.mask[:, columns],
        masked_why=masked_why,
    )
