"""``aamc route``: one decision, explained."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE, RUN, STORE


@click.command()
@click.argument("text")
@RUN
@STORE
@PREFERENCE
@JSON
@click.pass_context
def route(ctx: click.Context, text: str, run: Path, store: str | None, preference: str | None, as_json: bool) -> None:
    """Choose a candidate for the query TEXT, and explain the choice.

    Example: aamc route "Write a Python function to sort a list" --preference 0.7,0.2,0.1
    """
    from aamc_sdk.cli.output import show_explanation
    from aamc_sdk.controller import MetaController

    if not text.strip():  # an application's query may be empty, next to an image; on the command line it is a mistake
        raise click.UsageError(f"TEXT must not be empty, not {text!r}")
    with MetaController.load(run, plugins=plugins_of(ctx), store=store) as controller:
        explanation = controller.route_explained(text, preference)
    show_explanation(explanation, as_json)
