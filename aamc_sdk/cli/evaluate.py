"""``aamc evaluate``: a run's routers on other data."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE, Folder, split_names


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="FORMAT:PATH", help="What to evaluate on; the run's own test rows by default.")
@click.option("--routers", metavar="A,B,...", help="Which of the run's routers; all by default.")
@PREFERENCE
@click.option("--out", type=Folder(path_type=Path), help="The folder to write; nothing is written by default.")
@JSON
@click.pass_context
def evaluate(
    ctx: click.Context, run: Path, dataset: str | None, routers: str | None, preference: str | None, out: Path | None, as_json: bool
) -> None:
    """Compare a run's routers on other data. RUN is runs/latest by default.

    Example: aamc evaluate runs/latest --dataset outcomes:mine/
    """
    from aamc_sdk.cli.output import show_metrics
    from aamc_sdk.cli.progress import progress
    from aamc_sdk.measure import measure_run
    from aamc_sdk.runs import Run
    from aamc_sdk.settings import Source

    opened = Run.open(run)
    with progress() as shown:
        metrics = measure_run(
            opened,
            plugins_of(ctx),
            shown,
            source=None if dataset is None else Source.of(dataset, "--dataset"),
            names=opened.router_names if routers is None else split_names(routers),
            preference=opened.preference(preference),
            out=out,
        )
        if out is not None:
            plugins_of(ctx).tell("aamc_run_finished", folder=out)
    show_metrics(metrics, opened.router_name, as_json)
