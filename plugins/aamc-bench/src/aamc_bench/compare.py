"""``aamc bench compare``: routers on several datasets with several seeds, in one table and one figure.

Each dataset and seed is one run, in which all routers share estimator, splits and test rows, so that every difference between
routers is paired. Each run leaves a sample, from which the table is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import Comparison, Resampling, paired_comparisons
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import COMPARED
from aamc_report.formats import fixed, milliseconds, per_thousand, percent
from aamc_report.style import looks_of
from aamc_report.tables import Column, Table, TableRecord
from matplotlib.figure import Figure

from aamc_bench.benchmark import distinct
from aamc_bench.datasets import SEVERAL_RUNS, DatasetsBenchmark, finished, labels
from aamc_bench.experiment_runs import chosen_routers, complete_tolerantly, settings_of
from aamc_bench.figures import draw_intervals, panels
from aamc_bench.grid import JOBS
from aamc_bench.samples import SHARES, Sample, clear_best, figure, independent, of_shared_routers, over_seeds, questions, resampling_seed, student
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.types import Floats

EVERYWHERE = "all datasets"
LEVEL = 0.05
"""The probability that any of a dataset's tests finds a difference where there is none."""
TEST_SEED = 0
"""The seed of the tests' randomness."""


@attrs.frozen
class Metric(Column):
    """A column of a metric of samples.

    Attributes:
        better: ``"higher"`` or ``"lower"``; empty if neither alone makes a router better.
    """

    better: str = "higher"


METRICS = (
    Metric("AIQ", key="aiq", write=fixed(3)),
    Metric("rel. quality", key="relative_quality", write=fixed(3)),
    Metric("cost at 97%", key="cost_at_0.97", write=percent, better="lower"),
    Metric("APGR", key="apgr", write=fixed(3)),
    Metric("utility", key="expected_utility", write=fixed(3)),
    Metric("reward", key="mean_reward", write=fixed(3)),
    Metric("success", key="success_rate", write=percent, better=""),
    Metric("USD / 1k", key="mean_cost_usd", write=per_thousand, better=""),
    Metric("latency, ms", key="mean_latency_ms", write=milliseconds, better=""),
)
"""The table's metrics; a metric that applies nowhere is left out."""
LLMROUTERBENCH = (
    Metric("AvgAcc", key="average_accuracy", write=percent),
    Metric("Gain@R", key="gain_at_random", write=percent),
    Metric("Gain@B", key="gain_at_best", write=percent),
    Metric("Gap@O", key="gap_at_oracle", write=percent, better="lower"),
    Metric("PerfGain", key="performance_gain", write=percent),
    Metric("CostSave", key="cost_saving", write=percent),
)
"""The metrics of LLMRouterBench, see :func:`aamc_bench.samples.accuracy_gains`; a table of their own."""
MEASURED = (*METRICS, *LLMROUTERBENCH)
DRAWN = ("aiq", "expected_utility")
"""The metrics in the figure: over all costs, and over all preferences."""
FILES_ONLY = ("success_rate", "mean_cost_usd", "mean_latency_ms")
"""The metrics that only files show."""
COUNTS = (Column("wins", key="wins", write=fixed(0)), Column("ties", key="ties", write=fixed(0)), Column("losses", key="losses", write=fixed(0)))
TEST_COLUMNS = (
    Column("reward, a minus b", key="difference", write=fixed(4)),
    Column("over seeds", key="over_seeds", write=fixed(4)),
    Column("p", key="p", write=fixed(4)),
    Column("p, Holm", key="p_holm", write=fixed(4)),
)
NOTE = (
    "Means over seeds, with 95% intervals of the hierarchical bootstrap (seeds, then the test rows or streams of each). "
    "rel. quality: the router's best mean quality, as a share of the best single candidate's. "
    "cost at 97%: minimum cost for 97% of that candidate's quality, as a share of its cost. "
    "Bold: better than every other router except reference routers, each paired interval excludes zero. "
    "wins, ties, losses: against each other router by mean reward on the same rows, randomisation test, Holm's correction, 5%. "
    "Bold, wins and losses hold for these trained routers; for their methods only if trainings differ by less than the test rows' noise."
)
TESTS_NOTE = (
    "reward, a minus b: over the rows of all seeds, for these trained routers. over seeds: mean of the seeds' differences with Student's interval, "
    "which holds for methods however much their trainings differ. Bold: significant at 5% by p, Holm."
)

GAINS_NOTE = (
    "The measures of LLMRouterBench (arXiv:2601.07206), with the intervals of the other table. AvgAcc: mean over categories of the mean quality, at "
    "the preference (1, 0, 0). Gain@R, Gain@B: relative gain over uniform choices and over the single candidate of the best AvgAcc. Gap@O: relative "
    "gap to the best candidate of every query. PerfGain: maximum gain over that single candidate on the sweep of preferences. CostSave: maximum "
    "share of its cost that a preference saves without less AvgAcc."
)


@attrs.frozen(eq=False)
class DatasetComparison:
    """The routers on one dataset.

    Attributes:
        name: The dataset's name in the table.
        routers: The names of R routers.
        figures: The values by metric, ``[R, 1 + B]``; see :func:`aamc_bench.samples.over_seeds`.
        tests: The test of each pair of routers on the same rows.
        counts: Wins, ties and losses by router.
        units: The number of different questions, or of streams.
        exact: Whether shares have exact intervals: there is one seed, and each unit is one row.
    """

    name: str
    routers: Sequence[str]
    figures: Mapping[str, Floats]
    tests: Sequence[Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]
    units: int
    exact: bool

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample], resamples: int, seed: int) -> DatasetComparison:
        """Combine the samples of a dataset's seeds, of the routers that all have; ``seed`` is that of the resampling."""
        samples = of_shared_routers(samples)
        routers = samples[0].routers.tolist()
        tests = pairwise_tests(samples, resamples)
        figures = {metric.key: over_seeds(samples, metric.key, seed) for metric in MEASURED}
        return cls(name, routers, figures, tests, win_counts(tests, routers), questions(samples), independent(samples))

    @classmethod
    def mean(cls, blocks: Sequence[DatasetComparison]) -> DatasetComparison:
        """Return the unweighted means over datasets and the sums of wins, ties and losses, of the routers that all have."""
        routers = [router for router in blocks[0].routers if all(router in block.routers for block in blocks)]
        rows = [[block.routers.index(router) for router in routers] for block in blocks]
        figures = {
            metric.key: np.mean([block.figures[metric.key][own] for block, own in zip(blocks, rows, strict=True)], axis=0) for metric in MEASURED
        }
        counts = {router: {column.key: sum(block.counts[router][column.key] for block in blocks) for column in COUNTS} for router in routers}
        return cls(EVERYWHERE, routers, figures, (), counts, len(blocks) * min(block.units for block in blocks), False)  # all weigh alike

    def records(self, yardsticks: Collection[str]) -> Sequence[TableRecord]:
        """Return a record for each router; yardsticks are never the best."""
        rows: list[dict[str, Any]] = [{"dataset": self.name, "router": router} for router in self.routers]
        rivals = np.array([router not in yardsticks for router in self.routers])
        for metric in MEASURED:
            values = self.figures[metric.key]
            competing = np.where(rivals[:, None], values, np.nan)
            best = clear_best(competing, metric.better == "lower") if metric.better else None
            for position, row in enumerate(rows):
                row[metric.key] = figure(values[position], self.units if metric.key in SHARES else None, self.exact) | {"best": position == best}
        for router, row in zip(self.routers, rows, strict=True):
            row |= {name: {"value": count} for name, count in self.counts[router].items()}
        return rows


def pairwise_tests(samples: Sequence[Sample], resamples: int) -> list[dict[str, Any]]:
    """Test each pair of routers on the rows of all seeds, with Holm's correction; see :func:`aamc_experiments.evaluation.paired_comparisons`.

    The rewards of one question, or of one stream, change sign together, even if it is a test row with several seeds. ``over_seeds`` is the mean of
    the seeds' differences with Student's interval, which also covers the variation of trainings.
    """
    rewards = np.concatenate([sample.rewards for sample in samples], axis=1)
    unit = np.unique(np.concatenate([sample.unit for sample in samples]), return_inverse=True)[1].ravel()
    names = samples[0].routers.tolist()
    resampling = Resampling.bootstrap(unit, resamples, TEST_SEED)
    tests = paired_comparisons(dict(zip(names, rewards, strict=True)), [resampling], TEST_SEED, list(combinations(names, 2)))
    means = np.stack([sample.rewards.mean(axis=1) for sample in samples], axis=1)  # [R, S]
    return [test | {"over_seeds": student(first - second)} for test, (first, second) in zip(tests, combinations(means, 2), strict=True)]


def win_counts(tests: Sequence[Mapping[str, Any]], routers: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return each router's ``wins``, ``ties`` and ``losses``; a difference that is not significant after the correction is a tie."""
    found = {router: {"wins": 0, "ties": 0, "losses": 0} for router in routers}
    for test in tests:
        a, b = (test["a"], test["b"]) if test["difference"] > 0 else (test["b"], test["a"])
        significant = test["p_holm"] < LEVEL
        found[a]["wins" if significant else "ties"] += 1
        found[b]["losses" if significant else "ties"] += 1
    return found


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the comparison's table, that of its paired tests, and LLMRouterBench's measures where queries have categories."""
    records = document["records"]
    seeds = ", ".join(map(str, document["options"]["seeds"]))
    title = f"Routers on {', '.join(about['dataset'] for about in document['datasets'])}; seeds {seeds}"
    gains = _known(LLMROUTERBENCH, records)
    return {
        "comparison": Table.of_records(title, ("dataset", "router"), [*_known(METRICS, records), *COUNTS], records, NOTE),
        **({"llmrouterbench": Table.of_records(title, ("dataset", "router"), gains, records, GAINS_NOTE)} if gains else {}),
        "tests": Table.of_records(
            "Each pair of routers on the same rows",
            ("dataset", "a", "b"),
            TEST_COLUMNS,
            [{**test, **_test_figures(test)} for test in document["tests"]],
            TESTS_NOTE,
        ),
    }


def _known(metrics: Sequence[Metric], records: Sequence[TableRecord]) -> list[Metric]:
    """Return the metrics that apply to a router."""
    return [metric for metric in metrics if any(record[metric.key]["value"] is not None for record in records)]


def _test_figures(test: Mapping[str, Any]) -> dict[str, Any]:
    difference = {"value": test["difference"], "ci95": test["ci95"], "best": test["p_holm"] < LEVEL}
    return {"difference": difference, "p": {"value": test["p"]}, "p_holm": {"value": test["p_holm"]}}


def draw(document: Mapping[str, Any]) -> Figure:
    """Draw every router's quality over all costs and utility over all preferences, a row of panels for each dataset."""
    names, routers = distinct(document["records"], "dataset"), distinct(document["records"], "router")
    drawn = [metric for metric in METRICS if metric.key in DRAWN]
    page, axes = panels(len(names), len(drawn), height=0.6 + 0.19 * len(routers))
    for position, (name, metric) in enumerate(product(names, drawn)):
        rows = {record["router"]: record[metric.key] for record in document["records"] if record["dataset"] == name}
        draw_intervals(axes[position], {router: rows[router] for router in routers if router in rows}, looks_of(routers))
        axes[position].set_title(f"{name}: {metric.title}")
    return page


ROUTERS = ("ppo", "knn", "ridge", "logistic", "svm", "mlp", "gbdt", "mf", "irt", "ensemble", *COMPARED)
"""The default routers, as far as they are installed: the learned routers, then the baselines."""
SEEDS = (0, 1, 2)
SAMPLE = "sample.npz"
"""The file that a job leaves in its run's folder, for the table."""


class CompareBenchmark(DatasetsBenchmark):
    """``aamc bench compare``."""

    command = "bench compare"
    function = "aamc_bench.compare:run_and_sample"
    tables = staticmethod(tables_of)

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
            blocks.append(DatasetComparison.of(names[dataset], samples, resamples, n))
        about = [
            {"dataset": names[dataset], "source": dataset, "seeds": len(keys), "queries": sum(results[key]["queries"] for key in keys)}
            for dataset, keys in done.items()
        ]
        shown = [*blocks, DatasetComparison.mean(blocks)] if len(blocks) > 1 else blocks
        plugins = get_plugin_manager()
        yardsticks = {name for block in blocks for name in block.routers if plugins.load("router", name).privileged}
        records = [record for block in shown for record in block.records(yardsticks)]
        tests = [{"dataset": block.name, **test} for block in blocks for test in block.tests]
        return {"datasets": about, "records": records, "tests": tests}

    def console_tables(self, tables: Mapping[str, Table]) -> Mapping[str, Table]:
        """Return the comparison without the columns that do not fit."""
        return {"comparison": tables["comparison"].with_columns(lambda column: column.key not in FILES_ONLY)}

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return the figure of quality over all costs and utility over all preferences."""
        return {"comparison": lambda: draw(document)}


def run_and_sample(folder: Path, progress: Progress, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make one run and save its sample with it; return the number of measured queries."""
    complete_tolerantly(folder, progress, settings)
    run, comparison = RunFolder.open(folder), Comparison.load(folder / "decisions.npz")
    reward = run.services(get_plugin_manager()).reward
    Sample.of(comparison, reward, run.settings.evaluation, resampling_seed(comparison, run.settings)).save(folder / SAMPLE)
    return {"queries": len(comparison.queries)}
