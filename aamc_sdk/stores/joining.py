"""From the log's rows to an experience: decisions, attempts and feedback joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aamc_sdk.batch import Estimates, Floats
from aamc_sdk.dataset import Experience
from aamc_sdk.log import Record
from aamc_sdk.stores.records import ATTEMPT, DECISION, FEEDBACK, Row, attempt_from, feedback_from, record_from


def join(position: int, stretch: Sequence[Row], decisions: Sequence[Row], epoch: int) -> Experience:
    """Return a stretch of the log as an experience.

    Each attempt and each piece of feedback stands in exactly one stretch. A decision stands in
    every stretch that has something about it; ``made`` counts those whose own entry it is.

    Args:
        position: Where the stretch ends.
        stretch: Its entries, in log order.
        decisions: The decisions that they are or name, in log order.
        epoch: How often somebody was forgotten.
    """
    records = [record_from(row) for row in decisions]
    return Experience(
        position=position,
        queries=[record.query for record in records],
        estimates=_stack([record.estimates for record in records]),
        decisions=[record.decision for record in records],
        attempts=[attempt_from(row) for row in stretch if row.kind == ATTEMPT],
        feedback=[feedback_from(row) for row in stretch if row.kind == FEEDBACK],
        made=sum(row.kind == DECISION for row in stretch),
        epoch=epoch,
        expected_quality=[_expected_quality(record) for record in records],
    )


def _expected_quality(record: Record) -> dict[str, float]:
    quality = record.expected.quality
    return {} if quality is None else dict(zip(record.candidates, quality[0].tolist(), strict=True))


def _stack(rows: Sequence[Estimates]) -> Estimates:
    """Put one-row estimates below each other.

    Rows of several estimators have no embedding together, since their spaces differ; of their
    categories each gets every name that any has. An embedding that was erased is NaN.
    """
    if not rows:
        return Estimates.unknown(0)
    fingerprints = {row.fingerprint for row in rows}
    names = tuple(dict.fromkeys(name for row in rows for name in row.category_names))
    embeddings = [row.embedding for row in rows if row.embedding is not None]
    comparable = len(fingerprints) == 1 and embeddings
    return Estimates(
        complexity=np.concatenate([row.complexity for row in rows]),
        categories=np.concatenate([row.aligned(names) for row in rows]),
        category_names=names,
        tool_use=np.concatenate([row.tool_use for row in rows]),
        embedding=np.concatenate([_nothing_like(embeddings[0]) if row.embedding is None else row.embedding for row in rows]) if comparable else None,
        fingerprint=fingerprints.pop() if len(fingerprints) == 1 else "",
    )


def _nothing_like(embedding: Floats) -> Floats:
    return np.full_like(embedding, np.nan)
