"""Feedback as rows of the log."""

from __future__ import annotations

from aamc_sdk.log.json_text import encode
from aamc_sdk.log.rows.row import FEEDBACK, Row, columns_from
from aamc_sdk.types import Feedback


def feedback_row(feedback: Feedback) -> Row:
    """Return feedback as it is kept; its time is no part of its content, so a later repetition is still the same."""
    fields = {
        "decision_id": feedback.decision_id,
        "quality": feedback.quality,
        "candidate": feedback.candidate,
        "over": feedback.over,
        "tie": feedback.tie,
        "confidence": feedback.confidence,
        "weight": feedback.weight,
        "source": feedback.source,
        **({"revision": feedback.revision} if feedback.revision else {}),
        "id": feedback.id,
    }
    return Row(
        kind=FEEDBACK,
        id=feedback.id,
        decision_id=feedback.decision_id,
        candidate=feedback.candidate or "",
        content=encode(fields),
        time=feedback.time,
        revision=feedback.revision,
        columns=columns_from(FEEDBACK, fields),
    )


def feedback_from(row: Row) -> Feedback:
    """Return the feedback that a row keeps, with the judged candidate where that is known."""
    return Feedback(**row.fields | {"candidate": row.candidate or None, "time": row.time})
