"""The figures of ``aamc bench robustness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from aamc_report.formats import Format
from aamc_report.style import looks_of, short
from aamc_report.tables import TableRecord
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from aamc_bench.benchmark import distinct
from aamc_bench.figures import Draw, draw_change, draw_lines, panels
from aamc_bench.robustness.noise import CLEAN
from aamc_bench.robustness.shift import AWAY, HOME
from aamc_bench.robustness.table import METRICS

MAXIMUM_TITLE = 100
"""The maximum number of letters of a panel's title."""


def figures_of(document: Mapping[str, Any]) -> dict[str, Draw]:
    """Return a function that draws each figure with data, by the figure's name."""
    drawings: dict[str, Draw] = {}
    if any(record["noise"] != CLEAN for record in document["noise"]):
        drawings["noise"] = partial(draw_noise, document["noise"])
    if document["shift"]:
        drawings["shift"] = partial(draw_shift, document["shift"])
    return drawings


def draw_noise(records: Sequence[TableRecord]) -> Figure:
    """Draw each metric against the level of each noise: a row of panels for each metric, a column for each kind."""
    kinds, routers = [kind for kind in distinct(records, "noise") if kind != CLEAN], distinct(records, "router")
    looks = looks_of(routers)
    page, axes = panels(len(METRICS), len(kinds), height=1.7, sharex="all", sharey="row")
    for position, panel in enumerate(axes):
        metric, kind = METRICS[position // len(kinds)], kinds[position % len(kinds)]
        rows = [record for record in records if record["noise"] in (CLEAN, kind)]
        levels = list(dict.fromkeys(row["level"] for row in rows))
        draw_lines(panel, levels, {name: {row["level"]: row[metric.key] for row in rows if row["router"] == name} for name in routers}, looks)
        panel.set_title(kind if position < len(kinds) else "")
        panel.set_xlabel("level" if position >= len(axes) - len(kinds) else "")
        panel.set_ylabel(metric.title if position % len(kinds) == 0 else "")
        panel.yaxis.set_major_formatter(FuncFormatter(partial(_tick, metric.write)))
    page.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(routers), 7))
    return page


def draw_shift(records: Sequence[TableRecord]) -> Figure:
    """Draw the reward of routers that were trained with and without the categories, a panel for each group."""
    groups, routers = distinct(records, "held_out"), distinct(records, "router")
    page, axes = panels(len(groups), 1, height=0.6 + 0.24 * len(routers), sharex="all")
    for panel, group in zip(axes, groups, strict=True):
        rows = {record["router"]: record for record in records if record["held_out"] == group}
        pairs = {router: tuple(row[f"mean_reward_{name}"] for name in (HOME, AWAY)) for router, row in rows.items()}
        draw_change(panel, pairs, looks_of(routers))
        panel.set_title(short(group, MAXIMUM_TITLE))
    axes[-1].set_xlabel("reward on these categories: trained with them (filled) and without (hollow)")
    return page


def _tick(write: Format, value: float, position: int | None) -> str:
    return write(value)
