"""Tables of comparisons, log estimates and time profiles, or their JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aamc_sdk.cli import INTERVALS, figure_cell, new_table, print_table, write_json_line
from aamc_sdk.messages import quantity

if TYPE_CHECKING:
    from rich.text import Text

COLUMNS = (
    ("success_rate", "success, %", 100, ".1f"),
    ("mean_cost_usd", "USD / 1k", 1000, ".3g"),
    ("mean_latency_ms", "latency, ms", 1, ",.0f"),
    ("efficiency", "efficiency", 1, ".2f"),
    ("aiq", "AIQ", 1, ".3f"),
)
"""The metric, heading, factor and format of each column; further metrics are in ``metrics.json`` and the report."""
LOG_COLUMNS = (
    ("quality", "quality", 1, ".3f"),
    ("cost_usd", "USD / 1k", 1000, ".3g"),
    ("latency_ms", "latency, ms", 1, ",.0f"),
    ("utility", "utility", 1, ".3f"),
)
"""The figure, heading, factor and format of each column."""
ESTIMATOR_COLUMNS = (
    ("complexity_mae", "complexity MAE", 1, ".3f"),
    ("category_accuracy", "category, %", 100, ".1f"),
    ("tool_use_auc", "tool-use AUC", 1, ".3f"),
    ("brier", "quality Brier", 1, ".3f"),
    ("ece", "quality ECE", 1, ".3f"),
)
"""The figure, heading, factor and format of each column on the estimator."""
LOGGED, ALL = "(as logged)", "(all)"


def show_metrics(metrics: Mapping[str, Any], router: str, as_json: bool) -> None:
    """Print a comparison: as JSON, or as a table with the 95% interval below each figure."""
    if as_json:
        write_json_line(metrics)
        return
    data = metrics["data"]
    if "pairs" in data:
        show_choices(metrics, router)
        return
    from aamc_experiments.evaluation import router_notes

    weights = ",".join(f"{weight:.3g}" for weight in data["preference"])
    counts = f"{quantity(data['queries'], 'query', 'queries')}, {quantity(len(data['models']), 'candidate')}"
    title = f"{data['source']}: {counts}, preference {weights}"
    notes = [INTERVALS, *_notes(data), *router_notes(metrics["routers"], data)]
    table = new_table(["router"], [heading for _, heading, _, _ in COLUMNS], title=title, notes=notes)
    for name, row in metrics["routers"].items():
        cells = [_cell(row, key, factor, form) for key, _, factor, form in COLUMNS]
        table.add_row(name, *cells, style="bold" if name == router else None)
    print_table(table)


def show_choices(metrics: Mapping[str, Any], router: str) -> None:
    """Print how well routers predict users' comparisons: by number of support turns, with the 95% interval below each figure."""
    data, rows = metrics["data"], metrics["routers"]
    title = f"{data['source']}: {quantity(data['users'], 'user')}, {quantity(data['pairs'], 'predicted pair')}; area under the ROC curve"
    sizes = list(next(iter(rows.values()))["by_support"])
    headings = ["accuracy", "AUC", *(f"after {size}" for size in sizes)]
    table = new_table(["router"], headings, title=title, notes=[INTERVALS, *_notes(data)])
    for name, row in rows.items():
        cells = [_cell(row, "preference_accuracy", 1, ".3f"), _cell(row, "preference_auc", 1, ".3f")]
        cells += [_cell(row["by_support"][size], "preference_auc", 1, ".3f") for size in sizes]
        table.add_row(name, *cells, style="bold" if name == router else None)
    print_table(table)


def _notes(data: Mapping[str, Any]) -> Iterator[str]:
    """Return the warnings and remarks on the data of a comparison."""
    from aamc_experiments.evaluation import data_notes, few_queries_note, growing_waits_note

    warnings = few_queries_note(data["queries"], data.get("questions")), growing_waits_note(data.get("growing_waits", ()))
    return filter(None, (*warnings, *data_notes(data)))


def _cell(row: Mapping[str, Any], key: str, factor: float, form: str) -> Text:
    return figure_cell(row.get(key), (row.get("ci95") or {}).get(key), lambda number: format(factor * number, form))


def show_log_estimates(document: Mapping[str, Any], as_json: bool) -> None:
    """Print the estimates from a log: as JSON, or as a table of the doubly robust estimates."""
    if as_json:
        write_json_line(document)
        return
    decisions, routers = document["decisions"], document["routers"]
    title = f"{document['log']}: {quantity(decisions['counted'], 'counted decision')}; doubly robust estimates"
    refused = [f"{name}: {row['refused']}." for name, row in routers.items() if row["refused"]]
    warned = [f"{name}: {row['warning']}." for name, row in routers.items() if row.get("warning")]
    scales = [f"Utilities are on the scales of {document['run']}; name another RUN for others."] if document["run"] else []
    notes = [INTERVALS, *refused, *warned, *scales, *(f"{note[0].upper()}{note[1:]}." for note in document["notes"])]
    headings = ["n_eff", *(heading for _, heading, _, _ in LOG_COLUMNS), "utility beyond the log's"]
    table = new_table(["router"], headings, title=title, notes=notes)
    logged = (_estimate_cell(document["logged"][key], factor, form) for key, _, factor, form in LOG_COLUMNS)
    table.add_row(LOGGED, str(decisions["counted"]), *logged, "")
    for name, row in routers.items():
        found = {key: (row[key] or {}).get("doubly_robust") for key, _, _, _ in LOG_COLUMNS}
        cells = [_estimate_cell(found[key], factor, form) for key, _, factor, form in LOG_COLUMNS]
        n_eff = "-" if row["refused"] else f"{row['n_eff']:.0f}"
        table.add_row(name, n_eff, *cells, _estimate_cell(found["utility"], 1, "+.3f", "difference"))
    print_table(table)


def _estimate_cell(found: Mapping[str, Any] | None, factor: float, form: str, key: str = "value") -> str | Text:
    if found is None:
        return "-"
    interval = "ci95" if key == "value" else f"{key}_ci95"
    return _cell({"figure": found[key], "ci95": {"figure": found[interval]}}, "figure", factor, form)


def show_estimator(document: Mapping[str, Any], as_json: bool) -> None:
    """Print the figures of an estimator: as JSON, or as a table by category and one of the confusion of categories."""
    if as_json:
        write_json_line(document)
        return
    data, found = document["data"], document["estimator"]
    title = f"{found['name']} on {data['source']}: {quantity(data['queries'], 'query', 'queries')}"
    headings = ["n", *(heading for _, heading, _, _ in ESTIMATOR_COLUMNS)]
    table = new_table(["category"], headings, title=title, notes=[INTERVALS, *_notes(data)])
    for name, row in ((ALL, found), *found["per_category"].items()):
        table.add_row(name, str(row["n"]), *(_cell(row, key, factor, form) for key, _, factor, form in ESTIMATOR_COLUMNS))
    print_table(table)
    if found["confusion"]:
        predicted = list(next(iter(found["confusion"].values())))
        confusion = new_table(["category"], predicted, title="Rows by true (left) and predicted category")
        for name, row in found["confusion"].items():
            confusion.add_row(name, *(str(row[other]) for other in predicted))
        print_table(confusion)


def show_profile(document: Mapping[str, Any]) -> None:
    """Print a time profile to standard error: stages, then the slowest functions."""
    for rows, heading in (("stages", "stage"), ("functions", "function, without the functions that it calls")):
        table = new_table([heading], ("seconds", "share, %"))
        for row in document[rows]:
            table.add_row(str(next(iter(row.values()))), f"{row['seconds']:.2f}", f"{100 * row['share']:.1f}")
        print_table(table, stderr=True)
