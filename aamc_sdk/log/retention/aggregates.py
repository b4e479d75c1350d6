"""Aggregates: sums over decisions that retention drops, so that off-policy estimates and reports still count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import attrs
import numpy as np

from aamc_sdk.log.options import Retention
from aamc_sdk.log.outcomes import OutcomeJoin, outcome_fields
from aamc_sdk.log.retention.expiry import DAY_S
from aamc_sdk.log.rows.json_text import decode, encode
from aamc_sdk.log.rows.row import DECISION, Row, columns_of
from aamc_sdk.types import Aggregate

_FIRST_DAY = date(1970, 1, 1).toordinal()


def aggregates_of(rows: Iterable[Row]) -> list[Aggregate]:
    """Return the sums over decisions, one for each day, tenant and chosen candidate, from all their placed entries in log order.

    Decisions that have columns need no content.
    """
    found, kept = OutcomeJoin(), list(rows)
    found.add_entries(map(outcome_fields, kept))
    about = [(row.time, columns_of(row)["tenant"]) for row in kept if row.kind == DECISION]
    logged = found.outcomes()
    judged = np.isfinite(logged.quality)
    weighable = judged & (logged.propensity > 0)  # NaN is not greater than 0
    weights = np.divide(1.0, logged.propensity, out=np.zeros(len(logged)), where=weighable)
    figures = {
        "decisions": np.ones(len(logged), dtype=int),
        "judged": judged.astype(int),
        "quality": np.nan_to_num(logged.quality),
        "inverse_propensity": weights,
        "weighted_quality": weights * np.nan_to_num(logged.quality),
        "cost_usd": np.nan_to_num(logged.cost_usd),
        "costs": np.isfinite(logged.cost_usd).astype(int),
        "latency_ms": np.nan_to_num(logged.latency_ms),
        "latencies": np.isfinite(logged.latency_ms).astype(int),
        "failed": logged.failed.astype(int),
    }
    values = zip(*(array.tolist() for array in figures.values()), strict=True)
    each = zip(about, logged.candidates, values, strict=True)
    return combined(Aggregate(_day(time), tenant, candidate, *sums) for (time, tenant), candidate, sums in each)


def combined(aggregates: Iterable[Aggregate]) -> list[Aggregate]:
    """Return aggregates with those of one day, tenant and candidate added up, in the order of their first one."""
    sums: dict[str, Aggregate] = {}
    for each in aggregates:
        key = aggregate_key(each)
        sums[key] = each if key not in sums else sums[key].plus(each)
    return list(sums.values())


def aggregate_texts(kept: Mapping[str, str | bytes], new: Sequence[Aggregate]) -> dict[str, str]:
    """Return new aggregates as they are kept: their texts by key, added to the kept ones of the same key."""
    known = [aggregate_from(kept[key]) for key in dict.fromkeys(map(aggregate_key, new)) if key in kept]
    return {aggregate_key(each): _text(each) for each in combined([*known, *new])}


def without_tenant(aggregates: Iterable[Aggregate], tenant: str | None) -> list[Aggregate]:
    """Return aggregates without the name of a tenant: its sums are those of no tenant."""
    return combined(attrs.evolve(each, tenant=None) if each.tenant == tenant else each for each in aggregates)


def aggregate_key(aggregate: Aggregate) -> str:
    """Return the text by which an aggregate is kept: day, tenant and candidate as a JSON list."""
    return encode([aggregate.day, aggregate.tenant, aggregate.candidate])


def oldest_key(retention: Retention, now: float) -> str | None:
    """Return the text that sorts after the keys of all expired aggregates and before the others; None without a limit."""
    return None if retention.aggregate_days is None else encode([_day(now - retention.aggregate_days * DAY_S)]).removesuffix("]")


def _text(aggregate: Aggregate) -> str:
    """Return an aggregate as JSON; sums of 0 are left out."""
    return encode({name: value for name, value in attrs.asdict(aggregate).items() if value or name == "tenant"})


def aggregate_from(text: str | bytes) -> Aggregate:
    """Return an aggregate from its text, see :func:`aggregate_texts`; figures of later versions are left out."""
    given = decode(text)
    return Aggregate(**{field.name: given[field.name] for field in attrs.fields(Aggregate) if field.name in given})


def _day(when: float) -> str:
    """Return the UTC day of a time, such as ``2026-11-21``; of times beyond the calendar, its last day."""
    return date.fromordinal(int(min(max(_FIRST_DAY + when // DAY_S, 1), date.max.toordinal()))).isoformat()
