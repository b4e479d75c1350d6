"""The summary of datasets that ``aamc data inspect`` prints, as JSON or as tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from aamc_experiments.data import Groups
from rich.table import Table

from aamc_sdk import Dataset, Outcomes, Pool
from aamc_sdk.cli import console, new_table, print_table
from aamc_sdk.errors import quantity
from aamc_sdk.types import normalized_text


def summarize(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return the summary of each dataset, and the questions shared by each pair.

    Near-duplicates are grouped across all datasets, as experiments group them to keep each group in one split.

    Args:
        datasets: Datasets by name.
    """
    groups = Groups.of(*datasets.values())
    return {
        "schema": 1,
        "datasets": [{"name": name, **_facts(dataset, groups)} for name, dataset in datasets.items()],
        "shared": [_shared(datasets, pair, groups) for pair in combinations(datasets, 2)],
    }


def _shared(datasets: Mapping[str, Dataset], pair: tuple[str, str], groups: Groups) -> dict[str, Any]:
    """Return the number of shared questions, and for each dataset the rows with a near-duplicate or the same question in the other."""
    first, second = (datasets[name] for name in pair)
    questions = set(map(normalized_text, first.queries)) & set(map(normalized_text, second.queries))
    of_first, of_second = groups.names(first), groups.names(second)
    near = [sum(name in others for name in names) for names, others in ((of_first, set(of_second)), (of_second, set(of_first)))]
    return {"between": pair, "questions": len(questions), "near_duplicate_rows": near}


def _facts(dataset: Dataset, groups: Groups) -> dict[str, Any]:
    labels = dataset.labels
    facts = {
        "rows": len(dataset),
        "duplicates": len(dataset) - len(set(map(normalized_text, dataset.queries))),
        "near_duplicates": len(dataset) - len(set(groups.names(dataset))),
        "categories": {} if labels.category is None else dict(sorted(Counter(labels.category.tolist()).items())),
        "comparisons": 0 if dataset.experience is None else sum(feedback.over is not None for feedback in dataset.experience.feedback),
        "cost_note": dataset.cost_note,
    }
    if dataset.outcomes is None or dataset.pool is None:
        return {**facts, "candidates": [{"name": name} for name in dataset.pool.names] if dataset.pool else []}
    return facts | _outcome_facts(dataset.outcomes, dataset.pool)


def _outcome_facts(outcomes: Outcomes, pool: Pool) -> dict[str, Any]:
    """Return each candidate's means over its known cells, and the best candidate and the oracle on the rows without a missing cell."""
    missing = np.isnan(outcomes.known_quality)
    names = ("mean_quality", "mean_cost_usd", "mean_latency_ms")
    candidates = [
        {"name": name, **dict(zip(names, means, strict=True)), "missing_share": share}
        for name, means, share in zip(pool.names, outcomes.means.tolist(), missing.mean(axis=0).tolist(), strict=True)
    ]
    complete = outcomes.take(outcomes.complete)
    return {
        "candidates": candidates,
        "missing_share": float(missing.mean()),
        "complete_rows": len(complete.cost_usd),
        "best_single": _best_single(complete, pool) if len(complete.cost_usd) else None,
        "oracle": _oracle(complete) if len(complete.cost_usd) else None,
    }


def _best_single(outcomes: Outcomes, pool: Pool) -> dict[str, Any]:
    """Return the candidate with the maximum mean quality, the cheapest of ties."""
    means = outcomes.means
    best = np.lexsort((means[:, 1], -means[:, 0]))[0]
    return {"name": pool.names[best], "mean_quality": float(means[best, 0]), "mean_cost_usd": float(means[best, 1])}


def _oracle(outcomes: Outcomes) -> dict[str, float]:
    """Return the mean quality of the best answer to each question, and the mean cost of the cheapest best answer."""
    quality = outcomes.known_quality
    best = quality.max(axis=1)
    cost = np.where(quality == best[:, None], outcomes.cost_usd, np.inf).min(axis=1)
    return {"mean_quality": float(best.mean()), "mean_cost_usd": float(cost.mean())}


COLUMNS = (
    ("mean_quality", "quality", 1, ".3f"),
    ("mean_cost_usd", "USD / 1k", 1000, ".3g"),
    ("mean_latency_ms", "latency, ms", 1, ",.0f"),
    ("missing_share", "missing", 1, ".1%"),
)
"""Each column's figure, heading, factor and format."""


def print_summary(document: Mapping[str, Any]) -> None:
    """Print a result of :func:`summarize` to standard output."""
    output = console()
    for facts in document["datasets"]:
        if facts["candidates"]:
            print_table(_table(facts))
        for line in _lines(facts):
            output.print(line, highlight=False)
    for shared in document["shared"]:
        first, second = shared["between"]
        of_first, of_second = shared["near_duplicate_rows"]
        near = f"near-duplicates in the other: {quantity(of_first, 'row')} of the first, {quantity(of_second, 'row')} of the second"
        output.print(f"{first} and {second} share {quantity(shared['questions'], 'question')}; {near}", highlight=False)


def _table(facts: Mapping[str, Any]) -> Table:
    table = new_table(["candidate"], [heading for _, heading, _, _ in COLUMNS], title=facts["name"])
    extra = [{"name": "(oracle)", **facts["oracle"]}] if facts.get("oracle") else []
    best = (facts.get("best_single") or {}).get("name")
    for row in (*facts["candidates"], *extra):
        cells = [_cell(row.get(key), factor, form) for key, _, factor, form in COLUMNS]
        table.add_row(row["name"], *cells, style="bold" if row["name"] == best else None)
    return table


def _cell(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(factor * value, form)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    categories = quantity(len(facts["categories"]), "category", "categories")
    yield f"{facts['name']}: {quantity(facts['rows'], 'row')}, {categories}, {quantity(facts['duplicates'], 'repeated question')}"
    if facts["near_duplicates"] > facts["duplicates"]:
        yield f"{quantity(facts['near_duplicates'], 'near-duplicate')} of earlier rows, the repeated questions included"
    if facts["comparisons"]:
        yield f"{quantity(facts['comparisons'], 'comparison')} of two candidates"
    if "complete_rows" in facts:
        yield f"{facts['missing_share']:.1%} of the cells are missing; rows without any missing: {facts['complete_rows']:,}"
    best = facts.get("best_single")
    if best:
        yield f"best single candidate: {best['name']}, quality {best['mean_quality']:.3f}; the oracle's: {facts['oracle']['mean_quality']:.3f}"
    if facts["cost_note"]:
        yield f"costs: {facts['cost_note']}"
