"""Several datasets and seeds: what the experiments that make a run for each have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_experiments.settings import Source
from aamc_experiments.setup import World

from aamc_bench.grid import slug
from aamc_bench.training import try_to_begin

SEVERAL_RUNS = {"seed": "--seeds", **dict.fromkeys(("dataset", "dataset.name", "dataset.path"), "--dataset")}
"""Settings of which such an experiment has one for each run, and the options for them."""


def settings_on(options: Mapping[str, Any], dataset: str, seed: int) -> dict[str, Any]:
    """Return the settings of one of an experiment's runs: options of a dataset go to all of the first one's format."""
    settings = options["settings"]
    source = Source.of(dataset, "--dataset").like(Source.of(settings["dataset"], "dataset"))
    return {**settings, "dataset": source.plain(), "seed": seed}


def checked(options: dict[str, Any], check: Callable[[World], object] | None = None) -> dict[str, Any]:
    """Return an experiment's options, of which a run on each dataset can begin; see :func:`aamc_bench.training.try_to_begin`.

    Args:
        options: The experiment's.
        check: What else to ask of each run's world; it raises where something is wrong.
    """
    for dataset in options["datasets"]:
        world = try_to_begin(settings_on(options, dataset, options["seeds"][0]))
        if check is not None:
            check(world)
    return options


def key_of(number: int, dataset: str, seed: int, *parts: str) -> str:
    """Return the key of the job of a dataset, the ``number``-th from 1, a seed, and what else tells jobs apart."""
    return "-".join((f"{number}-{slug(dataset)}-seed{seed}", *map(slug, parts)))


def labels(sources: Sequence[str]) -> dict[str, str]:
    """Return a short name for each dataset: its format and the last part of its path, or the whole where two would be alike."""
    short = {source: ":".join(dict.fromkeys(filter(None, (source.partition(":")[0], Path(source.partition(":")[2]).name)))) for source in sources}
    return {source: name if list(short.values()).count(name) == 1 else source for source, name in short.items()}
