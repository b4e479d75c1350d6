"""The commands ``aamc bench ...``, an experiment each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_bench.options import (
    DATASET,
    DATASETS,
    MOST,
    MOST_CANDIDATES,
    MOST_EPISODES,
    ROUTERS,
    SEED,
    SEEDS,
    Numbers,
    experiment_options,
)
from aamc_sdk.cli import JSON, OUT, RESUME

if TYPE_CHECKING:
    from aamc_bench.folder import Begun
    from aamc_bench.grid import Job
    from aamc_sdk.errors import AamcError


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
    from aamc_bench.compare import experiment
    from aamc_bench.compare.table import draw, for_the_console, tables_of
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results

    with begin("bench compare", out, resume, given, experiment.checked_options) as begun:
        results, failed = _do(experiment.jobs_of(begun.options), begun, workers)
        document = experiment.document_of(begun.options, results, begun.folder)
        tables = tables_of(document)
        write_results(begun.folder, document, tables, {"comparison": lambda: draw(document)})
    show_results(begun.folder, document, {"comparison": for_the_console(tables["comparison"])}, as_json)
    if failed is not None:
        raise failed


@click.command("scalability", short_help="Measure decision time and quality against the number of candidates.")
@click.option("--model-counts", type=Numbers(int, least=2, most=MOST_CANDIDATES), metavar="3,5,...", help="Sizes of the pool; 3,5,10,20 by default.")
@click.option("--n-queries", type=click.IntRange(min=1, max=MOST), help="Decisions that are timed one at a time; 1000 by default.")
@ROUTERS
@SEED
@experiment_options
def scalability(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Measure decision time and quality against the number of candidates.

    Pools grow from the default one, or --pool, by seeded variations of its models in the simulator. Routers are trained
    anew at each size; after that nothing else runs while their decisions are timed.

    Example: aamc bench scalability --model-counts 3,5,10,20 --n-queries 1000
    """
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results
    from aamc_bench.scalability import experiment

    with begin("bench scalability", out, resume, given, experiment.checked_options) as begun:
        trained, failed = _do(experiment.training_jobs(begun.options), begun, workers)
        timed, untimed = _do(experiment.timing_jobs(begun.options, trained), begun, 1)
        document = experiment.document_of(begun.options, trained, timed)
        tables = experiment.tables_of(document)
        write_results(begun.folder, document, tables, {"scalability": lambda: experiment.draw(document)})
    show_results(begun.folder, document, tables, as_json)
    if (error := failed or untimed) is not None:
        raise error


@click.command("unseen-models", short_help="Measure routing with candidates that training knew little of.")
@DATASETS
@ROUTERS
@SEEDS
@click.option(
    "--newcomers", type=click.IntRange(min=1, max=MOST_CANDIDATES), metavar="K", help="Candidates that are new, drawn by the seed; 1 by default."
)
@click.option(
    "--outcomes", type=Numbers(int, least=1, most=MOST), metavar="10,50,...", help="Outcomes of each that training has; 10,50,200 by default."
)
@experiment_options
def unseen_models(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Measure routing with candidates that training knew little of.

    Estimator and routers are trained without K candidates, which are then added by their descriptions alone; with some
    outcomes of each; and with all. Beside these stands the routing without them.

    Example: aamc bench unseen-models --dataset llmrouter:data/llmrouter --outcomes 10,50,200 --seeds 0,1,2
    """
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results
    from aamc_bench.unseen_models import experiment

    with begin("bench unseen-models", out, resume, given, experiment.checked_options) as begun:
        results, failed = _do(experiment.jobs_of(begun.options), begun, workers)
        document = experiment.document_of(begun.options, results, begun.folder)
        tables = experiment.tables_of(document)
        figures = {"unseen-models": lambda: experiment.draw(document)} if document["records"] else {}
        write_results(begun.folder, document, tables, figures)
    show_results(begun.folder, document, experiment.for_the_console(tables["unseen-models"]), as_json)
    if failed is not None:
        raise failed


@click.command("robustness", short_help="Measure routers under noise and on categories they were not trained on.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--noise-levels", type=Numbers(float, least=0, most=1), metavar="0.0,0.1,...", help="How much noise; 0.0,0.1,0.2,0.3 by default.")
@click.option(
    "--n-episodes", type=click.IntRange(min=1, max=MOST_EPISODES), help="Streams, or as many draws of test rows, behind each figure; 20 by default."
)
@click.option("--kinds", metavar="A,B,...", help="Of estimates, typos, case, padding, prefix and shift; all by default.")
@click.option("--groups", type=click.IntRange(min=2), help="Groups of categories that are held out in turn for shift; 2 by default.")
@ROUTERS
@DATASET
@SEED
@experiment_options
def robustness(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Measure routers under noise on estimates and texts, and on categories that they were not trained on.

    RUN is a run's folder, whose routers are measured as they are; without one, a run is made first.

    Example: aamc bench robustness runs/latest --noise-levels 0.0,0.1,0.2,0.3 --n-episodes 20
    """
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results
    from aamc_bench.robustness import experiment
    from aamc_bench.robustness.figures import figures_of
    from aamc_bench.robustness.table import for_the_console, tables_of

    with begin("bench robustness", out, resume, given, experiment.checked_options) as begun:
        _, untrained = _do(experiment.training_jobs(begun.options), begun, workers)
        results, failed = _do(experiment.measuring_jobs(begun.options), begun, workers)
        document = experiment.document_of(begun.options, results, begun.folder)
        tables = tables_of(document)
        write_results(begun.folder, document, tables, figures_of(document))
    show_results(begun.folder, document, for_the_console(tables), as_json)
    if (error := failed or untrained) is not None:
        raise error
    if experiment.SHIFT in begun.options["kinds"] and not document["shift"]:
        click.echo("Shift was not measured: the data names fewer categories than there are groups", err=True)


@click.command("bandit", short_help="Measure what learning online costs, in the scenarios that operators fear.")
@DATASETS
@ROUTERS
@click.option("--scenarios", metavar="A,B,...", help="Of stationary, drift, new-model, delayed, sparse, poisoned and restart; all by default.")
@click.option("--estimates", metavar="A,B", help="What the estimator learned from other rows: outcomes, labels alone; both by default.")
@SEEDS
@click.option("--streams", type=click.IntRange(min=1, max=MOST_EPISODES), help="Streams of each seed; 2 by default.")
@click.option("--steps", type=click.IntRange(min=1, max=MOST), help="Decisions of a stream, at most one for each row; 800 by default.")
@experiment_options
def bandit(out: Path | None, resume: Path | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Measure what learning online costs, in the scenarios that operators fear.

    Routers that know no outcome decide held-out rows one by one, and learn from what they are told. Regret is what a
    choice loses to the best one of its query, summed up; beside the routers stand the best fixed candidate and choices at random.

    Example: aamc bench bandit --dataset llmrouter:data/llmrouter --scenarios stationary,drift --seeds 0,1,2
    """
    from aamc_bench.bandit import experiment
    from aamc_bench.bandit.table import figures_of, for_the_console, tables_of
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results

    with begin("bench bandit", out, resume, given, experiment.checked_options) as begun:
        results, failed = _do(experiment.jobs_of(begun.options), begun, workers)
        document = experiment.document_of(begun.options, results, begun.folder)
        tables = tables_of(document)
        write_results(begun.folder, document, tables, figures_of(document))
    show_results(begun.folder, document, for_the_console(tables["regret"]), as_json)
    if failed is not None:
        raise failed


@click.command("speed", short_help="Measure how fast everything is, beside other programs in the same run.")
@click.option("--parts", metavar="A,B,...", help="Of simulator, ppo, decision, estimate, startup and evaluation; all by default.")
@click.option("--preset", type=click.Choice(["quick", "full"]), help="Whether long work is cut short and extrapolated; quick by default.")
@OUT
@RESUME
@JSON
def speed(out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Measure how fast everything is, beside other programs in the same run.

    A comparison with what is not installed, such as Stable-Baselines3, is left out, and the table says so.

    Example: aamc bench speed --parts simulator,startup
    """
    from aamc_bench.folder import begin
    from aamc_bench.results import show_results, write_results
    from aamc_bench.speed import experiment

    with begin("bench speed", out, resume, given, experiment.options_of) as begun:
        experiment.use_one_thread()
        results, failed = _do(experiment.jobs_of(begun.options), begun, 1)
        document = experiment.document_of(begun.options, results)
        tables = experiment.tables_of(document)
        write_results(begun.folder, document, tables)
    show_results(begun.folder, document, tables, as_json)
    if failed is not None:
        raise failed


def _do(jobs: Sequence[Job], begun: Begun, workers: int | None) -> tuple[dict[str, Any], AamcError | None]:
    """Do the jobs and return their results; where only some jobs, or routers of a job, failed, those of the others and the error to end with.

    Raises:
        JobsFailed: All failed.
    """
    from aamc_bench.grid import JobsFailed, run_grid
    from aamc_bench.tolerant import RoutersLeftOut, left_out_of
    from aamc_sdk.cli import progress

    try:
        with progress() as shown:
            results = run_grid(jobs, begun.folder, workers, shown)
    except JobsFailed as error:
        if not error.results:
            raise
        return dict(error.results), error
    left_out = left_out_of(results, begun.folder)
    return results, RoutersLeftOut(left_out) if left_out else None
