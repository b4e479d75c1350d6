"""``aamc evaluate``: compare a run's routers on other data, or estimate their results from a decision log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, PREFERENCE, Folder, plugins_of, split_names


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="FORMAT:PATH", help="Data to evaluate on (default: the run's own rows).")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Split of the run's own rows (default: test).")
@click.option("--strict", is_flag=True, help="Fail if a part was trained on a row, instead of leaving such rows out.")
@click.option("--logs", metavar="URL", help="Estimate results from a decision log, such as sqlite:state.db, instead.")
@click.option("--routers", metavar="A,B,...", help="Routers of the run (default: all); with --logs also any that need no training.")
@PREFERENCE
@click.option("--out", type=Folder(path_type=Path), help="Folder to write (default: nothing is written).")
@click.option("--gate", is_flag=True, help="Exit with status 1 unless the run's router beats the best constant choice at its cost.")
@JSON
@click.pass_context
def evaluate(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Compare the routers of RUN (default: runs/latest) on other data, or on its own test rows.

    Rows of other data that the run was trained on are left out, and so are near-duplicates of them.

    With --logs, estimate the results from logged decisions, their probabilities and their feedback, with 95% intervals. If RUN is not
    given and runs/latest is missing or has other candidates than the log, no run is used.

    Example: aamc evaluate runs/latest --dataset outcomes:mine/
    """
    if options["logs"] is not None:
        _refuse_beside_logs(ctx, "dataset", "split", "strict", "out", "gate")
        _evaluate_log(ctx, options["logs"], options, as_json)
    else:
        _evaluate_run(ctx, options, as_json)


def _refuse_beside_logs(ctx: click.Context, *names: str) -> None:
    for name in names:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--logs takes its decisions from a log; leave out --{name}")


def _evaluate_run(ctx: click.Context, options: Mapping[str, Any], as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_metrics
    from aamc_experiments.measurement import EvaluationRequest, evaluate_run
    from aamc_experiments.settings import Source
    from aamc_sdk.cli import progress
    from aamc_sdk.storage import locked

    dataset, routers, out = options["dataset"], options["routers"], options["out"]
    if dataset is not None and options["split"] is not None:
        raise click.UsageError("--split chooses among the run's own rows; leave it out, or --dataset")
    run = RunFolder.open(options["run"])
    with progress() as shown, nullcontext() if out is None else locked(out):
        request = EvaluationRequest(
            names=run.router_names if routers is None else split_names(routers),
            preference=run.preference(options["preference"]),
            source=None if dataset is None else Source.of(dataset, "--dataset"),
            split=options["split"] or "test",
            strict=options["strict"],
            out=out,
            gate=options["gate"],
        )
        metrics = evaluate_run(run, request, plugins_of(ctx), shown)
        if out is not None:
            plugins_of(ctx).notify("aamc_run_finished", folder=out)
    show_metrics(metrics, run.router_name, as_json)
    if request.gate:
        click.echo(metrics["gate"]["why"], err=True)
        ctx.exit(0 if metrics["gate"]["passed"] else 1)


def _evaluate_log(ctx: click.Context, url: str, options: Mapping[str, Any], as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_log_estimates
    from aamc_experiments.off_policy import evaluate_log
    from aamc_sdk.types import Preference

    folder, routers, preference = options["run"], options["routers"], options["preference"]
    named = ctx.get_parameter_source("run") is not ParameterSource.DEFAULT
    run = RunFolder.open(folder) if named or (folder / "run.yaml").is_file() else None
    document = evaluate_log(
        url,
        plugins_of(ctx),
        names=None if routers is None else split_names(routers),
        run=run,
        run_optional=not named,
        preference=None if preference is None else Preference.parse(preference, {} if run is None else run.calibrated_preferences),
    )
    show_log_estimates(document, as_json)
    ctx.exit(1 if all(row["refused"] for row in document["routers"].values()) else 0)
