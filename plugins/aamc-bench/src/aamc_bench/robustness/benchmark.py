"""The losses of routers under noise on estimates, noise on texts, and on categories without training data.

The routers are trained once and measured under each noise, on the same queries with the same random events. Only shift trains again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import make_setup
from aamc_report.tables import TableRecord

from aamc_bench.benchmark import Benchmark, Stage
from aamc_bench.experiment_runs import chosen_routers, settings_of, try_to_begin
from aamc_bench.grid import JOBS, GridJob
from aamc_bench.options import chosen_names
from aamc_bench.robustness.jobs import AWAY, CHOICES, CLEAN, ESTIMATES, HOME, SAMPLE, categories_of, check_trained_here
from aamc_bench.robustness.tables import console_tables, figures_of, noise_records, shift_records, tables_of, unchanged_choices
from aamc_bench.robustness.text_noise import KINDS
from aamc_bench.samples import Sample
from aamc_sdk.cli import split_names
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.messages import one_of
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.storage import read_arrays

ROUTERS = ("ppo", "greedy", "knn", "ensemble", "supervised", "best-single", "oracle")
"""The default routers, as far as they are installed."""
SHIFT = "shift"
ALL = (ESTIMATES, *KINDS, SHIFT)
LEVELS = (0.0, 0.1, 0.2, 0.3)
EPISODES = 20
GROUPS = 2
INSTEAD = {"evaluation.streams": "--n-episodes"}
"""The setting of a run that an option of this command decides."""
RUN = "run"
"""The key of the job that trains if no run is given."""


class RobustnessBenchmark(Benchmark):
    """``aamc bench robustness``."""

    command = "bench robustness"
    tables = staticmethod(tables_of)
    console_tables = staticmethod(console_tables)
    figures = staticmethod(figures_of)

    def options(
        self,
        run: Path | None = None,
        routers: str | None = None,
        kinds: str | None = None,
        noise_levels: Sequence[float] | None = None,
        n_episodes: int | None = None,
        groups: int | None = None,
        assignments: Sequence[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Return kinds and levels of noise, and a run's path or the settings of one to make.

        Raises:
            ConfigError: A kind of noise is unknown, a run is given with training options, or shift cannot train it again.
            CheckpointError: There is no such run, or it does not hold one of the routers.
        """
        chosen = chosen_names("kind of noise", kinds, "--kinds", ALL, f"{ESTIMATES},{SHIFT}")
        options = {"kinds": chosen, "levels": list(noise_levels or LEVELS), "episodes": n_episodes or EPISODES, "groups": groups or GROUPS}
        named = None if routers is None else split_names(routers)
        if run is not None:
            if assignments or any(value is not None for value in given.values()):
                raise ConfigError(f"{run} is measured as it was trained; leave out the options of training")
            opened = RunFolder.open(run)
            held = opened.router_names
            missing = [name for name in named or () if name not in held]
            if missing or not held:
                raise CheckpointError(f"{opened.folder} holds no router {one_of(missing)} (it holds: {one_of(held)})")
            measured = list(named or held)
            if SHIFT in chosen:
                check_trained_here(opened.settings, measured)
            return options | {"run": str(run.resolve()), "routers": measured, "settings": None}
        names = chosen_routers(routers, ROUTERS)
        return options | {"run": None, "routers": names, "settings": settings_of(names, assignments, INSTEAD, **given).to_dict()}

    def checked_options(self, **given: Any) -> dict[str, Any]:
        """Return the options after a check that the run can begin, and has a category for each group that was asked for.

        Raises:
            DataError: The data has fewer categories.
        """
        options = self.options(**given)
        run, settings = options["run"], options["settings"]
        if run is not None and SHIFT not in options["kinds"]:
            return options
        setup = try_to_begin(settings) if run is None else make_setup(RunFolder.open(Path(run)).settings, get_plugin_manager())
        asked = given.get("kinds") is not None or given.get("groups") is not None
        if SHIFT in options["kinds"] and asked and (count := len(categories_of(setup.splits["train"]))) < options["groups"]:
            needed = f"shift holds out {options['groups']} groups of categories in turn"
            raise DataError(f"{needed}, and the training rows name {count} categories; ask for fewer (--groups), or leave shift out of --kinds")
        return options

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the training, if no run is given, then the measurements without noise, with each noise, and of shift."""
        if not options["run"]:
            yield Stage([GridJob(RUN, "aamc_bench.experiment_runs:complete_tolerantly", {"settings": options["settings"]})])
        shared = {"run": options["run"] or RUN, "routers": options["routers"]}
        jobs = [
            GridJob(
                _key(kind, level), "aamc_bench.robustness.jobs:measure", {**shared, "kind": kind, "level": level, "episodes": options["episodes"]}
            )
            for kind, level in noises(options)
        ]
        if SHIFT in options["kinds"]:
            groups = options["groups"]
            jobs += [GridJob(f"{SHIFT}-{n}", "aamc_bench.robustness.jobs:shift", {**shared, "group": n, "groups": groups}) for n in range(groups)]
        yield Stage(jobs)

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the records of ``noise`` and of ``shift``."""
        place = folder / JOBS
        noise: list[TableRecord] = []
        if CLEAN in results:
            clean, choices = Sample.load(place / CLEAN / SAMPLE), read_arrays(place / CLEAN / CHOICES)
            for kind, level in noises(options):
                if (key := _key(kind, level)) in results:
                    noisy = Sample.load(place / key / SAMPLE)
                    same = unchanged_choices(choices, read_arrays(place / key / CHOICES), clean.figures["mean_reward"].shape[1] - 1, seed=0)
                    noise += noise_records({"noise": kind, "level": level}, clean, noisy, same)
        shift: list[TableRecord] = []
        for key, found in results.items():
            if key.startswith(SHIFT) and found is not None:
                home, away = (Sample.load(place / key / f"{name}.npz") for name in (HOME, AWAY))
                shift += shift_records({"held_out": ", ".join(found["categories"])}, home, away)
        return {"noise": noise, "shift": shift}

    def remarks(self, document: Mapping[str, Any]) -> Sequence[str]:
        """Say why shift was not measured."""
        if SHIFT not in document["options"]["kinds"] or document["shift"]:
            return ()
        return ["Shift was not measured: the data names fewer categories than there are groups"]


def noises(options: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return each kind and level of noise, beginning with none; empty if only shift was asked for."""
    kinds = [kind for kind in options["kinds"] if kind != SHIFT]
    return [(CLEAN, 0.0), *((kind, level) for kind in kinds for level in options["levels"] if level > 0)] if kinds else []


def _key(kind: str, level: float) -> str:
    return kind if kind == CLEAN else f"{kind}-{level:g}"
