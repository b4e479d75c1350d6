"""What routers lose under noise on estimates, noise on texts, and on categories that they were not trained on.

The routers are trained once and measured under each noise, on the same queries with the same luck. Only shift trains them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_report.formats import fixed, percent

from aamc_bench.disturbed import CLEAN, ESTIMATES, SAMPLE
from aamc_bench.grid import JOBS, Job
from aamc_bench.metrics import Metric, per_thousand
from aamc_bench.samples import Sample, figure
from aamc_bench.shift import AWAY, HOME
from aamc_bench.tables import Column, Record, Table
from aamc_bench.text_noise import KINDS
from aamc_bench.training import installed, settings_of
from aamc_sdk.cli.options import split_names
from aamc_sdk.errors import CheckpointError, ConfigError, nearest, one_of
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.runs import Run

ROUTERS = ("ppo", "greedy", "knn", "ensemble", "supervised", "best-single", "oracle")
"""What is trained by default, as far as it is installed."""
SHIFT = "shift"
ALL = (ESTIMATES, *KINDS, SHIFT)
LEVELS = (0.0, 0.1, 0.2, 0.3)
EPISODES = 20
GROUPS = 2
RUN = "run"
"""The job that trains, where no run was given."""
METRICS = (
    Metric("mean_reward", "reward", fixed(3)),
    Metric("aiq", "AIQ", fixed(3)),
    Metric("success_rate", "success", percent),
    Metric("mean_cost_usd", "USD / 1k", per_thousand),
)
LOST = Column("lost", "reward lost", fixed(4))
NOTE = (
    "95% intervals of the bootstrap over streams of the simulator, or over the questions of a table. "
    "reward lost: that without noise minus that with it, on the same queries; bold where its interval is clear of zero. "
    "A level is the standard deviation of the error of estimates, or the share of words (typos, case) or of texts (padding, prefix)."
)
SHIFT_NOTE = (
    "The same test rows, all of held-out categories, decided by routers that were trained on all categories (home) and by those that were "
    "trained without these (away). reward lost: home minus away; bold where its interval is clear of zero."
)


def options_of(
    run: Path | None = None,
    routers: str | None = None,
    kinds: str | None = None,
    noise_levels: Sequence[float] | None = None,
    n_episodes: int | None = None,
    groups: int | None = None,
    assignments: Sequence[str] = (),
    **given: Any,
) -> dict[str, Any]:
    """Return all that the result follows from, by the command line's options; what is not given has its default.

    Raises:
        ConfigError: A kind of noise is unknown, or a run comes with options that would train another one.
        CheckpointError: The run is none, or does not hold one of the routers.
    """
    chosen = list(ALL) if kinds is None else split_names(kinds)
    for kind in chosen:
        if kind not in ALL:
            raise ConfigError(f"no kind of noise is named {kind!r}{nearest(kind, ALL)} (there are: {one_of(ALL)})")
    options = {"kinds": chosen, "levels": list(noise_levels or LEVELS), "episodes": n_episodes or EPISODES, "groups": groups or GROUPS}
    named = None if routers is None else split_names(routers)
    if run is not None:
        if assignments or any(value is not None for value in given.values()):
            raise ConfigError(f"{run} is measured as it was trained; leave out the options that say what to train")
        return options | {"run": str(run.resolve()), "routers": _routers_of(Run.open(run), named), "settings": None}
    names = named or installed(ROUTERS, get_plugin_manager())
    return options | {"run": None, "routers": names, "settings": settings_of(names, assignments, **given).plain()}


def _routers_of(run: Run, named: Sequence[str] | None) -> list[str]:
    held = run.router_names
    missing = [name for name in named or () if name not in held]
    if missing or not held:
        raise CheckpointError(f"{run.folder} holds no router {one_of(missing)} (it holds: {one_of(held)})")
    return list(named or held)


def training_jobs(options: Mapping[str, Any]) -> list[Job]:
    """Return the job that trains, where no run was given."""
    return [] if options["run"] else [Job(RUN, "aamc_bench.training:complete_run", {"settings": options["settings"]})]


def measuring_jobs(options: Mapping[str, Any]) -> list[Job]:
    """Return the jobs that measure the trained routers: without noise, under each, and on unfamiliar categories."""
    shared = {"run": options["run"] or RUN, "routers": options["routers"]}
    jobs = [
        Job(_key(kind, level), "aamc_bench.disturbed:measure", {**shared, "kind": kind, "level": level, "episodes": options["episodes"]})
        for kind, level in noises(options)
    ]
    if SHIFT in options["kinds"]:
        groups = options["groups"]
        jobs += [Job(f"{SHIFT}-{n}", "aamc_bench.shift:shift", {**shared, "group": n, "groups": groups}) for n in range(groups)]
    return jobs


def noises(options: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return each kind and level of noise, the first of which is none."""
    kinds = [kind for kind in options["kinds"] if kind != SHIFT]
    return [(CLEAN, 0.0), *((kind, level) for kind in kinds for level in options["levels"] if level > 0)]


def _key(kind: str, level: float) -> str:
    return kind if kind == CLEAN else f"{kind}-{level:g}"


def document_of(options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done.

    Args:
        options: What it was begun with.
        results: What the measuring jobs returned, by key.
        folder: Where their files are.
    """
    place = folder / JOBS
    noise: list[Record] = []
    if CLEAN in results:
        clean = Sample.load(place / CLEAN / SAMPLE)
        for kind, level in noises(options):
            if (key := _key(kind, level)) in results:
                noise += _records({"noise": kind, "level": level}, clean, Sample.load(place / key / SAMPLE))
    shift: list[Record] = []
    for key, found in results.items():
        if key.startswith(SHIFT) and found is not None:
            home, away = (Sample.load(place / key / f"{name}.npz") for name in (HOME, AWAY))
            shift += _shift_records({"held_out": ", ".join(found["categories"])}, home, away)
    return {"schema": 1, "command": "bench robustness", "options": options, "noise": noise, "shift": shift}


def _records(names: Mapping[str, Any], clean: Sample, noisy: Sample) -> list[Record]:
    """Return a record for each router under one noise."""
    return [
        {**names, "router": router, **{metric.key: figure(noisy.figures[metric.key][r]) for metric in METRICS}, "lost": _lost(clean, noisy, r)}
        for r, router in enumerate(noisy.routers.tolist())
    ]


def _shift_records(names: Mapping[str, Any], home: Sample, away: Sample) -> list[Record]:
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
        columns=[*(Column(metric.key, metric.heading, metric.format) for metric in METRICS), LOST],
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


def _by_noise(records: Sequence[Record]) -> list[Record]:
    """Return a record for each noise, with what each router loses to it."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for record in records:
        if record["noise"] != CLEAN:
            names = {name: record[name] for name in ("noise", "level")}
            rows.setdefault((record["noise"], record["level"]), dict(names))[record["router"]] = record["lost"]
    return list(rows.values())
