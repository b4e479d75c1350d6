"""``aamc evaluate``: a run's routers on other data, or any on the decisions of a log."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click
from click.core import ParameterSource

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, PREFERENCE, Folder, plugins_of, split_names


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="FORMAT:PATH", help="What to evaluate on; the run's own rows by default.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Which of the run's own rows; test by default, not trained on.")
@click.option("--strict", is_flag=True, help="Rows that were trained on are an error; without it they are left out, and counted.")
@click.option("--logs", metavar="URL", help="What they would have earned on the decisions of a log, such as sqlite:state.db, instead.")
@click.option("--routers", metavar="A,B,...", help="Which of the run's routers; all by default. With --logs also any that need no training.")
@PREFERENCE
@click.option("--out", type=Folder(path_type=Path), help="The folder to write; nothing is written by default.")
@click.option("--gate", is_flag=True, help="End with status 1 unless the run's router beats the best constant choice at its cost.")
@JSON
@click.pass_context
def evaluate(
    ctx: click.Context,
    run: Path,
    dataset: str | None,
    split: str | None,
    strict: bool,
    logs: str | None,
    routers: str | None,
    preference: str | None,
    out: Path | None,
    gate: bool,
    as_json: bool,
) -> None:
    """Compare a run's routers on other data, or on its own again. RUN is runs/latest by default.

    Rows of other data that the run was trained on are left out, near-duplicates of such rows too.

    With --logs, estimates from logged decisions, their probabilities and their feedback, with 95% intervals: without a run where
    RUN is not given and runs/latest has other candidates, or is not there.

    Example: aamc evaluate runs/latest --dataset outcomes:mine/
    """
    if logs is not None:
        _refuse_beside_logs(ctx, "dataset", "split", "strict", "out", "gate")
        _evaluate_log(ctx, run, logs, routers, preference, as_json)
        return
    from aamc_experiments.commands.tables import show_metrics
    from aamc_experiments.measurement import measure_run
    from aamc_experiments.settings import Source
    from aamc_sdk.cli import progress
    from aamc_sdk.storage import locked

    if dataset is not None and split is not None:
        raise click.UsageError("--split chooses among the run's own rows; leave it out, or --dataset")
    opened = RunFolder.open(run)
    with progress() as shown, nullcontext() if out is None else locked(out):
        metrics = measure_run(
            opened,
            plugins_of(ctx),
            shown,
            source=None if dataset is None else Source.of(dataset, "--dataset"),
            split=split or "test",
            strict=strict,
            names=opened.router_names if routers is None else split_names(routers),
            preference=opened.preference(preference),
            out=out,
            gate=gate,
        )
        if out is not None:
            plugins_of(ctx).notify("aamc_run_finished", folder=out)
    show_metrics(metrics, opened.router_name, as_json)
    if gate:
        click.echo(metrics["gate"]["why"], err=True)
        ctx.exit(0 if metrics["gate"]["passed"] else 1)


def _refuse_beside_logs(ctx: click.Context, *names: str) -> None:
    for name in names:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--logs takes its decisions from a log; leave out --{name}")


def _evaluate_log(ctx: click.Context, folder: Path, url: str, routers: str | None, preference: str | None, as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_log_estimates
    from aamc_experiments.off_policy import measure_log
    from aamc_sdk.types import Preference

    named = ctx.get_parameter_source("run") is not ParameterSource.DEFAULT
    run = RunFolder.open(folder) if named or (folder / "run.yaml").is_file() else None
    calibrated = {} if run is None else run.calibrated_preferences
    document = measure_log(
        url,
        plugins_of(ctx),
        names=None if routers is None else split_names(routers),
        run=run,
        only_if_it_fits=not named,
        preference=None if preference is None else Preference.parse(preference, calibrated),
    )
    show_log_estimates(document, as_json)
    ctx.exit(1 if all(row["refused"] for row in document["routers"].values()) else 0)
