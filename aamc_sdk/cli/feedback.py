"""``aamc feedback``: telling a router what came of its decisions."""

from __future__ import annotations

import time
from pathlib import Path

import click

from aamc_sdk.cli import plugins_of
from aamc_sdk.cli.options import JSON


@click.group()
def feedback() -> None:
    """Tell a router what came of its decisions."""


@feedback.command()
@click.argument("decision_id", metavar="ID")
@click.option("--quality", type=float, required=True, metavar="Q", help="From 0 to 1.")
@click.option("--source", default="explicit", help="Who says so; each source counts once a decision.")
@click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Whose log; runs/latest by default.")
@click.option("--store", metavar="URL", help="The log, such as sqlite:state.db, instead of a run's.")
@JSON
@click.pass_context
def add(ctx: click.Context, decision_id: str, quality: float, source: str, run: Path, store: str | None, as_json: bool) -> None:
    """Say how good the answer was that followed the decision ID."""
    from aamc_sdk.cli.output import write_json_line
    from aamc_sdk.runs import Run
    from aamc_sdk.stores import open_store
    from aamc_sdk.types import Feedback

    given = Feedback(decision_id=decision_id, quality=quality, source=source, time=time.time())
    log = open_store(store or Run.open(run).store_url, plugins_of(ctx), existing=True)
    try:
        log.record(decision_id)  # a mistyped id is an error here, not feedback that waits
        new = log.judged(given)
    finally:
        log.close()
    if as_json:
        write_json_line({"schema": 1, "id": given.id, "decision_id": decision_id, "new": new})
    else:
        click.echo(f"Noted as {given.id}." if new else f"{given.id} was there before; it counts once.", err=True)
