"""``aamc explain``: why a decision of the log was made."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli.main import plugins_of
from aamc_sdk.cli.options import JSON


@click.command()
@click.argument("decision_id", metavar="ID")
@click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Whose router; runs/latest by default.")
@click.option("--store", metavar="URL", help="The log; the run's own by default.")
@JSON
@click.pass_context
def explain(ctx: click.Context, decision_id: str, run: Path, store: str | None, as_json: bool) -> None:
    """Say why the decision ID was made."""
    from aamc_sdk.cli.output import show_explanation
    from aamc_sdk.controller import MetaController
    from aamc_sdk.serving.loading import load_components

    components = load_components(run, plugins_of(ctx), store=store, existing_store=True)  # looking for a decision makes no log
    with MetaController(components) as controller:
        explanation = controller.explain(decision_id)
    show_explanation(explanation, as_json)
