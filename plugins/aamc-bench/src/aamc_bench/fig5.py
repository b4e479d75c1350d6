"""Figure 5 of the AAMC paper: success, cost, latency and efficiency of routing strategies, from one of our runs.

Paper: Rjoub et al. 2025, "Adaptive Agentic Meta-Controller (AAMC): A Reinforcement Learning Framework for Intelligent SLM/LLM
Orchestration", Neurocomputing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aamc_experiments.evaluation import Comparison, Resampling, ratio
from aamc_experiments.run_folder import Goal, RunFolder
from aamc_experiments.settings import COMPARED
from aamc_report.formats import listed, milliseconds, per_thousand, percent, significant
from aamc_report.style import GRID, HEADLINE, INK, MUTED, OTHERS, PAPER, name_rows, without_scale
from aamc_report.tables import Column, Table, TableRecord
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.benchmark import Benchmark, Stage
from aamc_bench.experiment_runs import complete_run, settings_of
from aamc_bench.figures import panels
from aamc_bench.samples import figure_over
from aamc_sdk.cli import progress
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import read_json

ROUTER = "ppo"
RUN = "run"
"""The folder of a new run, below the experiment's."""
REFERENCE = "llm-only"
"""The strategy with which the paper compares costs."""
STRATEGIES = {REFERENCE: "LLM-only", "slm-only": "SLM-only", "rule": "Rule-based", "supervised": "Supervised router"}
"""The paper's other strategies, by our routers' names."""
CONSTANT = ("llm-only", "slm-only", "best-single")
"""The strategies with one model for every query, which their labels name."""
YARDSTICKS = {"greedy": "greedy", "best-single": "best single", "random": "random", "oracle": "oracle"}
"""Routers that are not in the paper."""


PANELS = (
    Column("Success rate", key="success_rate", write=percent),
    Column("Cost, USD per 1,000", key="mean_cost_usd", write=per_thousand),
    Column("Latency, ms", key="mean_latency_ms", write=milliseconds),
    Column("Efficiency", key="efficiency", write=significant(3)),
)
"""The panels of the figure and the columns of its data."""


CLAIMS: Mapping[str, tuple[str, float | None]] = {
    "success_rate": ("more than 90% task success", 0.90),
    "success_difference": ("success comparable to LLM-only", None),
    "cost_saved": ("operational costs reduced by over 70%", 0.70),
    "latency_saved": ("latency significantly improved", None),
}
"""The claims of the paper's text on AAMC, by the key of our value: its words, and the minimum that confirms it; None if it has no number."""
NOTE = (
    "Means at the preference with 95% intervals by bootstrap. efficiency: success over cost and latency, half each in units of LLM-only's. "
    "greedy, best single, random and oracle are not in the paper."
)
CLAIMS_NOTE = (
    "The claims of the paper's text on AAMC and our run: the simulators differ, so compare shapes and not digits. "
    "Differences and savings are against LLM-only on the same streams."
)


class FigureFive(Benchmark):
    """``aamc reproduce fig5``; one run takes the place of a grid of jobs, and the plugins get its event."""

    command = "reproduce fig5"
    document_name = "fig5"

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def options(self, run: Path | None = None, assignments: Sequence[str] = (), **given: Any) -> dict[str, Any]:
        """Return the path of a run that exists, or the settings of the main job.

        Raises:
            CheckpointError: There is no such run, or it compared nothing.
            ConfigError: A run is given with options that would change it.
        """
        if run is None:
            return {"run": None, "settings": settings_of([ROUTER, *COMPARED], assignments, **given).to_dict()}
        if assignments or any(value is not None for value in given.values()):
            raise ConfigError(f"--run {run} is drawn as it is; leave out the options of a new run")
        if RunFolder.open(run).goal not in (Goal.COMPARISON, Goal.EVALUATION):
            raise CheckpointError(f"{run} compared nothing; make a run with: aamc run --router {ROUTER} --estimator tce")
        return {"run": str(run), "settings": None}

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield nothing: there are no jobs."""
        yield from ()

    def measure(self, folder: Path, options: Mapping[str, Any], workers: int | None) -> tuple[dict[str, Any], None]:
        """Make the run, if none was given."""
        if options["run"] is None:
            place = folder / RUN
            with progress() as shown:
                complete_run(place, shown, options["settings"])
            self._plugins.notify("aamc_run_finished", folder=place)
        return {}, None

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the figure's data, its records, the paper's claims, and the strategies that are the same."""
        return content_of(folder / RUN if options["run"] is None else Path(options["run"]))

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        """Return the figure's data and the paper's claims as tables."""
        data = document["data"]
        weights = ", ".join(f"{weight:.3g}" for weight in data["preference"])
        title = f"Figure 5 on {data['source']}: {data['queries']} queries, {len(data['models'])} candidates, preference {weights}"
        claims = [Column("paper, at least", key="paper", write=percent), Column("ours", key="ours", write=percent)]
        note = " ".join((NOTE, *(f"{listed(names)} are one: they ask the same model for everything." for names in document["same"])))
        return {
            "fig5": Table.of_records(title, ("strategy",), PANELS, document["records"], note),
            "claims": Table.of_records("The paper's words", ("claim",), claims, document["claims"], CLAIMS_NOTE),
        }

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return the figure."""
        return {"fig5": lambda: draw(document)}


def content_of(folder: Path) -> dict[str, Any]:
    """Return the figure's data from a run's folder: ``data``, ``records``, ``claims``, ``same``."""
    run, metrics, comparison = RunFolder.open(folder), read_json(folder / "metrics.json"), Comparison.load(folder / "decisions.npz")
    ours = {run.router_name: f"AAMC ({run.router_name})"}
    labels = ours | STRATEGIES | YARDSTICKS | ours  # first, even if it is also a yardstick
    constant = comparison.constant_choices()
    models = {name: model for model, names in constant.items() for name in names}
    labels |= {name: f"{labels[name]} ({models[name]})" for name in CONSTANT if name in models and name != run.router_name}
    records = []
    for name, own in ((name, metrics["routers"][name]) for name in labels if name in metrics["routers"]):
        figures = {panel.key: {"value": own[panel.key], "ci95": own["ci95"][panel.key]} for panel in PANELS}
        records.append({"strategy": labels[name], "router": name, "in_paper": name == run.router_name or name in STRATEGIES, **figures})
    threshold, resamplings = run.settings.evaluation.success_threshold, comparison.resamplings(run.settings.evaluation.resamples, run.settings.seed)
    found = savings(comparison, run.router_name, threshold, resamplings) | {"success_rate": records[0]["success_rate"]}
    claims = [{"claim": text, "paper": {"value": minimum}, "ours": found[key]} for key, (text, minimum) in CLAIMS.items() if key in found]
    same = [[labels.get(name, name) for name in names] for names in constant.values() if len(names) > 1]
    return {"data": metrics["data"], "records": records, "claims": claims, "same": same}


def savings(comparison: Comparison, router: str, success_threshold: float, resamplings: Sequence[Resampling]) -> dict[str, Any]:
    """Return a router's savings against ``llm-only`` at the headline's preference, each with its 95% interval.

    Returns:
        ``cost_saved`` and ``latency_saved``, 1 minus the ratio of the means; ``success_difference``. Empty if
        ``llm-only`` was not compared.
    """
    names = comparison.routers.tolist()
    if REFERENCE not in names or router == REFERENCE:
        return {}
    columns = [comparison.success_cost_latency(names.index(name), success_threshold) for name in (router, REFERENCE)]
    over = [resampling.with_data().means(np.column_stack(columns)).T for resampling in resamplings]  # success, cost, latency of both
    return {
        "success_difference": figure_over([values[0] - values[3] for values in over]),
        "cost_saved": figure_over([1 - ratio(values[1], values[4]) for values in over]),
        "latency_saved": figure_over([1 - ratio(values[2], values[5]) for values in over]),
    }


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw a panel for each metric and a row for each strategy, the paper's first; dashed lines are the values in its text."""
    records = document["records"]
    known = [panel for panel in PANELS if any(record[panel.key]["value"] is not None for record in records)]
    page, axes = panels(1, len(known), height=1.1 + 0.27 * len(records))
    for position, (panel, data) in enumerate(zip(axes, known, strict=True)):
        panel.set_title(data.title)
        _draw_bars(panel, records, data, _stated(data.key, records))
        name_rows(panel, [record["strategy"] for record in records], records[0]["strategy"])
        panel.tick_params(axis="y", labelleft=position == 0)
    legend = "thin lines: 95% intervals; dashed: what the paper states; grey: not in the paper"
    page.supxlabel("\n".join((legend, *(f"{listed(names)} are one" for names in document["same"]))), fontsize=7.5, color=MUTED)
    return page


def _stated(key: str, records: Sequence[TableRecord]) -> float | None:
    """Return the paper's claim on a panel: its success rate, or LLM-only's cost minus its saving."""
    if key == "success_rate":
        return CLAIMS[key][1]
    cost = next((record["mean_cost_usd"]["value"] for record in records if record["router"] == REFERENCE), None)
    saved = CLAIMS["cost_saved"][1]
    return (1 - saved) * cost if key == "mean_cost_usd" and saved is not None and cost is not None else None


def _draw_bars(axes: Axes, records: Sequence[TableRecord], panel: Column, stated: float | None) -> None:
    longest = max((_end(record[panel.key]) for record in records), default=0.0) or 1.0
    for row, record in enumerate(records):
        own = record[panel.key]
        if own["value"] is None:
            continue
        colour = HEADLINE if row == 0 else OTHERS[0] if record["in_paper"] else GRID
        axes.barh(row, own["value"], height=0.66, color=colour, linewidth=0)
        axes.plot(own["ci95"] or [], [row, row] if own["ci95"] else [], color=INK, linewidth=0.9, solid_capstyle="butt")
        over_lines = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
        axes.text(_end(own) + 0.03 * longest, row, panel.write(own["value"]), va="center", fontsize=7.5, bbox=over_lines)
    if stated is not None:
        axes.axvline(stated, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    without_scale(axes, 1.42 * longest)


def _end(own: Mapping[str, Any]) -> float:
    return max(own["value"] or 0.0, *(own["ci95"] or (0.0,)))
