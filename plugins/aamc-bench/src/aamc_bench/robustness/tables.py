"""The tables and figures of ``aamc bench robustness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from aamc_experiments.evaluation import Resampling
from aamc_report.formats import Format, fixed, per_thousand, percent
from aamc_report.style import looks_of, short
from aamc_report.tables import Column, Table, TableRecord
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from aamc_bench.benchmark import distinct
from aamc_bench.figures import Draw, draw_change, draw_lines, panels
from aamc_bench.robustness.jobs import AWAY, CLEAN, HOME
from aamc_bench.samples import SHARES, Sample, figure, independent, questions
from aamc_sdk.types import Floats

METRICS = (
    Column("reward", key="mean_reward", write=fixed(3)),
    Column("AIQ", key="aiq", write=fixed(3)),
    Column("success", key="success_rate", write=percent),
    Column("USD / 1k", key="mean_cost_usd", write=per_thousand),
)
UNCHANGED = Column("same choice", key="unchanged", write=percent)
LOST = Column("reward lost", key="lost", write=fixed(4))
NOTE = (
    "95% intervals of the bootstrap over streams of the simulator, or over the questions of a table. "
    "reward lost: the reward without noise minus that with it, on the same queries; bold if its interval excludes zero. "
    "same choice: the share of queries for which the router chose the same candidate as without noise, RouterArena's robustness score. "
    "A level is the standard deviation of the error of estimates, or the share of words of four letters or more (typos), of words (case), "
    "or of texts (padding, prefix). "
    "Noise on estimates does not change embeddings: routers that read only these, such as knn, ridge and ensemble, lose 0 by construction."
)
SHIFT_NOTE = (
    "The same test rows, all of held-out categories, decided by routers that were trained on all categories (home) and by those that were "
    "trained without these (away). reward lost: home minus away; bold if its interval excludes zero."
)


def noise_records(names: Mapping[str, Any], clean: Sample, noisy: Sample, unchanged: Floats) -> list[TableRecord]:
    """Return a record for each router under one noise, with its shares of unchanged choices of :func:`unchanged_choices`."""
    certain = names["noise"] == CLEAN
    return [
        {
            **names,
            "router": router,
            **{metric.key: _of(noisy, metric, r) for metric in METRICS},
            "lost": _lost(clean, noisy, r),
            "unchanged": figure(unchanged[r], None if certain else questions([clean]), independent([clean])),
        }
        for r, router in enumerate(noisy.routers.tolist())
    ]


def unchanged_choices(clean: Mapping[str, Any], noisy: Mapping[str, Any], resamples: int, seed: int) -> Floats:
    """Return the share of queries for which each router chose the same candidate with noise as without, and B resamples of it, ``[R, 1 + B]``.

    That is the robustness score of RouterArena (arXiv 2510.00202): 1 minus the ratio of flipped choices.
    """
    same = (clean["chosen"] == noisy["chosen"]).astype(np.float64).T
    return Resampling.bootstrap(clean["unit"], resamples, seed).with_data().means(same).T


def shift_records(names: Mapping[str, Any], home: Sample, away: Sample) -> list[TableRecord]:
    """Return a record for each router on one group of categories."""
    return [
        {
            **names,
            "router": router,
            **{f"{metric.key}_{name}": _of(sample, metric, r) for metric in METRICS for name, sample in ((HOME, home), (AWAY, away))},
            "lost": _lost(home, away, r),
        }
        for r, router in enumerate(home.routers.tolist())
    ]


def _of(sample: Sample, metric: Column, router: int) -> dict[str, Any]:
    return figure(sample.figures[metric.key][router], questions([sample]) if metric.key in SHARES else None, independent([sample]))


def _lost(before: Sample, after: Sample, router: int) -> dict[str, Any]:
    """Return the loss of a router's reward, on the same resamples of the same queries."""
    lost = figure(before.figures["mean_reward"][router] - after.figures["mean_reward"][router])
    low, high = lost["ci95"] or (0.0, 0.0)
    return lost | {"best": low > 0 or high < 0}


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of losses, of noise and of shift that have rows."""
    records = document["noise"]
    by_router = [Column(router, key=router, write=LOST.write) for router in distinct(records, "router")]
    same = [Column(router, key=router, write=UNCHANGED.write) for router in distinct(records, "router")]
    both = [Column(f"{metric.title}, {name}", key=f"{metric.key}_{name}", write=metric.write) for metric in METRICS for name in (HOME, AWAY)]
    title = "Routers on categories that they were not trained on"
    found = {
        "lost": Table.of_records("Reward lost to noise", ("noise", "level"), by_router, _by_noise(records, LOST.key), NOTE),
        "unchanged": Table.of_records("Choices unchanged by noise", ("noise", "level"), same, _by_noise(records, UNCHANGED.key), NOTE),
        "noise": Table.of_records("Routers under noise", ("noise", "level", "router"), [*METRICS, LOST, UNCHANGED], records, NOTE),
        "shift": Table.of_records(title, ("held_out", "router"), [*both, LOST], document["shift"], SHIFT_NOTE),
    }
    return {name: table for name, table in found.items() if table.rows}


def console_tables(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return each router's losses without the metrics behind them."""
    shown = {name: table for name, table in tables.items() if name != "noise"}
    if (shift := shown.get("shift")) is not None:
        shown["shift"] = shift.with_columns(lambda column: column == LOST or column.key.startswith("mean_reward"))
    return shown


def _by_noise(records: Sequence[TableRecord], key: str) -> list[TableRecord]:
    """Return a record for each noise with one figure of each router."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for record in records:
        if record["noise"] != CLEAN:
            names = {name: record[name] for name in ("noise", "level")}
            rows.setdefault((record["noise"], record["level"]), dict(names))[record["router"]] = record[key]
    return list(rows.values())


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
