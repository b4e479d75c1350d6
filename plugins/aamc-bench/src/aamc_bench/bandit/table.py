"""The table and the figures of ``aamc bench bandit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
from aamc_report.formats import fixed
from aamc_report.style import Look
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.figures import looks_of, panels
from aamc_bench.metrics import per_thousand
from aamc_bench.tables import Column, Table

COLUMNS = (
    Column("regret", "regret", fixed(1)),
    Column("over_fixed", "over best fixed", fixed(1)),
    Column("saved", "saved vs published", fixed(1)),
    Column("quality", "quality", fixed(3)),
    Column("cost_usd", "USD / 1k", per_thousand),
)
NOTE = (
    "regret: the sum over a stream's decisions of the greatest reward that a candidate of that moment would have had there, less the chosen one's. "
    "over best fixed: less the regret of the candidate that was best in hindsight. saved vs published: that of published less the router's, on "
    "the same streams. estimates: what the estimator learned from other rows: what candidates did there (outcomes), or categories and complexity "
    "alone (labels). Means over seeds and streams, with Student's 95% intervals over seeds. "
    "Bold: less regret than every other router but yardsticks, each paired interval clear of zero."
)
PER_ROW = 4


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the experiment's table."""
    names = ", ".join(dict.fromkeys(about["dataset"] for about in document["datasets"]))
    known = [column for column in COLUMNS if any(column.key in record for record in document["records"])]
    title = f"Cumulative regret while learning: {names}"
    return {"regret": Table(title=title, names=("dataset", "estimates", "scenario", "router"), columns=known, records=document["records"], note=NOTE)}


def for_the_console(table: Table) -> dict[str, Table]:
    """Return a table for each dataset and kind of estimates, which leaves room for the figures."""
    found = {}
    for place in dict.fromkeys((record["dataset"], record["estimates"]) for record in table.records):
        own = [record for record in table.records if (record["dataset"], record["estimates"]) == place]
        title = f"Cumulative regret while learning: {place[0]}, estimator trained on {place[1]}"
        found[" ".join(place)] = attrs.evolve(table, title=title, names=table.names[2:], records=own)
    return found


def figures_of(document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
    """Return what draws the curves of each dataset and kind of estimates, by the figure's name."""
    places = dict.fromkeys((curve["dataset"], curve["estimates"]) for curve in document["curves"])
    found = {}
    for number, place in enumerate(places, start=1):
        own = [curve for curve in document["curves"] if (curve["dataset"], curve["estimates"]) == place]
        found[f"regret-{number}-{place[1]}"] = partial(draw, own)
    return found


def draw(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw regret against decisions, with 95% bands, a panel a scenario."""
    scenarios = list(dict.fromkeys(curve["scenario"] for curve in curves))
    routers = list(dict.fromkeys(curve["router"] for curve in curves))
    looks = looks_of(routers)
    columns = min(PER_ROW, len(scenarios))
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
