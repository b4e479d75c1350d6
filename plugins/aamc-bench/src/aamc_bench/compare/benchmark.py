"""Routers x datasets x seeds in one table.

Each dataset and seed is one run, in which all routers share estimator, splits and test rows, so that every
difference between routers is paired. The runs go side by side; the table is made of what they kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_bench.compare.table import Block
from aamc_bench.datasets import SEVERAL_RUNS, checked, key_of, labels, settings_on
from aamc_bench.grid import JOBS, Job
from aamc_bench.samples import Sample, resampling_seed
from aamc_bench.training import complete_tolerantly, installed, settings_of
from aamc_sdk.cli.options import split_names
from aamc_sdk.errors import ConfigError
from aamc_sdk.evaluation.comparison import Comparison
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.runs import Run
from aamc_sdk.settings import COMPARED, Source

ROUTERS = ("ppo", "knn", "ridge", "logistic", "svm", "mlp", "gbdt", "mf", "irt", "ensemble", *COMPARED)
"""What is compared by default, as far as it is installed: the learned routers, then the baselines."""
SEEDS = (0, 1, 2)
SAMPLE = "sample.npz"
"""The file that a job leaves beside its run, for the table."""


def options_of(
    datasets: Sequence[str] = (), routers: str | None = None, seeds: Sequence[int] | None = None, assignments: Sequence[str] = (), **given: Any
) -> dict[str, Any]:
    """Return all that the table follows from, by the command line's options; what is not given has its default.

    Raises:
        ConfigError: A dataset is named twice, or ``--set`` is given what another option decides.
    """
    if len(set(datasets)) < len(datasets):
        raise ConfigError(f"each dataset counts once; --dataset has one twice: {', '.join(datasets)}")
    names = installed(ROUTERS, get_plugin_manager()) if routers is None else split_names(routers)
    measured = list(datasets) or ["synthetic"]
    settings = settings_of(names, assignments, SEVERAL_RUNS, dataset=measured[0], **given)
    return {"datasets": measured, "seeds": list(seeds or SEEDS), "settings": settings.plain()}


def checked_options(**given: Any) -> dict[str, Any]:
    """Return :func:`options_of`, of which a run on each dataset can begin."""
    return checked(options_of(**given))


def jobs_of(options: Mapping[str, Any]) -> list[Job]:
    """Return a job for each dataset and seed, the seeds of a dataset beside each other."""
    return [
        Job(key_of(n, dataset, seed), "aamc_bench.compare.experiment:run_and_sample", {"settings": settings_on(options, dataset, seed)})
        for n, dataset in enumerate(options["datasets"], start=1)
        for seed in options["seeds"]
    ]


def run_and_sample(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Do one run and keep its sample beside it; return how many queries it measured."""
    complete_tolerantly(folder, progress, settings)
    run, comparison = Run.open(folder), Comparison.load(folder / "decisions.npz")
    reward = run.services(get_plugin_manager()).reward
    Sample.of(comparison, reward, run.settings.evaluation, resampling_seed(comparison, run.settings)).save(folder / SAMPLE)
    return {"queries": len(comparison.queries)}


def document_of(options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the experiment's JSON document from the jobs that are done.

    Args:
        options: What it was begun with.
        results: What the jobs returned, by key.
        folder: Where their files are.
    """
    done: dict[str, list[str]] = {}
    for job in jobs_of(options):
        if job.key in results:
            done.setdefault(str(Source.of(job.arguments["settings"]["dataset"], "dataset")), []).append(job.key)
    names, resamples = labels(list(done)), options["settings"]["evaluation"]["resamples"]
    blocks = []
    for n, (dataset, keys) in enumerate(done.items()):
        blocks.append(Block.of(names[dataset], [Sample.load(folder / JOBS / key / SAMPLE) for key in keys], resamples, n))
    about = [
        {"dataset": names[dataset], "source": dataset, "seeds": len(keys), "queries": sum(results[key]["queries"] for key in keys)}
        for dataset, keys in done.items()
    ]
    shown = [*blocks, Block.mean(blocks)] if len(blocks) > 1 else blocks
    plugins = get_plugin_manager()
    yardsticks = {name for block in blocks for name in block.routers if plugins.load("router", name).privileged}
    records = [record for block in shown for record in block.records(yardsticks)]
    tests = [{"dataset": block.name, **test} for block in blocks for test in block.tests]
    return {"schema": 1, "command": "bench compare", "options": options, "datasets": about, "records": records, "tests": tests}
