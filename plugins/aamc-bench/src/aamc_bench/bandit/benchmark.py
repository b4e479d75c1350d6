"""``aamc bench bandit``: what learning costs, scenario by scenario, as cumulative regret beside that of other ways to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_bench.bandit.material import KNOWLEDGE, LABELS
from aamc_bench.bandit.measuring import BEST_FIXED, FIGURES, FILE
from aamc_bench.bandit.scenarios import SCENARIOS
from aamc_bench.datasets import SEVERAL_RUNS, checked, key_of, labels, settings_on
from aamc_bench.grid import JOBS, Job
from aamc_bench.samples import clear_best, figure
from aamc_bench.tables import Record
from aamc_bench.training import installed, settings_of
from aamc_sdk.batch import Floats
from aamc_sdk.cli.options import split_names
from aamc_sdk.errors import ConfigError, nearest, one_of
from aamc_sdk.files import read_arrays
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.settings import Choice

PUBLISHED, UNIFORM = "published", "uniform"
LEARNERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear-thompson": ("linear-thompson", {}),
    "linucb": ("linear-thompson", {"mode": "linucb"}),
    "thompson": ("thompson", {}),
    "epsilon-greedy": ("epsilon-greedy", {}),
    PUBLISHED: ("thompson", {"blend": "published"}),
    UNIFORM: ("random", {}),
}
"""What is measured: by its name here, the router and the options that make it so."""
YARDSTICKS = (BEST_FIXED, UNIFORM)
ESTIMATOR = "lexical"
SIZES: Mapping[str, Mapping[str, Any]] = {
    "quick": {"seeds": [0, 1, 2], "streams": 2, "steps": 800},
    "full": {"seeds": list(range(10)), "streams": 4, "steps": 1_000_000},
}
"""Of the presets; ``full`` meets every row once in each stream."""


def options_of(
    datasets: Sequence[str] = (),
    routers: str | None = None,
    scenarios: str | None = None,
    estimates: str | None = None,
    seeds: Sequence[int] | None = None,
    streams: int | None = None,
    steps: int | None = None,
    assignments: Sequence[str] = (),
    **given: Any,
) -> dict[str, Any]:
    """Return all that the result follows from, by the command line's options; what is not given has its default.

    Raises:
        ConfigError: A name is none of those that there are.
    """
    names = _installed() if routers is None else _known("router", split_names(routers), LEARNERS)
    measured = list(datasets) or ["synthetic"]
    size = SIZES["quick" if given.get("preset") in (None, "quick") else "full"]
    parts = list(dict.fromkeys(LEARNERS[name][0] for name in names))
    settings = settings_of(parts, assignments, SEVERAL_RUNS, dataset=measured[0], **{**given, "estimator": given.get("estimator") or ESTIMATOR})
    assert settings.routers is not None
    choices = {name: _choice(name, settings.routers[LEARNERS[name][0]]) for name in names}
    kinds = list(KNOWLEDGE) if estimates is None else _known("kind of estimates", split_names(estimates), KNOWLEDGE)
    return {
        "datasets": measured,
        "seeds": list(seeds or size["seeds"]),
        "streams": streams or size["streams"],
        "steps": steps or size["steps"],
        "scenarios": list(SCENARIOS) if scenarios is None else _known("scenario", split_names(scenarios), SCENARIOS),
        "estimates": kinds if settings.estimator is not None else [LABELS],
        "settings": attrs.evolve(settings, router=choices[names[0]], routers=choices).plain(),
    }


def _installed() -> list[str]:
    """Return what is measured by default.

    Raises:
        ConfigError: Nothing of it is installed.
    """
    offered = set(installed([router for router, _ in LEARNERS.values()], get_plugin_manager()))
    names = [name for name, (router, _) in LEARNERS.items() if router in offered]
    if not names:
        raise ConfigError("there is no router to measure; install aamc-bandit")
    return names


def _known(what: str, names: Sequence[str], known: Mapping[str, Any] | Sequence[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}{nearest(name, list(known))} (there are: {one_of(list(known))})")
    return list(names)


def _choice(name: str, router: Choice) -> Choice:
    return attrs.evolve(router, options={**router.options, **LEARNERS[name][1]})


def checked_options(**given: Any) -> dict[str, Any]:
    """Return :func:`options_of`, of which a run on each dataset can begin."""
    return checked(options_of(**given))


def jobs_of(options: Mapping[str, Any]) -> list[Job]:
    """Return a job for each dataset, seed and kind of estimates."""
    return [
        Job(
            key_of(number, dataset, seed, knowledge),
            "aamc_bench.bandit.measuring:measure",
            {
                "settings": settings_on(options, dataset, seed),
                "knowledge": knowledge,
                **{key: options[key] for key in ("scenarios", "streams", "steps")},
            },
        )
        for number, dataset in enumerate(options["datasets"], start=1)
        for seed in options["seeds"]
        for knowledge in options["estimates"]
    ]


def document_of(options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done.

    Args:
        options: What it was begun with.
        results: What the jobs returned, by key.
        folder: Where their files are.
    """
    names, routers = labels(list(options["datasets"])), [*options["settings"]["routers"], BEST_FIXED]
    about: list[dict[str, Any]] = []
    records: list[Record] = []
    curves: list[dict[str, Any]] = []
    for number, dataset in enumerate(options["datasets"], start=1):
        for knowledge in options["estimates"]:
            keys = {seed: key for seed in options["seeds"] if (key := key_of(number, dataset, seed, knowledge)) in results}
            if keys:
                block = Block.of([read_arrays(folder / JOBS / key / FILE) for key in keys.values()], options)
                place = {"dataset": names[dataset], "estimates": knowledge}
                about.append({**place, "source": dataset, "seeds": {str(seed): results[key] for seed, key in keys.items()}})
                for position, scenario in enumerate(options["scenarios"]):
                    records += [{**place, "scenario": scenario, **record} for record in block.records(position, routers)]
                    curves += [{**place, "scenario": scenario, **curve} for curve in block.curves(position, routers)]
    return {"schema": 1, "command": "bench bandit", "options": options, "datasets": about, "records": records, "curves": curves}


@attrs.frozen(eq=False)
class Block:
    """What the streams of one dataset and kind of estimates came to.

    Attributes:
        points: After how many decisions, ``[P]``.
        figures: By name, mean over streams and draws of what it may be, ``[1 + B, scenarios, R + 1, P]``.
    """

    points: Floats
    figures: Mapping[str, Floats]

    @classmethod
    def of(cls, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Block:
        """Put the seeds together; one whose streams are shorter than the shortest's is cut off there."""
        shortest = min(files, key=lambda file: file["points"][-1])
        resamples = options["settings"]["evaluation"]["resamples"]
        return cls(shortest["points"], {name: over_streams([_upto(file, name, shortest["points"]) for file in files], resamples) for name in FIGURES})

    def records(self, scenario: int, routers: Sequence[str]) -> list[Record]:
        """Return a record for each router of a scenario."""
        last = {name: values[:, scenario, :, -1].T for name, values in self.figures.items()}  # [R + 1, 1 + B]
        rivals = np.array([name not in YARDSTICKS for name in routers])
        best = clear_best(np.where(rivals[:, None], last["regret"], np.nan), less_is_better=True)
        found: list[Record] = []
        for position, name in enumerate(routers):
            record: dict[str, Any] = {"router": name, "regret": figure(last["regret"][position]) | {"best": position == best}}
            record["over_fixed"] = figure(last["regret"][position] - last["regret"][-1])
            if PUBLISHED in routers:
                record["saved"] = figure(last["regret"][routers.index(PUBLISHED)] - last["regret"][position])
            record |= {key: figure(last[key][position] / self.points[-1]) for key in FIGURES[1:]}
            found.append(record)
        return found

    def curves(self, scenario: int, routers: Sequence[str]) -> list[dict[str, Any]]:
        """Return the regret of each router of a scenario at each point."""
        values = self.figures["regret"][:, scenario]
        return [
            {"router": name, "decisions": self.points, "regret": [figure(values[:, position, point]) for point in range(len(self.points))]}
            for position, name in enumerate(routers)
        ]


def _upto(file: Mapping[str, Any], name: str, points: Floats) -> Floats:
    """Return a figure at some points, interpolated between the file's own, ``[scenarios, R + 1, streams, P]``."""
    own, values = file["points"], file[name]
    return np.apply_along_axis(lambda curve: np.interp(points, own, curve), -1, values)


def over_streams(each: Sequence[Floats], resamples: int) -> Floats:
    """Return the mean over seeds and their streams, and B draws of what it may be, ``[1 + B, scenarios, R + 1, P]``.

    Draws are Student's: the mean plus sum_s z_s (m_s - mean) / sqrt(n (n - 1)) / sqrt(c / (n - 1)), where m_s is the mean of
    a seed's streams, n the number of seeds, z are normal and c is chi-squared with n - 1 degrees. So each figure's quantiles, and
    those of the difference of two routers, are those of Student's interval over seeds; a bootstrap of few seeds is too narrow. Of one
    seed the streams stand for seeds; of one stream there is nothing to draw from, and draws are NaN.

    Args:
        each: Of each seed ``[scenarios, R + 1, streams, P]``.
        resamples: B.
    """
    units = np.stack([one.mean(axis=2) for one in each]) if len(each) > 1 else np.moveaxis(each[0], 2, 0)
    mean, (rng, degrees) = units.mean(axis=0), (np.random.default_rng(0), len(units) - 1)
    if not degrees:
        return np.concatenate((mean[None], np.full((resamples, *mean.shape), np.nan)))
    deviations = rng.normal(size=(resamples, len(units))) / np.sqrt(len(units) * rng.chisquare(degrees, size=(resamples, 1)))
    return np.concatenate((mean[None], mean + np.tensordot(deviations, units - mean, axes=1)))
