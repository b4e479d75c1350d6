"""Datasets: queries with labels, outcomes and experience."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import DataError
from aamc_sdk.messages import first_values, value_text
from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.arrays import Estimates, Outcomes
from aamc_sdk.types.decisions import Attempt, Decision, Feedback
from aamc_sdk.types.pools import Pool
from aamc_sdk.types.queries import Query
from aamc_sdk.types.records import Record
from aamc_sdk.types.texts import normalized_text

DatasetT = TypeVar("DatasetT", bound="Dataset")


@attrs.frozen(eq=False)
class Labels:
    """Annotations of queries. Labels train estimators and never reach a router at test time.

    Attributes:
        complexity: From 0 to 1, ``[B]``, or None.
        category: A name each, ``[B]``, or None.
        tool_use: 0 or 1, ``[B]``, or None.
    """

    complexity: Floats | None = None
    category: NDArray[np.str_] | None = None
    tool_use: Floats | None = None

    def take(self, rows: NDArray[np.intp]) -> Labels:
        """Return the labels of some rows."""
        columns = (self.complexity, self.category, self.tool_use)
        return Labels(*(None if column is None else column[rows] for column in columns))  # type: ignore[arg-type]  # same types


@attrs.frozen(eq=False)
class Experience:
    """A batch of the log's entries, in log order, from which online routers learn.

    Attributes:
        position: The log's position at which the batch ends; learning continues after it.
        queries: The query of each decision.
        estimates: The estimates of each query at the time of its decision; a function makes them when they are first asked for.
        decisions: The decisions, D of them.
        entries: The attempts and the feedback that followed, in log order.
        made: Number of decisions that were made in this batch: the last ones. The earlier ones only have attempts or feedback in it.
        epoch: Number of times that a user was forgotten. State that was learned in another epoch must be learned again from the start.
        follows: Name of the log's entry before the batch, ``""`` where there is none; None where the store does not say.
        last: Name of the batch's last entry, or of the entry before it where the batch is empty. If the next batch follows another entry,
            the log has lost entries or is another log, and must be learned again from the start.
        expected_quality: Each candidate's expected quality at the time of the decision, by name; one mapping a decision, or none at all.
        records: The decisions' records, one each; or none at all: then ask the log for them one by one.
        replaced: For feedback with a revision above 0, the revision that it replaced, which an earlier batch or this one holds.
        start: The position of the last entry that retention has dropped, 0 for none: a reader that is not there yet has missed some.
        decision_ids: The decisions' ids, one each, to find a decision without reading it; or none at all.
        entries_before: For each decision that was made in this batch, the number of entries before it; or none at all: then all decisions precede
            the entries.

    The experience of a store reads its rows lazily: routers learn nothing from most entries, and reading a decision takes longest. Pickling reads
    all of them.
    """

    position: int
    queries: Sequence[Query] = attrs.field(repr=first_values)
    _estimates: Estimates | Callable[[], Estimates]
    decisions: Sequence[Decision] = attrs.field(repr=first_values)
    entries: Sequence[Attempt | Feedback] = attrs.field(default=(), repr=first_values)
    made: int = 0
    epoch: int = 0
    follows: str | None = None
    last: str | None = None
    expected_quality: Sequence[Mapping[str, float]] = attrs.field(default=(), repr=first_values)
    records: Sequence[Record] = attrs.field(default=(), repr=first_values)
    replaced: Sequence[Feedback] = attrs.field(default=(), repr=first_values, kw_only=True)
    start: int = attrs.field(default=0, kw_only=True)
    decision_ids: Sequence[str] = attrs.field(default=(), repr=first_values, kw_only=True)
    entries_before: Sequence[int] = attrs.field(default=(), repr=first_values, kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.alias: getattr(self, field.name) for field in attrs.fields(type(self))}
        return partial(type(self), **{**values, "estimates": self.estimates}), ()

    @property
    def estimates(self) -> Estimates:
        """The estimates of each query at the time of its decision."""
        return self._estimates() if callable(self._estimates) else self._estimates

    def estimates_of(self, row: int) -> Estimates:
        """Return the estimates of one query, without reading the other decisions."""
        return self.records[row].estimates if self.records else self.estimates.take(slice(row, row + 1))

    @property
    def rows(self) -> dict[str, int]:
        """The row of each decision, by its id."""
        return {name: row for row, name in enumerate(self.decision_ids or [decision.id for decision in self.decisions])}

    @property
    def in_log_order(self) -> Iterator[int | Attempt | Feedback]:
        """The row of each decision that was made in this batch, and the entries, in log order."""
        first, done = len(self.decisions) - self.made, 0
        for row, before in zip(range(first, len(self.decisions)), self.entries_before or [0] * self.made, strict=True):
            yield from self.entries[done:before]
            yield row
            done = before
        yield from self.entries[done:]

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts among the entries."""
        return [entry for entry in self.entries if isinstance(entry, Attempt)]

    @property
    def feedback(self) -> list[Feedback]:
        """The feedback among the entries."""
        return [entry for entry in self.entries if isinstance(entry, Feedback)]

    def replaced_by(self, feedback: Feedback) -> Feedback | None:
        """Return the revision that a piece of feedback replaced, None for a first one."""
        if not self.replaced:
            return None
        earlier = [past for past in self.replaced if past.id == feedback.id and past.revision < feedback.revision]
        return max(earlier, key=lambda past: past.revision, default=None)

    def about(self, queries: Sequence[Query]) -> Experience:
        """Return the decisions on some questions, with their attempts and feedback; none without text, whose questions are unknown."""
        asked = {normalized_text(query.text) for query in queries} - {""}
        return self.take(np.array([row for row, query in enumerate(self.queries) if normalized_text(query.text) in asked], dtype=np.intp))

    def take(self, rows: NDArray[np.intp]) -> Experience:
        """Return some decisions, with their attempts and feedback."""
        decisions = [self.decisions[row] for row in rows]
        ids = {decision.id for decision in decisions}
        kept = [entry.decision_id in ids for entry in self.entries]
        kept_before = np.cumsum([0, *kept])
        first = len(self.decisions) - self.made
        return attrs.evolve(
            self,
            queries=[self.queries[row] for row in rows],
            estimates=self.estimates.take(rows),
            decisions=decisions,
            entries=[entry for entry, is_kept in zip(self.entries, kept, strict=True) if is_kept],
            replaced=[feedback for feedback in self.replaced if feedback.decision_id in ids],
            made=int(np.count_nonzero(rows >= first)),
            expected_quality=[self.expected_quality[row] for row in rows] if self.expected_quality else (),
            records=[self.records[row] for row in rows] if self.records else (),
            decision_ids=[decision.id for decision in decisions],
            entries_before=[int(kept_before[self.entries_before[row - first]]) for row in rows if row >= first] if self.entries_before else (),
        )


@attrs.frozen(eq=False)
class Dataset:
    """Queries with outcomes, labels and experience; everything but the queries is optional.

    Attributes:
        queries: The queries, Q of them.
        pool: The candidates of the outcomes, M of them.
        outcomes: Each candidate's outcome for each query, ``[Q, M]``.
        labels: Annotations, for training estimators and for tables by category.
        references: The right answers.
        experience: Logged decisions, for routers that learn from logs.
        source: The dataset's origin, for reports.
        cost_note: The origin of the costs, where they were not measured.
        groups: The group of each row, such as its user; the rows of one group stay in one split, and each row is a decision of the experience.
            None, and rows with an empty group: rows with equal or similar questions stay together.
        question_groups: The number of each row's group of near-duplicate questions, ``[Q]``, which folds of the rows keep together. Experiments
            set it for rows without groups, or with outcomes. None: only equal questions stay together.
        row_fields: Names of the fields that a subclass adds with one value a row.
    """

    row_fields: ClassVar[tuple[str, ...]] = ()
    queries: Sequence[Query] = attrs.field(repr=first_values)
    pool: Pool | None = None
    outcomes: Outcomes | None = None
    labels: Labels = attrs.field(factory=Labels)
    references: Sequence[str] | None = attrs.field(default=None, repr=first_values)
    experience: Experience | None = None
    source: str = ""
    cost_note: str = ""
    groups: Sequence[str] | None = attrs.field(default=None, repr=first_values)
    question_groups: NDArray[np.intp] | None = attrs.field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.queries)

    def take(self: DatasetT, rows: NDArray[np.intp]) -> DatasetT:
        """Return some rows, with their decisions or those on their questions only: one split holds nothing of another."""
        queries = [self.queries[row] for row in rows]
        own: dict[str, Any] = {name: [getattr(self, name)[row] for row in rows] for name in self.row_fields}
        experience = self.experience
        if experience is not None:
            experience = experience.take(rows) if self.rows_are_decisions else experience.about(queries)
        return attrs.evolve(
            self,
            queries=queries,
            outcomes=None if self.outcomes is None else self.outcomes.take(rows),
            labels=self.labels.take(rows),
            references=None if self.references is None else [self.references[row] for row in rows],
            experience=experience,
            groups=None if self.groups is None else [self.groups[row] for row in rows],
            question_groups=None if self.question_groups is None else self.question_groups[rows],
            **own,
        )

    @property
    def rows_are_decisions(self) -> bool:
        """Whether each row is a decision of the experience, at the same position, as in a log."""
        if self.experience is None:
            return False
        if self.groups is not None:
            return True
        logged = self.experience.queries
        return len(logged) == len(self) and all(own.text == query.text for own, query in zip(self.queries, logged, strict=True))

    @property
    def only_compared(self) -> bool:
        """Whether the dataset holds no measured outcome, only experience such as comparisons."""
        return self.outcomes is None and self.experience is not None

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether no outcome of a row is missing, ``[Q]``."""
        return np.ones(len(self), dtype=bool) if self.outcomes is None else self.outcomes.complete

    def complete_among(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether no outcome of an allowed candidate ``[Q, M]`` is missing in a row, ``[Q]``."""
        return self.complete if self.outcomes is None else self.outcomes.complete_among(allowed)


def check_dataset(dataset: Dataset, name: str) -> None:
    """Check that a dataset holds queries, and that each array has one row a query and values in its range.

    Raises:
        DataError: One does not; the message begins with the name.
    """
    try:
        _check_rows(dataset)
        _check_outcomes(dataset.outcomes, dataset)
        _check_experience(dataset.experience)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _check_rows(dataset: Dataset) -> None:
    if isinstance(dataset.queries, Iterator):
        raise DataError(f"queries must be a list of aamc_sdk.Query objects, not {type(dataset.queries).__name__}")
    rows = len(dataset)
    if rows and not isinstance(first := dataset.queries[0], Query):  # those of a log are read one by one, and all alike
        raise DataError(f"queries must be aamc_sdk.Query objects, not {type(first).__name__}")
    for name in ("complexity", "category", "tool_use"):
        column = getattr(dataset.labels, name)
        if column is not None and np.shape(column) != (rows,):
            raise DataError(f"labels.{name} must have one row a query, {rows}, not be of shape {np.shape(column)}")
    for name in ("references", "groups"):
        entries = getattr(dataset, name)
        if entries is not None and len(entries) != rows:
            raise DataError(f"{name} must have one entry a query, {rows}, not {len(entries)}")


def _check_outcomes(outcomes: Outcomes | None, dataset: Dataset) -> None:
    if outcomes is None:
        return
    if not isinstance(outcomes, Outcomes):
        raise DataError(f"outcomes must be aamc_sdk.Outcomes, not {type(outcomes).__name__}")
    if not isinstance(dataset.pool, Pool):
        raise DataError(f"outcomes need a pool, an aamc_sdk.Pool, not {type(dataset.pool).__name__}")
    shape = (len(dataset), len(dataset.pool))
    for name, top in (("quality", 1), ("cost_usd", np.inf), ("latency_ms", np.inf)):
        figures = getattr(outcomes, name)
        if figures is None and name == "quality":
            continue
        if not isinstance(figures, np.ndarray) or figures.dtype.kind not in "fiub":
            raise DataError(f"outcomes.{name} must be an array of numbers, not {value_text(figures)}")
        if figures.shape != shape:
            raise DataError(f"outcomes.{name} must be of shape {shape} (queries, candidates), not {figures.shape}")
        wrong = (figures < 0) | (figures > top) | np.isinf(figures)
        if wrong.any():
            row, candidate = np.argwhere(wrong)[0]
            allowed = "from 0 to 1" if top == 1 else "finite and at least 0"
            where = f"row {row}, candidate {dataset.pool.names[candidate]!r}"
            raise DataError(f"outcomes.{name} must be {allowed}, or NaN where unknown, not {figures[row, candidate]} ({where})")


def _check_experience(experience: Experience | None) -> None:
    if experience is None:
        return
    rows = len(experience.decisions)
    ids = Counter(decision.id for decision in experience.decisions)
    if len(experience.queries) != rows:
        raise DataError(f"the experience must have one query a decision, {rows}, not {len(experience.queries)}")
    if len(ids) < rows:
        twice = sorted(name for name, count in ids.items() if count > 1)
        raise DataError(f"ids of decisions must be unique, so that feedback counts for one of them; used twice: {', '.join(twice[:3])}")
    if len({(item.id, item.revision) for item in experience.feedback}) < len(experience.feedback):
        raise DataError("ids of feedback must be unique within a revision, so that each piece counts once")
