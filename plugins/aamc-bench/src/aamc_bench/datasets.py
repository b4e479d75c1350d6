"""The base class of benchmarks on several datasets with several seeds, which make a run for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from aamc_experiments.settings import Source
from aamc_experiments.setup import ExperimentSetup

from aamc_bench.benchmark import Benchmark, Stage
from aamc_bench.experiment_runs import try_to_begin
from aamc_bench.grid import GridJob, slug

SEVERAL_RUNS = {"seed": "--seeds", **dict.fromkeys(("dataset", "dataset.name", "dataset.path"), "--dataset")}
"""The settings that differ between the runs of such a benchmark, and the options that set them."""


class DatasetsBenchmark(Benchmark):
    """A benchmark whose options have ``datasets``, ``seeds``, and the ``settings`` that all runs share; its jobs call ``function``."""

    function: ClassVar[str]

    @abstractmethod
    def variants(self, options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Return the arguments of the jobs of each dataset and seed, without the settings, by a name for their keys, or ""."""

    @staticmethod
    def measured(datasets: Sequence[str]) -> list[str]:
        """Return the datasets of the command line, with absolute paths so that the benchmark can be resumed anywhere; by default one."""
        return [str(Source.of(dataset, "--dataset").absolute()) for dataset in datasets or ("synthetic",)]

    def check_setup(self, setup: ExperimentSetup, options: Mapping[str, Any]) -> None:
        """Raise if a run's data does not suit the benchmark."""

    def checked_options(self, **given: Any) -> dict[str, Any]:
        """Return the options after a check that a run on each dataset can begin."""
        options = self.options(**given)
        for dataset in options["datasets"]:
            self.check_setup(try_to_begin(settings_on(options, dataset, options["seeds"][0])), options)
        return options

    def jobs(self, options: Mapping[str, Any]) -> list[GridJob]:
        """Return a job for each dataset, seed and variant."""
        return [
            GridJob(job_key(number, dataset, seed, name), self.function, {"settings": settings_on(options, dataset, seed), **arguments})
            for number, dataset in enumerate(options["datasets"], start=1)
            for seed in options["seeds"]
            for name, arguments in self.variants(options).items()
        ]

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the one stage."""
        yield Stage(self.jobs(options))


def settings_on(options: Mapping[str, Any], dataset: str, seed: int) -> dict[str, Any]:
    """Return the settings of one run: options of a dataset apply to all datasets of the first one's format."""
    settings = options["settings"]
    source = Source.of(dataset, "--dataset").like(Source.of(settings["dataset"], "dataset"))
    return {**settings, "dataset": source.to_dict(), "seed": seed}


def job_key(number: int, dataset: str, seed: int, *parts: str) -> str:
    """Return the key of the job of a dataset (``number`` counts from 1), a seed, and further parts; empty ones are left out."""
    return "-".join(filter(None, (f"{number}-{slug(dataset)}-seed{seed}", *map(slug, parts))))


def finished(options: Mapping[str, Any], results: Mapping[str, Any], *parts: str) -> dict[str, dict[int, str]]:
    """Return the keys of finished jobs by dataset and seed; ``parts`` are those of :func:`job_key`. Datasets without any are left out."""
    found = {}
    for number, dataset in enumerate(options["datasets"], start=1):
        if keys := {seed: key for seed in options["seeds"] if (key := job_key(number, dataset, seed, *parts)) in results}:
            found[dataset] = keys
    return found


def labels(sources: Sequence[str]) -> dict[str, str]:
    """Return a short name for each dataset: its format and the last part of its path, or the whole if two would be equal."""
    short = {source: ":".join(dict.fromkeys(filter(None, (source.partition(":")[0], Path(source.partition(":")[2]).name)))) for source in sources}
    return {source: name if list(short.values()).count(name) == 1 else source for source, name in short.items()}
