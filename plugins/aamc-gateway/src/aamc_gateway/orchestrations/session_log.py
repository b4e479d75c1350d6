"""Sessions of orchestrators in the decision log."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import attrs

from aamc_sdk.serving import Session
from aamc_sdk.types import Attempt, Decision, Preference, Query, Record, new_ids


def entries_of(session: Session, name: str, query: Query, preference: Preference, began: float) -> tuple[Sequence[Record], Sequence[Attempt]]:
    """Return the decisions and calls of a session.

    Decisions have the user and tenant of the request, so its key can judge them and forgetting the user erases them.

    A session whose orchestrator drew nothing, such as one without a trained policy, is one decision for the orchestrator itself, without the task:
    its cost is in the log, and it can be judged.
    """
    records, attempts = session.log()
    if records or not session.count:
        return [attrs.evolve(record, query=attrs.evolve(record.query, user=query.user, tenant=query.tenant)) for record in records], attempts
    decision = Decision(new_ids(1)[0], name, math.nan, preference, router=name, time=time.time(), notes={"steps": session.count})
    record = Record.of_step(decision, Query("", user=query.user, tenant=query.tenant), [name])
    latency_ms = max(0.0, 1000 * (time.time() - began))
    return [record], [Attempt(decision.id, n=0, cost_usd=session.cost_usd, latency_ms=latency_ms, cost_source="reported")]
