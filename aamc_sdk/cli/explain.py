"""``aamc explain``: an explanation of a logged decision."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli.main import plugins_of
from aamc_sdk.cli.options import JSON


@click.command()
@click.argument("decision_id", metavar="ID")
@click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Folder of the run with the router (default: runs/latest).")
@click.option("--store", metavar="URL", help="URL of the log (default: the run's own log).")
@JSON
@click.pass_context
def explain(ctx: click.Context, decision_id: str, run: Path, store: str | None, as_json: bool) -> None:
    """Explain the logged decision ID."""
    from aamc_sdk.cli.output import show_explanation
    from aamc_sdk.controller import MetaController
    from aamc_sdk.serving.loading import load_components

    components = load_components(run, plugins_of(ctx), store=store, existing_store=True)  # reading creates no log
    with MetaController(components) as controller:
        explanation = controller.explain(decision_id)
    show_explanation(explanation, as_json)
