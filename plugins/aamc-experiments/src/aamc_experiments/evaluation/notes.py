"""Remarks on a comparison in sentences, the same in its table and in its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aamc_sdk.messages import quantity

ENOUGH_QUERIES = 200
"""With fewer queries, intervals of the success rate are wider than about 14 points, and a result carries a warning."""
WIDE = 0.4
"""Relative width of an interval of mean cost or latency that shows a heavy tail: wider ones cover too seldom (docs/reference/metrics.md)."""


def data_notes(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the remarks on the data of a comparison, its entry ``data`` in ``metrics.json``."""
    if "warm_up" in data:
        yield f"Each stream: {quantity(data['warm_up'], 'query', 'queries')} of warm-up, then {data['steps']} that count."
    if data.get("cost_note"):
        yield f"Costs: {data['cost_note']}."
    if data.get("split") in ("train", "validation"):
        yield f"These are the run's {data['split']} rows, which it was trained on: the results do not carry over to other questions."
    if left_out := data.get("untimed_queries"):
        yield f"Left out for an unknown latency alone: {quantity(left_out, 'query', 'queries')}. To compare on all, remove all latencies."
    if worst := data.get("most_missing"):
        lacking, rest = quantity(worst["missing"], "outcome"), quantity(worst["queries_without"], "query", "queries")
        name, rest = worst["candidate"], f"without it {rest} could be compared"
        yield f"Most gaps: {name} lacks {lacking}; {rest}. If these calls failed, {name} looks better than it is: record them with quality 0."
    if data.get("dropped"):
        yield f"Left out: {quantity(data['dropped'], 'row')} that the run was trained on, near-duplicates included."


def router_notes(routers: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the remarks on the routers of a comparison, its entry ``routers`` in ``metrics.json``, given its entry ``data``."""
    untimed = data.get("without_latency", [])
    if "preference" in data and (untimed or all(row.get("mean_latency_ms") is None for row in routers.values())):
        quality, cost, _ = data["preference"]
        subject = f"The latency of {_some(untimed, 'candidate')}" if 0 < len(untimed) < len(data["models"]) else "Latency"
        yield f"{subject} is unknown, so the preference weighs quality and cost alone, by {quality:.3g} and {cost:.3g}."
    if missing := max(row.get("missing") or 0 for row in routers.values()):
        yield f"Left out for every router: {quantity(missing, 'query', 'queries')} with a missing outcome."
    for name, row in routers.items():
        if row.get("trust"):
            yield trust_note(name, row["trust"])
    if few_queries_note(data.get("queries", 0), data.get("questions")):
        return  # with few queries intervals are wide anyhow
    for figure, what, which in (("mean_cost_usd", "cost", "expensive"), ("mean_latency_ms", "latency", "slow")):
        if wide := [name for name, row in routers.items() if _is_wide(row, figure)]:
            few = f"Few {which} queries determine the mean {what} of {_some(wide)}"
            yield f"{few}: the true mean may be above the interval. Evaluate on more queries."


def _is_wide(row: Mapping[str, Any], figure: str) -> bool:
    """Return whether the interval of a router's mean is wide relative to the mean."""
    low, high = (row.get("ci95") or {}).get(figure) or (0.0, 0.0)
    return bool(high - low > WIDE * (row.get(figure) or 0.0))


def _some(names: Sequence[str], noun: str = "router") -> str:
    """Return names of routers or the like, of many the first three."""
    return ", ".join(names) if len(names) < 4 else f"{quantity(len(names), noun)}, {', '.join(names[:3])} among them"


def trust_note(name: str, trust: Mapping[str, Any]) -> str:
    """Return the gain of a trained policy over router ``greedy``, which its training starts as, in a sentence; see ``Router.trust``."""
    if not trust["factor"]:
        return f"{name} learned nothing beyond its starting rule, greedy, and decides like it: validation confirms no gain."
    low, high = trust["ci95"]
    gain = f"{name} gains {trust['gain']:.4f} ({low:.4f} to {high:.4f}) of mean reward over its starting rule, greedy, in validation"
    return f"{gain}, at trust factor {trust['factor']:g}."


def growing_waits_note(routers: Sequence[str]) -> str:
    """Return a warning on routers whose waits grow until the end of the streams; empty for none."""
    if not routers:
        return ""
    more = "Unless an event is the cause, longer streams would show worse figures: lower the load, or raise evaluation.warm_up and evaluation.steps"
    return f"The latencies of {_some(routers)} still grow at the end of the streams. {more}."


def few_queries_note(queries: int, questions: int | None = None) -> str:
    """Return a warning for a result from few queries; empty for enough of them.

    Args:
        queries: The number of queries.
        questions: The number of different questions in them; None if unknown.
    """
    if (queries if questions is None else questions) >= ENOUGH_QUERIES:
        return ""
    counted = quantity(queries, "query", "queries")
    if questions is not None and questions < queries:
        counted = f"{quantity(questions, 'question')} in {counted}"
    return f"Only {counted}: differences may be chance. Evaluate on at least {ENOUGH_QUERIES}."
