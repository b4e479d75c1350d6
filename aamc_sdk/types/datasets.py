"""Queries with what is known of them offline: labels, outcomes, experience."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.arrays import Estimates, Outcomes
from aamc_sdk.types.decisions import Attempt, Decision, Feedback
from aamc_sdk.types.pools import Pool
from aamc_sdk.types.queries import Query
from aamc_sdk.types.records import Record


@attrs.frozen(eq=False)
class Labels:
    """What was annotated. Labels train estimators and never reach a router at test time.

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
    """A stretch of the log, in its order: what online routers learn from.

    Attributes:
        position: Where in the log it ends; learning goes on after it.
        queries: The query of each decision.
        estimates: What was estimated of them then.
        decisions: The decisions.
        attempts: The calls that followed, by decision id.
        feedback: What was thought of them, in the order in which it came.
        made: How many of the decisions were made in this stretch: the last ones. The others only have something in it.
        epoch: How often somebody was forgotten. What was learned in another epoch must be learned again from the start.
        follows: What names the entry that it comes after, ``""`` where the log has none there; None where the store does not say.
        last: What names its own last entry, or the one that it comes after where it is empty. Where the next stretch follows another
            one, the log has lost entries or is another one, and must be learned again from the start.
        expected_quality: What an estimator expected of the candidates then, by name; a mapping a decision, or none at all.
        records: The decisions with all that they were made from, a record each; or none at all, and then whoever needs them asks the log one by one.
    """

    position: int
    queries: Sequence[Query]
    estimates: Estimates
    decisions: Sequence[Decision]
    attempts: Sequence[Attempt] = ()
    feedback: Sequence[Feedback] = ()
    made: int = 0
    epoch: int = 0
    follows: str | None = None
    last: str | None = None
    expected_quality: Sequence[Mapping[str, float]] = ()
    records: Sequence[Record] = ()

    def about(self, queries: Sequence[Query]) -> Experience:
        """Return the decisions on some questions, with what followed them."""
        asked = set(map(question, queries))
        rows = np.array([row for row, query in enumerate(self.queries) if question(query) in asked], dtype=np.intp)
        decisions = [self.decisions[row] for row in rows]
        ids = {decision.id for decision in decisions}
        return attrs.evolve(
            self,
            queries=[self.queries[row] for row in rows],
            estimates=self.estimates.take(rows),
            decisions=decisions,
            attempts=[attempt for attempt in self.attempts if attempt.decision_id in ids],
            feedback=[feedback for feedback in self.feedback if feedback.decision_id in ids],
            made=int(np.count_nonzero(rows >= len(self.decisions) - self.made)),
            expected_quality=[self.expected_quality[row] for row in rows] if self.expected_quality else (),
            records=[self.records[row] for row in rows] if self.records else (),
        )


@attrs.frozen(eq=False)
class Dataset:
    """Queries, and whatever else is known of them; every other part is optional.

    Attributes:
        queries: Q of them.
        pool: The candidates of the outcomes.
        outcomes: What each candidate did, ``[Q, M]``.
        labels: Annotations, for training estimators and for tables by category.
        references: The right answers, where there are some.
        experience: Logged decisions, for routers that learn from logs.
        source: Where it comes from, for reports.
        cost_note: How costs were come by, where they were not measured.
    """

    queries: Sequence[Query]
    pool: Pool | None = None
    outcomes: Outcomes | None = None
    labels: Labels = attrs.field(factory=Labels)
    references: Sequence[str] | None = None
    experience: Experience | None = None
    source: str = ""
    cost_note: str = ""

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: NDArray[np.intp]) -> Dataset:
        """Return some rows, and the experience that is about their questions: a split tells nothing of another's."""
        queries = [self.queries[row] for row in rows]
        return attrs.evolve(
            self,
            queries=queries,
            outcomes=None if self.outcomes is None else self.outcomes.take(rows),
            labels=self.labels.take(rows),
            references=None if self.references is None else [self.references[row] for row in rows],
            experience=None if self.experience is None else self.experience.about(queries),
        )

    @property
    def only_compared(self) -> bool:
        """Whether nobody measured an outcome, while a log may say which candidate did better."""
        return self.outcomes is None and self.experience is not None

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether no outcome of a row is missing, ``[Q]``."""
        return np.ones(len(self), dtype=bool) if self.outcomes is None else self.outcomes.complete


class Vote(NamedTuple):
    """One comparison: on a query the winner did better than the loser; ``won`` is 1, or 0.5 where they tied."""

    query: Query
    winner: str
    loser: str
    won: float
    weight: float


def votes(experience: Experience) -> list[Vote]:
    """Return the comparisons in a log; feedback on decisions that it does not hold is left out."""
    made = {decision.id: (query, decision) for query, decision in zip(experience.queries, experience.decisions, strict=True)}
    found = []
    for feedback in experience.feedback:
        if feedback.over is not None and feedback.decision_id in made:
            query, decision = made[feedback.decision_id]
            winner = decision.candidate if feedback.candidate is None else feedback.candidate
            found.append(Vote(query, winner, feedback.over, 0.5 if feedback.tie else 1.0, feedback.weight * feedback.confidence))
    return found


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal: how runs name a question without holding it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def question(query: Query) -> str:
    """Return what makes two queries the same question: the text, whatever its spacing, its case and the form of its letters (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", query.text).split()).casefold()
