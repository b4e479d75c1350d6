"""``aamc route``: one decision, explained."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli.main import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE


@click.command()
@click.argument("text")
@click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Whose router; runs/latest by default.")
@PREFERENCE
@JSON
@click.pass_context
def route(ctx: click.Context, text: str, run: Path, preference: str | None, as_json: bool) -> None:
    """Decide who should answer TEXT, and say why.

    Example: aamc route "Write a Python function to sort a list" --preference 0.7,0.2,0.1
    """
    from aamc_sdk.cli.output import show_explanation
    from aamc_sdk.controller import MetaController

    if not text.strip():  # an application's query may be empty beside an image, but a person forgot something
        raise click.UsageError(f"TEXT must not be empty, as {text!r} is")
    with MetaController.load(run, plugins=plugins_of(ctx)) as controller:
        explanation = controller.route_explained(text, preference)
    show_explanation(explanation, as_json)
