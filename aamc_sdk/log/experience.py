"""From the log's rows to an experience: decisions, attempts and feedback joined."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, attempt_from, feedback_from, record_from
from aamc_sdk.types import Attempt, Estimates, Experience, Feedback, Record


def join(position: int, stretch: Sequence[Row], decisions: Sequence[Row], epoch: int, follows: str | None = None) -> Experience:
    """Return a stretch of the log's rows as an experience: :func:`experience_of` what they keep, and what it follows."""
    experience = experience_of(
        position,
        [record_from(row) for row in decisions],
        [attempt_from(row) for row in stretch if row.kind == ATTEMPT],
        [feedback_from(row) for row in stretch if row.kind == FEEDBACK],
        made=sum(row.kind == DECISION for row in stretch),
        epoch=epoch,
    )
    return attrs.evolve(experience, follows=follows, last=stretch[-1].name if stretch else follows)


def experience_of(
    position: int, records: Sequence[Record], attempts: Sequence[Attempt], feedback: Sequence[Feedback], made: int, epoch: int
) -> Experience:
    """Return a stretch of the log as an experience.

    Each attempt and each piece of feedback stands in exactly one stretch. A decision stands in
    every stretch that has something about it; ``made`` counts those whose own entry it is.

    Args:
        position: Where the stretch ends.
        records: The decisions that its entries are or name, in log order.
        attempts: Its attempts.
        feedback: Its feedback.
        made: How many of its entries are decisions.
        epoch: How often somebody was forgotten.
    """
    return Experience(
        position=position,
        queries=[record.query for record in records],
        estimates=Estimates.stack([record.estimates for record in records]),
        decisions=[record.decision for record in records],
        attempts=attempts,
        feedback=feedback,
        made=made,
        epoch=epoch,
        expected_quality=[_expected_quality(record) for record in records],
        records=records,
    )


def _expected_quality(record: Record) -> dict[str, float]:
    quality = record.expected.quality
    return {} if quality is None else dict(zip(record.candidates, quality[0].tolist(), strict=True))
