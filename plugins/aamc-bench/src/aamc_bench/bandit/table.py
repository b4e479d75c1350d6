"""The table and the figures of ``aamc bench bandit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from aamc_report.formats import fixed, per_thousand
from aamc_report.style import Look, looks_of
from aamc_report.tables import Column, Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.benchmark import distinct
from aamc_bench.figures import panels

COLUMNS = (
    Column("regret", key="regret", write=fixed(1)),
    Column("over best fixed", key="over_fixed", write=fixed(1)),
    Column("saved vs published", key="saved", write=fixed(1)),
    Column("quality", key="quality", write=fixed(3)),
    Column("USD / 1k", key="cost_usd", write=per_thousand),
)
NOTE = (
    "regret: the sum over a stream's decisions of the maximum reward of an available candidate minus that of the chosen one. "
    "over best fixed: regret minus that of the candidate that was best in hindsight. saved vs published: regret of published minus the router's, on "
    "the same streams. estimates: what the estimator was trained on: outcomes of other rows, or only their categories and complexity "
    "(labels). Means over seeds and streams, with Student's 95% intervals over seeds. "
    "Bold: less regret than every other router except yardsticks, each paired interval excludes zero."
)
PANELS_PER_ROW = 4


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the experiment's table."""
    names = ", ".join(distinct(document["datasets"], "dataset"))
    known = [column for column in COLUMNS if any(column.key in record for record in document["records"])]
    title = f"Cumulative regret while learning: {names}"
    return {"regret": Table.of_records(title, ("dataset", "estimates", "scenario", "router"), known, document["records"], NOTE)}


def figures_of(document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
    """Return functions that draw the curves of each dataset and kind of estimates, by the figures' names."""
    places = dict.fromkeys((curve["dataset"], curve["estimates"]) for curve in document["curves"])
    found = {}
    for number, place in enumerate(places, start=1):
        own = [curve for curve in document["curves"] if (curve["dataset"], curve["estimates"]) == place]
        found[f"regret-{number}-{place[1]}"] = partial(draw, own)
    return found


def draw(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw regret against decisions with 95% bands, a panel for each scenario."""
    scenarios, routers = distinct(curves, "scenario"), distinct(curves, "router")
    looks = looks_of(routers)
    columns = min(PANELS_PER_ROW, len(scenarios))
    page, axes = panels(-(-len(scenarios) // columns), columns, height=2.4)
    for panel, scenario in zip(axes, scenarios, strict=False):
        panel.set_title(scenario)
        panel.set_xlabel("decisions")
        for curve in curves:
            if curve["scenario"] == scenario:
                _draw_curve(panel, curve, looks[curve["router"]])
        panel.set_ylim(bottom=0)
    axes[0].set_ylabel("cumulative regret")
    for unused in axes[len(scenarios) :]:
        unused.set_visible(False)
    page.suptitle(f"{curves[0]['dataset']}, estimator trained on {curves[0]['estimates']}", fontsize="medium")
    page.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(routers), 8))
    return page


def _draw_curve(axes: Axes, curve: Mapping[str, Any], look: Look) -> None:
    decisions, values = np.asarray(curve["decisions"]), [point["value"] for point in curve["regret"]]
    low, high = zip(*(point["ci95"] or (np.nan, np.nan) for point in curve["regret"]), strict=True)
    width, front = (2.0, 3) if look.emphasised else (1.2, 2)
    axes.plot(decisions, values, color=look.colour, linewidth=width, zorder=front, label=curve["router"])
    axes.fill_between(decisions, low, high, color=look.colour, alpha=0.15, linewidth=0)
