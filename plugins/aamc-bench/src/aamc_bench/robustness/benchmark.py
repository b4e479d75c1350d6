"""What routers lose under noise on estimates, noise on texts, and on categories that they were not trained on.

The routers are trained once and measured under each noise, on the same queries with the same luck. Only shift trains them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_bench.grid import JOBS, Job
from aamc_bench.robustness.disturbed import CLEAN, ESTIMATES, SAMPLE
from aamc_bench.robustness.shift import AWAY, HOME, categories_of, check_trained_here
from aamc_bench.robustness.table import noise_records, shift_records
from aamc_bench.robustness.text_noise import KINDS
from aamc_bench.samples import Sample
from aamc_bench.tables import Record
from aamc_bench.training import installed, settings_of, try_to_begin
from aamc_sdk.cli.options import split_names
from aamc_sdk.errors import CheckpointError, ConfigError, nearest, one_of
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.runs import Run
from aamc_sdk.world import make_world

ROUTERS = ("ppo", "greedy", "knn", "ensemble", "supervised", "best-single", "oracle")
"""What is trained by default, as far as it is installed."""
SHIFT = "shift"
ALL = (ESTIMATES, *KINDS, SHIFT)
LEVELS = (0.0, 0.1, 0.2, 0.3)
EPISODES = 20
GROUPS = 2
INSTEAD = {"evaluation.streams": "--n-episodes"}
"""What a run's setting is decided by here."""
RUN = "run"
"""The job that trains, where no run was given."""


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
        ConfigError: A kind of noise is unknown, a run comes with options that would train another one, or shift cannot train it again.
        CheckpointError: The run is none, or does not hold one of the routers.
    """
    chosen = list(ALL) if kinds is None else split_names(kinds, "--kinds", f"{ESTIMATES},{SHIFT}")
    for kind in chosen:
        if kind not in ALL:
            raise ConfigError(f"no kind of noise is named {kind!r}{nearest(kind, ALL)} (there are: {one_of(ALL)})")
    options = {"kinds": chosen, "levels": list(noise_levels or LEVELS), "episodes": n_episodes or EPISODES, "groups": groups or GROUPS}
    named = None if routers is None else split_names(routers)
    if run is not None:
        if assignments or any(value is not None for value in given.values()):
            raise ConfigError(f"{run} is measured as it was trained; leave out the options that say what to train")
        held = _routers_of(Run.open(run), named)
        if SHIFT in chosen:
            check_trained_here(Run.open(run).settings, held)
        return options | {"run": str(run.resolve()), "routers": held, "settings": None}
    names = named or installed(ROUTERS, get_plugin_manager())
    return options | {"run": None, "routers": names, "settings": settings_of(names, assignments, INSTEAD, **given).plain()}


def checked_options(**given: Any) -> dict[str, Any]:
    """Return :func:`options_of`, of which the run can begin, and has a category for each group that was asked for.

    Raises:
        ConfigError: It has fewer.
    """
    options = options_of(**given)
    run, settings = options["run"], options["settings"]
    if run is not None and SHIFT not in options["kinds"]:
        return options
    world = try_to_begin(settings) if run is None else make_world(Run.open(Path(run)).settings, get_plugin_manager())
    asked = given.get("kinds") is not None or given.get("groups") is not None
    if SHIFT in options["kinds"] and asked and (count := len(categories_of(world.splits["train"]))) < options["groups"]:
        wanted = f"shift holds out {options['groups']} groups of categories in turn"
        raise ConfigError(f"{wanted}, and the training rows name {count} categories; ask for fewer (--groups), or leave shift out of --kinds")
    return options


def _routers_of(run: Run, named: Sequence[str] | None) -> list[str]:
    held = run.router_names
    missing = [name for name in named or () if name not in held]
    if missing or not held:
        raise CheckpointError(f"{run.folder} holds no router {one_of(missing)} (it holds: {one_of(held)})")
    return list(named or held)


def training_jobs(options: Mapping[str, Any]) -> list[Job]:
    """Return the job that trains, where no run was given."""
    return [] if options["run"] else [Job(RUN, "aamc_bench.training:complete_tolerantly", {"settings": options["settings"]})]


def measuring_jobs(options: Mapping[str, Any]) -> list[Job]:
    """Return the jobs that measure the trained routers: without noise, under each, and on unfamiliar categories."""
    shared = {"run": options["run"] or RUN, "routers": options["routers"]}
    jobs = [
        Job(_key(kind, level), "aamc_bench.robustness.disturbed:measure", {**shared, "kind": kind, "level": level, "episodes": options["episodes"]})
        for kind, level in noises(options)
    ]
    if SHIFT in options["kinds"]:
        groups = options["groups"]
        jobs += [Job(f"{SHIFT}-{n}", "aamc_bench.robustness.shift:shift", {**shared, "group": n, "groups": groups}) for n in range(groups)]
    return jobs


def noises(options: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return each kind and level of noise, the first of which is none; nothing where only shift was asked for."""
    kinds = [kind for kind in options["kinds"] if kind != SHIFT]
    return [(CLEAN, 0.0), *((kind, level) for kind in kinds for level in options["levels"] if level > 0)] if kinds else []


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
                noise += noise_records({"noise": kind, "level": level}, clean, Sample.load(place / key / SAMPLE))
    shift: list[Record] = []
    for key, found in results.items():
        if key.startswith(SHIFT) and found is not None:
            home, away = (Sample.load(place / key / f"{name}.npz") for name in (HOME, AWAY))
            shift += shift_records({"held_out": ", ".join(found["categories"])}, home, away)
    return {"schema": 1, "command": "bench robustness", "options": options, "noise": noise, "shift": shift}
