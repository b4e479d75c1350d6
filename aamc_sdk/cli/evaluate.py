"""``aamc evaluate``: a run's routers on other data."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE, Folder, split_names


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="FORMAT:PATH", help="What to evaluate on; the run's own rows by default.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Which of the run's own rows; test by default, not trained on.")
@click.option("--strict", is_flag=True, help="Rows that were trained on are an error; without it they are left out, and counted.")
@click.option("--routers", metavar="A,B,...", help="Which of the run's routers; all by default.")
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
    routers: str | None,
    preference: str | None,
    out: Path | None,
    gate: bool,
    as_json: bool,
) -> None:
    """Compare a run's routers on other data, or on its own again. RUN is runs/latest by default.

    Rows of other data that the run was trained on are left out, near-duplicates of such rows too.

    Example: aamc evaluate runs/latest --dataset outcomes:mine/
    """
    from aamc_sdk.cli.output import show_metrics
    from aamc_sdk.cli.progress import progress
    from aamc_sdk.measure import measure_run
    from aamc_sdk.runs import Run
    from aamc_sdk.settings import Source

    if dataset is not None and split is not None:
        raise click.UsageError("--split chooses among the run's own rows; leave it out, or --dataset")
    opened = Run.open(run)
    with progress() as shown:
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
            plugins_of(ctx).tell("aamc_run_finished", folder=out)
    show_metrics(metrics, opened.router_name, as_json)
    if gate:
        click.echo(metrics["gate"]["why"], err=True)
        ctx.exit(0 if metrics["gate"]["passed"] else 1)
