"""Figure 5 of the AAMC paper: success, cost, latency and efficiency of routing strategies, from a run of ours.

Paper: Rjoub et al. 2025, "Adaptive Agentic Meta-Controller (AAMC): A Reinforcement Learning Framework for Intelligent SLM/LLM
Orchestration", Neurocomputing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE as AT_PREFERENCE
from aamc_experiments.evaluation import Comparison, Resampling
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import COMPARED
from aamc_report.formats import Format, listed, milliseconds, percent, significant
from aamc_report.style import GRID, HEADLINE, INK, MUTED, OTHERS, PAPER, name_rows, without_scale
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.figures import panels
from aamc_bench.metrics import per_thousand
from aamc_bench.samples import figure
from aamc_bench.tables import Column, Record, Table
from aamc_bench.training import settings_of
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.serving import EVALUATION
from aamc_sdk.storage import read_json
from aamc_sdk.types import Floats

ROUTER = "ppo"
REFERENCE = "llm-only"
"""The strategy that the paper's savings are counted from."""
STRATEGIES = {REFERENCE: "LLM-only", "slm-only": "SLM-only", "rule": "Rule-based", "supervised": "Supervised router"}
"""The paper's strategies beside its own, by our routers' names."""
CONSTANT = ("llm-only", "slm-only", "best-single")
"""Those that ask one model for everything, which their labels name."""
YARDSTICKS = {"greedy": "greedy", "best-single": "best single", "random": "random", "oracle": "oracle"}
"""What we show beside them."""


@attrs.frozen
class Panel:
    """A panel of the figure, and a column of its data."""

    key: str
    title: str
    format: Format


PANELS = (
    Panel("success_rate", "Success rate", percent),
    Panel("mean_cost_usd", "Cost, USD per 1,000", per_thousand),
    Panel("mean_latency_ms", "Latency, ms", milliseconds),
    Panel("efficiency", "Efficiency", significant(3)),
)


@attrs.frozen
class Claim:
    """What the paper's text says of AAMC.

    Attributes:
        key: Our figure.
        text: The paper's words.
        least: The least value that would bear it out; None where the text has no number.
    """

    key: str
    text: str
    least: float | None


CLAIMS = (
    Claim("success_rate", "more than 90% task success", 0.90),
    Claim("success_difference", "success comparable to LLM-only", None),
    Claim("cost_saved", "operational costs reduced by over 70%", 0.70),
    Claim("latency_saved", "latency significantly improved", None),
)
NOTE = (
    "Means at the preference with 95% intervals by bootstrap. efficiency: success over cost and latency, half each in units of LLM-only's. "
    "greedy, best single, random and oracle are not in the paper."
)
CLAIMS_NOTE = (
    "What the paper's text says of AAMC, beside our run of it: simulators differ, so this compares shapes and not digits. "
    "Differences and savings are against LLM-only on the same streams."
)


def options_of(run: Path | None = None, assignments: Sequence[str] = (), **given: Any) -> dict[str, Any]:
    """Return all that the figure follows from: a run that exists, or the settings of the main job.

    Raises:
        CheckpointError: There is no such run, or it compared nothing.
        ConfigError: Options come with it that would change it.
    """
    if run is None:
        return {"run": None, "settings": settings_of([ROUTER, *COMPARED], assignments, **given).plain()}
    if assignments or any(value is not None for value in given.values()):
        raise ConfigError(f"--run {run} is drawn as it is; leave out the options that say how to make a run")
    if RunFolder.open(run).content["goal"] not in ("comparison", EVALUATION):
        raise CheckpointError(f"{run} compared nothing; make a run with: aamc run --router {ROUTER} --estimator tce")
    return {"run": str(run), "settings": None}


def document_of(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the figure's data.

    Args:
        options: What it was begun with.
        folder: The run's.
    """
    run, metrics, comparison = RunFolder.open(folder), read_json(folder / "metrics.json"), Comparison.load(folder / "decisions.npz")
    ours = {run.router_name: f"AAMC ({run.router_name})"}
    labels = ours | STRATEGIES | YARDSTICKS | ours  # the first one, even where it is also a yardstick
    models = only_candidates(comparison)
    labels |= {name: f"{labels[name]} ({models[name]})" for name in CONSTANT if name in models and name != run.router_name}
    shown = [name for name in labels if name in metrics["routers"]]
    records = [
        {"strategy": labels[name], "router": name, "in_paper": name == run.router_name or name in STRATEGIES, **_figures(metrics["routers"][name])}
        for name in shown
    ]
    resampling = Resampling.bootstrap(comparison.stream, run.settings.evaluation.resamples, run.settings.seed)
    found = savings(comparison, run.router_name, run.settings.evaluation.success_threshold, resampling) | {"success_rate": records[0]["success_rate"]}
    claims = [{"claim": claim.text, "paper": {"value": claim.least}, "ours": found[claim.key]} for claim in CLAIMS if claim.key in found]
    known = {"data": metrics["data"], "records": records, "claims": claims, "same": _same(models, labels)}
    return {"schema": 1, "command": "reproduce fig5", "options": options, **known}


def only_candidates(comparison: Comparison) -> dict[str, str]:
    """Return the candidate of each router that gave every query to one, at the headline's preference."""
    chosen = dict(zip(comparison.routers.tolist(), (np.unique(choices[AT_PREFERENCE]) for choices in comparison.chosen), strict=True))
    return {router: str(comparison.candidates[candidates[0]]) for router, candidates in chosen.items() if len(candidates) == 1}


def _same(models: Mapping[str, str], labels: Mapping[str, str]) -> list[list[str]]:
    """Return the strategies that are one, because they ask the same model for everything."""
    by_model: dict[str, list[str]] = {}
    for name, model in models.items():
        by_model.setdefault(model, []).append(labels.get(name, name))
    return [names for names in by_model.values() if len(names) > 1]


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {panel.key: {"value": metrics[panel.key], "ci95": metrics["ci95"][panel.key]} for panel in PANELS}


def savings(comparison: Comparison, router: str, success_threshold: float, resampling: Resampling) -> dict[str, Any]:
    """Return what a router saves against ``llm-only`` at the headline's preference, each figure with its 95% interval.

    Returns:
        ``cost_saved`` and ``latency_saved``, 1 less the ratio of the means; ``success_difference``. Nothing where
        ``llm-only`` was not compared.
    """
    names = comparison.routers.tolist()
    if REFERENCE not in names or router == REFERENCE:
        return {}
    columns = [_outcomes(comparison, names.index(name), success_threshold) for name in (router, REFERENCE)]
    values = np.concatenate([each.means(np.column_stack(columns)) for each in (Resampling.once(comparison.stream), resampling)]).T
    ours, theirs = values[:3], values[3:]  # success, cost, latency: the data itself, then its resamples
    return {
        "success_difference": figure(ours[0] - theirs[0]),
        "cost_saved": figure(_saved(ours[1], theirs[1])),
        "latency_saved": figure(_saved(ours[2], theirs[2])),
    }


def _saved(ours: Floats, theirs: Floats) -> Floats:
    """Return 1 less the ratio; NaN where the reference costs nothing."""
    return np.asarray(1 - np.divide(ours, theirs, out=np.full(theirs.shape, np.nan), where=theirs > 0))


def _outcomes(comparison: Comparison, router: int, success_threshold: float) -> Floats:
    """Return success, cost and latency of each query, ``[Q, 3]``."""
    quality, cost, latency = (values[AT_PREFERENCE] for values in attrs.astuple(comparison.realised(router), recurse=False))
    return np.column_stack((quality >= success_threshold, cost, latency))


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the figure's data and the paper's claims as tables."""
    data = document["data"]
    weights = ", ".join(f"{weight:.3g}" for weight in data["preference"])
    title = f"Figure 5 on {data['source']}: {data['queries']} queries, {len(data['models'])} candidates, preference {weights}"
    columns = [Column(panel.key, panel.title, panel.format) for panel in PANELS]
    claims = [Column("paper", "paper, at least", percent), Column("ours", "ours", percent)]
    note = " ".join((NOTE, *(f"{listed(names)} are one: they ask the same model for everything." for names in document["same"])))
    return {
        "fig5": Table(title=title, names=("strategy",), columns=columns, records=document["records"], note=note),
        "claims": Table(title="The paper's words", names=("claim",), columns=claims, records=document["claims"], note=CLAIMS_NOTE),
    }


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw a panel a figure and a row a strategy, the paper's first; dashed lines are what its text states."""
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


def _stated(key: str, records: Sequence[Record]) -> float | None:
    """Return where the paper's claim lies on a panel: its success rate, or what its saving leaves of LLM-only's cost."""
    least = {claim.key: claim.least for claim in CLAIMS}
    if key == "success_rate":
        return least["success_rate"]
    cost = next((record["mean_cost_usd"]["value"] for record in records if record["router"] == REFERENCE), None)
    saved = least["cost_saved"]
    return (1 - saved) * cost if key == "mean_cost_usd" and saved is not None and cost is not None else None


def _draw_bars(axes: Axes, records: Sequence[Record], panel: Panel, stated: float | None) -> None:
    longest = max((_end(record[panel.key]) for record in records), default=0.0) or 1.0
    for row, record in enumerate(records):
        own = record[panel.key]
        if own["value"] is None:
            continue
        colour = HEADLINE if row == 0 else OTHERS[0] if record["in_paper"] else GRID
        axes.barh(row, own["value"], height=0.66, color=colour, linewidth=0)
        axes.plot(own["ci95"] or [], [row, row] if own["ci95"] else [], color=INK, linewidth=0.9, solid_capstyle="butt")
        over_lines = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
        axes.text(_end(own) + 0.03 * longest, row, panel.format(own["value"]), va="center", fontsize=7.5, bbox=over_lines)
    if stated is not None:
        axes.axvline(stated, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    without_scale(axes, 1.42 * longest)


def _end(own: Mapping[str, Any]) -> float:
    return max(own["value"] or 0.0, *(own["ci95"] or (0.0,)))
