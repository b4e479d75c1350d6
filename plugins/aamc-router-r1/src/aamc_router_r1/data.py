"""Questions to train on, each with its gold answers, its models, and perhaps a demonstration; and their published format, records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_datasets.json_rows import MAX_MS, MAX_USD, bounded_number, json_records, parse_rows, require, text
from aamc_datasets.recognition import existing

from aamc_router_r1.protocol import ModelNames, Segment, format_errors, information
from aamc_router_r1.questions import golds_of
from aamc_sdk import DatasetFormat
from aamc_sdk.errors import ConfigError, DataError, PoolError
from aamc_sdk.messages import check_known, check_type, nearest, one_of
from aamc_sdk.types import Dataset, Labels, Latency, ModelSpec, Pool, Prices, Query


@attrs.frozen
class Consultation:
    """A demonstrated turn that consults a model: the reasoning before it, the model, the sub-question and its reply."""

    thinking: str
    model: str
    query: str
    reply: str


@attrs.frozen(kw_only=True)
class RoutingTask:
    """A question to train on.

    Attributes:
        golds: The gold answers; any of them is right.
        specs: The models that may be consulted; ``quality`` is their measured quality, by name and category.
        consultations: The demonstrated consultations; none is a demonstration too if there is an answer.
        conclusion: The reasoning before the demonstrated answer; both are ``""`` without a demonstration.
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
        simulator: Makes the :class:`aamc_router_r1.training.replies.Simulator` of these tasks from a seed; None for the one of records.
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
    """Return the tasks of a dataset; those of other formats consult the pool's models, without those to leave out.

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


def check_endpoints(pool: Pool, tasks: Sequence[RoutingTask], otherwise: str = "") -> None:
    """Raise ConfigError if a model of the tasks cannot be called; ``otherwise`` says what to do instead of giving it an endpoint."""
    callable_names = {candidate.name for candidate in pool if candidate.endpoint is not None}
    for task in tasks:
        for spec in task.specs:
            if spec.name not in callable_names:
                raise ConfigError(
                    f"{spec.name!r} is to reply to {task.question!r:.80} and has no endpoint in the pool; add it to the file of --pool{otherwise}"
                )


KEYS = ("query", "query_type", "candidate_models", "ground_truth", "optimal_model", "reasoning", "steps", "conclusion")
MODEL_KEYS = ("name", "cost", "prices", "latency", "description", "abilities", "quality")
STEP_KEYS = ("thinking", "model", "query", "reply")
CONCLUDED = "The information answers the question."


def parse_record(row: Any) -> RoutingTask:
    """Return the task of a record.

    ``query``, ``candidate_models`` and ``ground_truth`` (a text, or a list of accepted answers) are needed. With ``optimal_model`` the record
    is a demonstration too: think the ``reasoning``, ask that model the query, and answer with its reply. ``steps`` demonstrates several
    consultations instead, each with ``thinking``, ``model``, ``query`` and ``reply``.

    Raises:
        DataError: A value is missing or wrong.
    """
    require(row, ("query", "candidate_models", "ground_truth"))
    check_known(row, KEYS, "a record has no key", DataError, "its keys")
    models = row["candidate_models"]
    if not isinstance(models, list) or not models:
        raise DataError(f"'candidate_models' must be a list of at least one model, not {models!r:.80}")
    specs, measured = zip(*(_model(model) for model in models), strict=True)
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise DataError(f"'candidate_models' names {next(name for name in names if names.count(name) > 1)!r} twice; give each model once")
    golds = row["ground_truth"] if isinstance(row["ground_truth"], list) else [row["ground_truth"]]
    if not golds or not all(isinstance(gold, str) and gold.strip() for gold in golds):
        raise DataError(f"'ground_truth' must be a text or a list of texts that are not empty, not {row['ground_truth']!r:.80}")
    question, steps = text(row, "query"), _steps(row, names, golds[0])
    task = RoutingTask(
        question=question,
        golds=golds,
        specs=specs,
        quality=dict(zip(names, measured, strict=True)),
        kind=_optional_text(row, "query_type"),
        consultations=steps,
        conclusion=_optional_text(row, "conclusion") or CONCLUDED,
        answer=golds[0] if steps else "",
    )
    if steps and (faults := format_errors(task.demonstration(), ModelNames(names))):
        raise DataError(f"the demonstration breaks the protocol: {faults[0]}")
    return task


def _steps(row: Mapping[str, Any], names: list[str], gold: str) -> list[Consultation]:
    """Return the demonstrated consultations; empty without a demonstration."""
    best, reasoning = _optional_text(row, "optimal_model"), _optional_text(row, "reasoning")
    steps = row.get("steps")
    if steps is None:
        steps = [{"thinking": reasoning or f"{best} suits this question.", "model": best, "query": row["query"], "reply": gold}] if best else []
    found = []
    for step in check_type(steps, list, "'steps' must be a list of consultations", DataError):
        require(step, STEP_KEYS)
        check_known(step, STEP_KEYS, "a step has no key", DataError, "its keys")
        found.append(Consultation(*(text(step, key) for key in STEP_KEYS)))
    for name in [best] * bool(best) + [step.model for step in found]:
        if name not in names:
            raise DataError(f"{name!r} is not one of 'candidate_models'{nearest(name, names)} ({one_of(names)})")
    return found


def _model(row: Any) -> tuple[ModelSpec, dict[str, float]]:
    """Return a model of a record and its measured quality: its cost and prices are USD per million tokens, its latency seconds."""
    require(row, ("name", "cost", "latency"))
    check_known(row, MODEL_KEYS, "a model has no key", DataError, "its keys")
    name = text(row, "name")
    for key in ("cost", "latency"):
        if row[key] is None:
            raise DataError(f"{key!r} of model {name!r} must be a number, not null")
    cost = bounded_number(row["cost"], f"'cost' of model {name!r}", MAX_USD)
    latency_ms = 1000 * bounded_number(row["latency"], f"'latency' of model {name!r}", MAX_MS / 1000)
    abilities, quality = row.get("abilities", []), row.get("quality", {})
    if not isinstance(abilities, list) or not all(isinstance(ability, str) for ability in abilities):
        raise DataError(f"'abilities' of model {name!r} must be a list of texts, not {abilities!r:.80}")
    check_type(quality, Mapping, f"'quality' of model {name!r} must map categories to numbers from 0 to 1", DataError)
    measured = {category: bounded_number(value, f"'quality' of model {name!r}", 1.0) for category, value in quality.items()}
    about = _optional_text(row, "description")
    spec = ModelSpec(name, description=about, abilities=frozenset(abilities), prices=_prices(row, name, cost), latency=Latency(service_ms=latency_ms))
    return spec, measured


def _prices(row: Mapping[str, Any], name: str, cost: float) -> Prices:
    """Return a model's ``prices``; without them its cost counts for input and output tokens."""
    given = row.get("prices", {"input": cost, "output": cost})
    if not isinstance(given, Mapping) or set(given) != {"input", "output"} or None in given.values():
        raise DataError(f"'prices' of model {name!r} must be an object with the numbers input and output, not {given!r:.80}")
    return Prices(**{key: bounded_number(value, f"{key!r} of 'prices' of model {name!r}", MAX_USD) for key, value in given.items()})


def _optional_text(row: Mapping[str, Any], key: str) -> str:
    value: str = check_type(row.get(key, ""), str, f"{key!r} must be a text", DataError)
    return value.strip()


def read_records(path: str) -> list[RoutingTask]:
    """Return the tasks of a file of records: JSON lines, or one JSON list in a file ``*.json``. An error has the line."""
    file = existing(path, "file of training records")
    return parse_rows(file, ((f"{file}, line {line}", row) for line, row in json_records(file)), parse_record)


class RoutingRecords(DatasetFormat):
    """Training records of Router-R1: ``router-r1:FILE``."""

    def read(self, path: str) -> RoutingDataset:
        """Read records.

        Raises:
            DataError: The file is missing, or a record is wrong; the message gives its line.
        """
        return as_dataset(read_records(path), f"router-r1:{path}")
