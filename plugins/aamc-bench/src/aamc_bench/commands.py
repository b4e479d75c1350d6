"""Commands ``aamc bench compare`` and ``robustness``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_bench.options import DATASETS, ROUTERS, SEED, SEEDS, Numbers, experiment_options

if TYPE_CHECKING:
    from aamc_bench.folder import Begun
    from aamc_bench.grid import Job, JobsFailed


@click.command("compare", short_help="Compare routers on several datasets and seeds, in one table.")
@DATASETS
@ROUTERS
@SEEDS
@experiment_options
def compare(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Compare routers on several datasets and seeds, in one table.

    Every dataset and seed is one run in a process of its own; a stopped comparison goes on with --resume.

    Example: aamc bench compare --dataset synthetic --routers ppo,greedy,best-single,oracle --seeds 0,1,2
    """
    from aamc_bench import compare as experiment
    from aamc_bench.figures import save_figure
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results

    with begin("bench compare", out, resume, given, experiment.options_of) as begun:
        results, failed = _do(experiment.jobs_of(begun.options), begun, workers)
        document = experiment.document_of(begun.options, results, begun.folder)
        tables = experiment.tables_of(document)
        write_results(begun.folder, document, tables)
        save_figure(begun.folder, "comparison", lambda: experiment.draw(document))
    show_results(begun.folder, document, {"comparison": experiment.for_the_console(tables["comparison"])}, as_json)
    if failed is not None:
        raise failed


@click.command("scalability", short_help="Measure decision time and quality against the number of candidates.")
@click.option("--model-counts", type=Numbers(int, least=2), metavar="3,5,...", help="Sizes of the pool; 3,5,10,20 by default.")
@click.option("--n-queries", type=click.IntRange(min=1), help="Decisions that are timed one at a time; 1000 by default.")
@ROUTERS
@SEED
@experiment_options
def scalability(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Measure decision time and quality against the number of candidates.

    Pools grow from the default one, or --pool, by seeded variations of its models in the simulator. Routers are trained
    anew at each size; after that nothing else runs while their decisions are timed.

    Example: aamc bench scalability --model-counts 3,5,10,20 --n-queries 1000
    """
    from aamc_bench import scalability as experiment
    from aamc_bench.figures import save_figure
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results

    with begin("bench scalability", out, resume, given, experiment.options_of) as begun:
        trained, failed = _do(experiment.training_jobs(begun.options), begun, workers)
        timed, untimed = _do(experiment.timing_jobs(begun.options, trained), begun, 1)
        document = experiment.document_of(begun.options, trained, timed)
        tables = experiment.tables_of(document)
        write_results(begun.folder, document, tables)
        save_figure(begun.folder, "scalability", lambda: experiment.draw(document))
    show_results(begun.folder, document, tables, as_json)
    if (error := failed or untimed) is not None:
        raise error


def _do(jobs: Sequence[Job], begun: Begun, workers: int | None) -> tuple[dict[str, Any], JobsFailed | None]:
    """Do the jobs and return their results; where only some failed, those of the others, and the error to end with.

    Raises:
        JobsFailed: All failed.
    """
    from aamc_bench.grid import JobsFailed, run_grid
    from aamc_sdk.cli.progress import progress

    try:
        with progress() as shown:
            return run_grid(jobs, begun.folder, workers, shown), None
    except JobsFailed as error:
        if not error.results:
            raise
        return dict(error.results), error
