"""The tables of ``aamc bench robustness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from aamc_report.formats import fixed, percent

from aamc_bench.metrics import per_thousand
from aamc_bench.robustness.disturbed import CLEAN
from aamc_bench.robustness.shift import AWAY, HOME
from aamc_bench.samples import Sample, figure
from aamc_bench.tables import Column, Record, Table

METRICS = (
    Column("mean_reward", "reward", fixed(3)),
    Column("aiq", "AIQ", fixed(3)),
    Column("success_rate", "success", percent),
    Column("mean_cost_usd", "USD / 1k", per_thousand),
)
LOST = Column("lost", "reward lost", fixed(4))
NOTE = (
    "95% intervals of the bootstrap over streams of the simulator, or over the questions of a table. "
    "reward lost: that without noise minus that with it, on the same queries; bold where its interval is clear of zero. "
    "A level is the standard deviation of the error of estimates, or the share of words (typos, case) or of texts (padding, prefix). "
    "Noise on estimates leaves embeddings as they are: routers that read these alone, such as knn, ridge and ensemble, lose 0 to it by construction."
)
SHIFT_NOTE = (
    "The same test rows, all of held-out categories, decided by routers that were trained on all categories (home) and by those that were "
    "trained without these (away). reward lost: home minus away; bold where its interval is clear of zero."
)


def noise_records(names: Mapping[str, Any], clean: Sample, noisy: Sample) -> list[Record]:
    """Return a record for each router under one noise."""
    return [
        {**names, "router": router, **{metric.key: figure(noisy.figures[metric.key][r]) for metric in METRICS}, "lost": _lost(clean, noisy, r)}
        for r, router in enumerate(noisy.routers.tolist())
    ]


def shift_records(names: Mapping[str, Any], home: Sample, away: Sample) -> list[Record]:
    """Return a record for each router on one group of categories."""
    return [
        {
            **names,
            "router": router,
            **{f"{metric.key}_{name}": figure(sample.figures[metric.key][r]) for metric in METRICS for name, sample in ((HOME, home), (AWAY, away))},
            "lost": _lost(home, away, r),
        }
        for r, router in enumerate(home.routers.tolist())
    ]


def _lost(before: Sample, after: Sample, router: int) -> dict[str, Any]:
    """Return how much less reward a router has, on the same resamples of the same queries."""
    lost = figure(before.figures["mean_reward"][router] - after.figures["mean_reward"][router])
    low, high = lost["ci95"] or (0.0, 0.0)
    return lost | {"best": low > 0 or high < 0}


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of noise and of shift, as far as there is something in them."""
    noise = Table(
        title="Routers under noise",
        names=("noise", "level", "router"),
        columns=[*METRICS, LOST],
        records=document["noise"],
        note=NOTE,
    )
    both = [Column(f"{metric.key}_{name}", f"{metric.heading}, {name}", metric.format) for metric in METRICS for name in (HOME, AWAY)]
    shift = Table(
        title="Routers on categories that they were not trained on",
        names=("held_out", "router"),
        columns=[*both, LOST],
        records=document["shift"],
        note=SHIFT_NOTE,
    )
    lost = Table(
        title="Reward lost to noise",
        names=("noise", "level"),
        columns=[Column(router, router, LOST.format) for router in dict.fromkeys(record["router"] for record in document["noise"])],
        records=_by_noise(document["noise"]),
        note=NOTE,
    )
    return {name: table for name, table in (("lost", lost), ("noise", noise), ("shift", shift)) if table.records}


def for_the_console(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return what each router loses, without the figures behind it; the files have all."""
    shown = {name: table for name, table in tables.items() if name != "noise"}
    if (shift := shown.get("shift")) is not None:
        kept = [column for column in shift.columns if column == LOST or column.key.startswith("mean_reward")]
        shown["shift"] = attrs.evolve(shift, columns=kept)
    return shown


def _by_noise(records: Sequence[Record]) -> list[Record]:
    """Return a record for each noise, with what each router loses to it."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for record in records:
        if record["noise"] != CLEAN:
            names = {name: record[name] for name in ("noise", "level")}
            rows.setdefault((record["noise"], record["level"]), dict(names))[record["router"]] = record["lost"]
    return list(rows.values())
