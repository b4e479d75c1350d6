"""Synthetic data for the kit: a pool, queries with labels and outcomes, estimates, requests, and an environment without Gymnasium.

The data needs no files, is always the same, and can be learned: harder queries succeed less often, and
more expensive candidates succeed more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.interfaces import Environment, Reward
from aamc_sdk.routing import LinearReward, build_request, encode, expected_cost, token_counts
from aamc_sdk.types import (
    Dataset,
    Decision,
    Estimates,
    Experience,
    Feedback,
    Floats,
    Labels,
    Latency,
    ModelSpec,
    Outcomes,
    Pool,
    Preference,
    Prices,
    Query,
    RoutingRequest,
    normalized_text,
)

POOL = Pool(
    [
        ModelSpec("SLM-Tiny", "A tiny model for easy requests.", prices=Prices(0.05, 0.05), latency=Latency(20, 100)),
        ModelSpec("SLM-Medium", "A balanced small model.", prices=Prices(0.15, 0.6), latency=Latency(30, 300)),
        ModelSpec("LLM-Code", "Strong in code.", frozenset({"code", "tools"}), Prices(0.8, 0.8), Latency(30, 500), 4096),
        ModelSpec("LLM-XLarge", "The largest model.", frozenset({"code", "tools"}), Prices(10, 40), Latency(50, 1500)),
    ]
)
"""Four candidates, two of which have tools, one of which has a short context window."""

NEWCOMER = ModelSpec("Newcomer", "A model that no component was trained on.", frozenset({"code"}), Prices(1, 2), Latency(30, 600))
"""A candidate that is not in ``POOL``."""
GROWN = Pool((NEWCOMER, *POOL.candidates))
"""The pool with one more candidate, before the others."""
ORDER = [2, 0, 3, 1]
PERMUTED = Pool(POOL.candidates[m] for m in ORDER)
"""The candidates of the pool in that order."""

_SKILL = {"SLM-Tiny": 0.45, "SLM-Medium": 0.7, "LLM-Code": 0.8, "LLM-XLarge": 1.0, "Newcomer": 0.75}
_TEMPLATES = {
    "chat": "Good morning number {n}, how are you",
    "code": "Write a Python function that sorts list {n}",
    "math": "Prove that equation {n} has exactly one solution",
}
CATEGORIES = tuple(_TEMPLATES)
"""The categories of the queries, C of them."""
EMBEDDING_WIDTH = 8


def make_dataset(size: int, first: int = 0) -> Dataset:
    """Return ``size`` labelled queries with outcomes and right answers, numbered from ``first`` on; separate ranges share no question."""
    numbers = np.arange(first, first + size)
    category = np.array(CATEGORIES)[numbers % len(CATEGORIES)]
    complexity = (numbers * 0.37) % 1.0
    tool_use = (numbers % 4 == 0).astype(float)
    queries = [
        Query(_TEMPLATES[name].format(n=n) + ", please" * (n % 5), needs=frozenset({"tools"} if tool else ()), output_tokens=64 + n % 64)
        for name, n, tool in zip(category.tolist(), numbers.tolist(), tool_use, strict=True)
    ]
    labels = Labels(complexity=complexity, category=category, tool_use=tool_use)
    references = [str(n) for n in numbers]
    return Dataset(queries, POOL, _outcomes(queries, complexity, numbers), labels, references, source="aamc_sdk.testing")


def with_feedback(dataset: Dataset) -> Dataset:
    """Return a dataset of :func:`make_dataset` with one logged decision a query, by four users in turn, and its outcome as feedback."""
    assert dataset.outcomes is not None
    queries = [attrs.evolve(query, user=f"user-{row % 4}") for row, query in enumerate(dataset.queries)]
    decisions = [
        Decision(f"log-{normalized_text(query.text)[:12]}", POOL.names[row % len(POOL)], 0.25, Preference()) for row, query in enumerate(queries)
    ]
    quality = dataset.outcomes.known_quality
    feedback = [Feedback(decision_id=decision.id, quality=float(quality[row, row % len(POOL)])) for row, decision in enumerate(decisions)]
    experience = Experience(2 * len(decisions), queries, estimates_of(dataset), decisions, feedback, made=len(decisions))
    return attrs.evolve(dataset, experience=experience)


def with_gaps(dataset: Dataset) -> Dataset:
    """Return a dataset of :func:`make_dataset` without the outcome of one candidate in each fifth row, of each candidate in turn."""
    assert dataset.outcomes is not None
    rows = np.arange(0, len(dataset), 5)
    figures = {name: np.array(values, dtype=float) for name, values in attrs.asdict(dataset.outcomes, recurse=False).items()}
    for values in figures.values():
        values[rows, rows // 5 % len(POOL)] = np.nan
    return attrs.evolve(dataset, outcomes=Outcomes(**figures))


def _outcomes(queries: Sequence[Query], complexity: Floats, numbers: NDArray[np.int_]) -> Outcomes:
    draws = np.stack([np.random.default_rng(int(n)).random(len(POOL)) for n in numbers])
    quality = (draws < _success(complexity, POOL)).astype(float)
    tokens = token_counts(queries)[:, 1:] * (0.5 + draws)
    return Outcomes(quality, expected_cost(queries, POOL), POOL.arrays.latency_ms * (0.5 + draws), output_tokens=tokens)


def _success(complexity: Floats, pool: Pool) -> Floats:
    skill = np.array([_SKILL[name] for name in pool.names])
    return np.clip(skill - 0.6 * complexity[:, None] * (1.05 - skill), 0.0, 1.0)


def estimates_of(dataset: Dataset) -> Estimates:
    """Return plausible estimates for a dataset's queries: its softened labels and an embedding of them."""
    labels = dataset.labels
    assert labels.complexity is not None
    assert labels.category is not None
    assert labels.tool_use is not None
    one_hot = labels.category[:, None] == np.array(CATEGORIES)
    numbers = np.column_stack((labels.complexity, labels.tool_use, one_hot))
    mixing = np.random.default_rng(0).normal(size=(numbers.shape[1], EMBEDDING_WIDTH))
    return Estimates(
        complexity=labels.complexity,
        categories=0.1 + 0.7 * one_hot,
        category_names=CATEGORIES,
        tool_use=0.1 + 0.8 * labels.tool_use,
        embedding=(numbers @ mixing).astype(np.float32),
        fingerprint="aamc_sdk.testing",
    )


def make_request(dataset: Dataset, pool: Pool = POOL, *, hindsight: bool = False) -> RoutingRequest:
    """Return the request of the rows of a :func:`make_dataset`, under four preferences in turn; ``hindsight`` is for privileged routers.

    The pool's candidates are out of ``POOL`` and ``NEWCOMER``, in any order.
    """
    preferences = np.array([Preference().array, (0.6, 0.4, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
    estimates = estimates_of(dataset)
    rows = len(dataset)
    request = build_request(
        dataset.queries, pool, preferences[np.arange(rows) % 4], estimates=estimates, quality=_success(estimates.complexity, pool)
    )
    return attrs.evolve(request, hindsight=request.expected) if hindsight else request


def make_reward(dataset: Dataset) -> LinearReward:
    """Return the default reward on the scales of a dataset."""
    reward = LinearReward()
    assert dataset.outcomes is not None
    reward.fit(dataset.outcomes)
    return reward


class TableEnvironment(Environment):
    """Plays a dataset's rows; outcomes are the dataset's own."""

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the splits, whose outcomes must be known."""
        self.splits = dict(splits)

    def dataset(self, split: str) -> Dataset:
        """Return a split."""
        return self.splits[split]

    def vector(
        self,
        n: int,
        split: str,
        *,
        request: RoutingRequest | None = None,
        seed: int = 0,
        streams: NDArray[np.intp] | None = None,
        preferences: Floats | None = None,
    ) -> Any:
        """Return n streams over a split, see :class:`TableStreams`."""
        dataset = self.splits[split]
        rows = make_request(dataset) if request is None else request
        assert dataset.outcomes is not None
        numbers = np.arange(n) if streams is None else streams
        return TableStreams(rows, dataset.outcomes, self.services.reward, numbers, seed, preferences)


class TableStreams:
    """Streams in the form of :class:`aamc_sdk.interfaces.RoutingStreams`.

    They are truncated after 50 steps and restart in the same step (Gymnasium's ``SAME_STEP``).
    """

    horizon = 50

    def __init__(
        self, rows: RoutingRequest, outcomes: Outcomes, reward: Reward, streams: NDArray[np.intp], seed: int, preferences: Floats | None
    ) -> None:
        self.num_envs = len(streams)
        self._rows = rows
        self._outcomes = outcomes
        self._reward = reward
        self._streams = streams
        self._seed = seed
        self._preferences = preferences
        self._time = 0
        self._episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Restart all streams; the same seed gives the same queries."""
        self._seed = self._seed if seed is None else seed
        self._time, self._episode = 0, 0
        self._arrive()
        return self._observe(), {}

    @property
    def state(self) -> Floats:
        """Nothing, ``[n, 0]``: decisions change no later outcome."""
        return np.empty((self.num_envs, 0))

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with hindsight."""
        present = self._rows.take(self._row)
        if self._preferences is not None:
            present = present.with_preference(self._preferences)
        return attrs.evolve(present, hindsight=self._outcomes.take(self._row))

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer each stream's query; a masked action fails at the maximum allowed cost and latency."""
        request = self.request()
        chosen = np.arange(self.num_envs), np.asarray(actions)
        masked = ~request.mask[chosen]
        happened = _charged(self._outcomes.take(self._row), request.mask, chosen, masked)
        vector = self._reward.vector(happened)
        scalars = (self._reward.weights(request.preferences) * vector).sum(axis=1)
        info = attrs.asdict(happened, recurse=False) | {"vector_reward": vector, "row": self._row, "masked": masked}
        truncated = np.full(self.num_envs, self._time + 1 == self.horizon)
        self._time += 1
        self._arrive()
        if truncated.all():
            info |= {"final_obs": np.fromiter(self._observe(), dtype=object), "_final_obs": truncated}
            self._time, self._episode = 0, self._episode + 1
            self._arrive()
        return self._observe(), scalars, np.zeros(self.num_envs, dtype=bool), truncated, info

    def close(self) -> None:
        """Do nothing: the streams hold no resources."""

    def _arrive(self) -> None:
        draws = np.random.default_rng((self._seed, self._episode, self._time)).integers(len(self._rows), size=int(self._streams.max()) + 1)
        self._row = draws[self._streams]

    def _observe(self) -> NDArray[np.float32]:
        return encode(self.request(), self._reward).flat()


def _charged(outcomes: Outcomes, mask: NDArray[np.bool_], chosen: tuple[NDArray[Any], NDArray[Any]], masked: NDArray[np.bool_]) -> Outcomes:
    """Return each stream's outcome ``[n]``: of the chosen candidate, or the worst allowed one if that is masked."""
    worst_cost, worst_latency = (np.where(mask, values, -np.inf).max(axis=1) for values in (outcomes.cost_usd, outcomes.latency_ms))
    return Outcomes(
        quality=np.where(masked, 0.0, outcomes.known_quality[chosen]),
        cost_usd=np.where(masked, worst_cost, outcomes.cost_usd[chosen]),
        latency_ms=np.where(masked, worst_latency, outcomes.latency_ms[chosen]),
    )
