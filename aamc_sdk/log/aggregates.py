"""Aggregates: sums over decisions that retention drops, so that off-policy estimates and reports still count them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

import attrs

from aamc_sdk.log.json_text import decode, encode
from aamc_sdk.log.retention import DAY_SECONDS
from aamc_sdk.log.rows import ATTEMPT, DECISION, FEEDBACK, Row, attempt_from, columns_of, feedback_from
from aamc_sdk.types import Aggregate, Attempt, Decision, Feedback, Preference, call_failed, chosen_figure, chosen_quality

_FIRST_DAY = date(1970, 1, 1).toordinal()


def aggregates_of(rows: Iterable[Row]) -> list[Aggregate]:
    """Return the sums over some decisions, one for each day, tenant and chosen candidate.

    Args:
        rows: The decisions with all their placed entries, in log order. Decisions need no content where they have columns.
    """
    decisions: list[Row] = []
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    feedback: defaultdict[str, dict[str, Feedback]] = defaultdict(dict)
    for row in rows:
        if row.kind == DECISION:
            decisions.append(row)
        elif row.kind == ATTEMPT:
            attempts[row.decision_id].append(attempt_from(row))
        elif row.kind == FEEDBACK:
            feedback[row.decision_id][row.id] = feedback_from(row)  # a later revision takes the place of an earlier one
    return combined(_aggregate(row, attempts.get(row.id, ()), feedback.get(row.id, {}).values()) for row in decisions)


def combined(aggregates: Iterable[Aggregate]) -> list[Aggregate]:
    """Return aggregates with those of one day, tenant and candidate added up, in the order of their first one."""
    sums: dict[str, Aggregate] = {}
    for each in aggregates:
        key = aggregate_key(each)
        sums[key] = each if key not in sums else sums[key].plus(each)
    return list(sums.values())


def aggregate_key(aggregate: Aggregate) -> str:
    """Return the text by which an aggregate is kept: day, tenant and candidate as a JSON list."""
    return encode([aggregate.day, aggregate.tenant, aggregate.candidate])


def aggregate_text(aggregate: Aggregate) -> str:
    """Return an aggregate as JSON; sums of 0 are left out."""
    return encode({name: value for name, value in attrs.asdict(aggregate).items() if value or name == "tenant"})


def aggregate_from(text: str | bytes) -> Aggregate:
    """Return the aggregate that :func:`aggregate_text` wrote; figures of later versions are left out."""
    fields = {field.name for field in attrs.fields(Aggregate)}
    return Aggregate(**{name: value for name, value in decode(text).items() if name in fields})


def _aggregate(row: Row, attempts: Sequence[Attempt], feedback: Iterable[Feedback]) -> Aggregate:
    columns = columns_of(row)
    propensity = math.nan if columns["propensity"] is None else columns["propensity"]
    decision = Decision(row.id, row.candidate, propensity, Preference())
    quality = chosen_quality(decision, attempts, feedback, failure_quality=0.0)
    cost, latency = (chosen_figure(decision, attempts, name) for name in ("cost_usd", "latency_ms"))
    judged = not math.isnan(quality)
    weight = 1 / propensity if judged and propensity > 0 else 0.0  # NaN is not greater than 0
    return Aggregate(
        day=_day(row.time),
        tenant=columns["tenant"],
        candidate=row.candidate,
        decisions=1,
        judged=int(judged),
        quality=quality if judged else 0.0,
        inverse_propensity=weight,
        weighted_quality=weight * quality if judged else 0.0,
        cost_usd=0.0 if math.isnan(cost) else cost,
        costs=int(not math.isnan(cost)),
        latency_ms=0.0 if math.isnan(latency) else latency,
        latencies=int(not math.isnan(latency)),
        failed=int(call_failed(decision, attempts)),
    )


def _day(when: float) -> str:
    """Return the UTC day of a time, such as ``2026-11-21``; of times beyond the calendar, its last day."""
    return date.fromordinal(int(min(max(_FIRST_DAY + when // DAY_SECONDS, 1), date.max.toordinal()))).isoformat()
