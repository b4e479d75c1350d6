"""Questions to train on: each with its gold answers, its models, and perhaps a demonstration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_router_r1.protocol import Segment, information
from aamc_router_r1.questions import golds_of
from aamc_sdk.errors import PoolError
from aamc_sdk.types import Dataset, Labels, ModelSpec, Pool, Query


@attrs.frozen
class Consultation:
    """A demonstrated turn that consults a model.

    Attributes:
        thinking: The reasoning before it.
        model: The model's name.
        query: The sub-question.
        reply: The model's reply.
    """

    thinking: str
    model: str
    query: str
    reply: str


@attrs.frozen(kw_only=True)
class RoutingTask:
    """A question to train on.

    Attributes:
        question: The question.
        golds: The gold answers; any of them is right.
        specs: The models that may be consulted.
        quality: Their measured quality, by name and category.
        kind: The question's category; ``""`` if unknown.
        consultations: The demonstrated consultations; none is a demonstration too if there is an answer.
        conclusion: The reasoning before the demonstrated answer.
        answer: The demonstrated answer; ``""`` without a demonstration.
        alpha: The weight of the cost that the demonstration suits; None for any.
        simulation: What the dataset's own simulation needs to know of this question.
    """

    question: str
    golds: Sequence[str]
    specs: Sequence[ModelSpec]
    quality: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    kind: str = ""
    consultations: Sequence[Consultation] = ()
    conclusion: str = ""
    answer: str = ""
    alpha: float | None = None
    simulation: object = None

    def demonstration(self, observation_tokens: int = 600) -> list[Segment]:
        """Return the demonstrated episode; empty without one."""
        if not self.answer:
            return []
        segments = []
        for turn in self.consultations:
            segments.append(Segment(f"<think> {turn.thinking} </think>\n<search> {turn.model}: {turn.query} </search>", True))
            segments.append(Segment(information(turn.reply, observation_tokens), False))
        return [*segments, Segment(f"<think> {self.conclusion} </think>\n<answer> {self.answer} </answer>", True)]


@attrs.frozen(eq=False)
class RoutingDataset(Dataset):
    """A dataset whose rows are routing tasks.

    Attributes:
        tasks: Each row's task.
        simulator: Makes the :class:`aamc_router_r1.training.replies.Simulator` of these tasks from a seed; None for none.
    """

    row_fields = ("tasks",)
    tasks: Sequence[RoutingTask] = ()
    simulator: Callable[[int], Any] | None = None


def as_dataset(tasks: Sequence[RoutingTask], source: str, simulator: Callable[[int], Any] | None = None) -> RoutingDataset:
    """Return tasks as a dataset: questions as queries, kinds as categories, first gold answers as references."""
    labels = Labels(category=np.array([task.kind for task in tasks], dtype=np.str_))
    queries, references = [Query(task.question) for task in tasks], [task.golds[0] for task in tasks]
    return RoutingDataset(queries, labels=labels, references=references, source=source, tasks=tasks, simulator=simulator)


def _without(task: RoutingTask, leave_out: Sequence[str]) -> RoutingTask:
    """Return a task whose models leave some out; a demonstration that consults one of those is dropped."""
    if not any(spec.name in leave_out for spec in task.specs):
        return task
    specs = [spec for spec in task.specs if spec.name not in leave_out]
    if not specs:
        raise PoolError(f"{task.question!r:.80} has no model to consult besides the policy; add one to its record")
    kept = attrs.evolve(task, specs=specs)
    demonstrated = any(step.model in leave_out for step in task.consultations)
    return attrs.evolve(kept, consultations=(), answer="") if demonstrated else kept


def tasks_of(dataset: Dataset, pool: Pool, leave_out: Sequence[str] = ()) -> list[RoutingTask]:
    """Return the tasks of a dataset; those of another format than ours consult the pool's models, without those to leave out.

    Raises:
        DataError: The dataset has no references.
        PoolError: There is no model to consult.
    """
    if isinstance(dataset, RoutingDataset):
        return [_without(task, leave_out) for task in dataset.tasks]
    specs = [candidate for candidate in pool if isinstance(candidate, ModelSpec) and candidate.name not in leave_out]
    if not specs:
        raise PoolError("the pool has no model to consult besides the policy; name one with models by --pool")
    rows = zip(dataset.queries, golds_of(dataset), strict=True)
    return [RoutingTask(question=query.text, golds=golds, specs=specs) for query, golds in rows]
