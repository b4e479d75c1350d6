"""Routers on several datasets with several seeds, in one table.

Each dataset and seed is one run, in which all routers share estimator, splits and test rows, so that every difference between
routers is paired. Each run leaves a sample, from which the table is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_experiments.evaluation import Comparison
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import COMPARED
from aamc_report.tables import Table
from matplotlib.figure import Figure

from aamc_bench.compare import table
from aamc_bench.datasets import SEVERAL_RUNS, DatasetsBenchmark, finished, labels
from aamc_bench.experiment_runs import chosen_routers, complete_tolerantly, settings_of
from aamc_bench.grid import JOBS
from aamc_bench.samples import Sample, resampling_seed
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager

ROUTERS = ("ppo", "knn", "ridge", "logistic", "svm", "mlp", "gbdt", "mf", "irt", "ensemble", *COMPARED)
"""The default routers, as far as they are installed: the learned routers, then the baselines."""
SEEDS = (0, 1, 2)
SAMPLE = "sample.npz"
"""The file that a job leaves in its run's folder, for the table."""


class CompareBenchmark(DatasetsBenchmark):
    """``aamc bench compare``."""

    command = "bench compare"
    function = "aamc_bench.compare.benchmark:run_and_sample"
    tables = staticmethod(table.tables_of)

    def options(
        self,
        datasets: Sequence[str] = (),
        routers: str | None = None,
        seeds: Sequence[int] | None = None,
        assignments: Sequence[str] = (),
        **given: Any,
    ) -> dict[str, Any]:
        """Return the datasets, the seeds, and the settings of all runs.

        Raises:
            ConfigError: A dataset is named twice, or ``--set`` changes a setting of another option.
        """
        if len(set(datasets)) < len(datasets):
            raise ConfigError(f"--dataset has a dataset twice: {', '.join(datasets)}; give each once")
        names = chosen_routers(routers, ROUTERS)
        measured = self.measured(datasets)
        settings = settings_of(names, assignments, SEVERAL_RUNS, dataset=measured[0], **given)
        return {"datasets": measured, "seeds": list(seeds or SEEDS), "settings": settings.to_dict()}

    def variants(self, options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Return one: a job makes a run with all routers."""
        return {"": {}}

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return ``datasets``, a record for each dataset and router, and the paired ``tests``."""
        done = {dataset: list(keys.values()) for dataset, keys in finished(options, results).items()}
        names, resamples = labels(list(done)), options["settings"]["evaluation"]["resamples"]
        blocks = []
        for n, (dataset, keys) in enumerate(done.items()):
            samples = [Sample.load(folder / JOBS / key / SAMPLE) for key in keys]
            blocks.append(table.DatasetComparison.of(names[dataset], samples, resamples, n))
        about = [
            {"dataset": names[dataset], "source": dataset, "seeds": len(keys), "queries": sum(results[key]["queries"] for key in keys)}
            for dataset, keys in done.items()
        ]
        shown = [*blocks, table.DatasetComparison.mean(blocks)] if len(blocks) > 1 else blocks
        plugins = get_plugin_manager()
        yardsticks = {name for block in blocks for name in block.routers if plugins.load("router", name).privileged}
        records = [record for block in shown for record in block.records(yardsticks)]
        tests = [{"dataset": block.name, **test} for block in blocks for test in block.tests]
        return {"datasets": about, "records": records, "tests": tests}

    def console_tables(self, tables: Mapping[str, Table]) -> Mapping[str, Table]:
        """Return the comparison without the columns that do not fit."""
        return {"comparison": tables["comparison"].with_columns(lambda column: column.key not in table.FILES_ONLY)}

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return the figure of quality over all costs and utility over all preferences."""
        return {"comparison": lambda: table.draw(document)}


def run_and_sample(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run and save its sample with it; return the number of measured queries."""
    complete_tolerantly(folder, progress, settings)
    run, comparison = RunFolder.open(folder), Comparison.load(folder / "decisions.npz")
    reward = run.services(get_plugin_manager()).reward
    Sample.of(comparison, reward, run.settings.evaluation, resampling_seed(comparison, run.settings)).save(folder / SAMPLE)
    return {"queries": len(comparison.queries)}
