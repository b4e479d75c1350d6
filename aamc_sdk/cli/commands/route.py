"""``aamc route``: one decision, explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE, RUN, STORE, USER, USER_KEY_FILE, text_argument
from aamc_sdk.cli.output import show_explanation


@click.command()
@text_argument("text")
@RUN
@click.option("--router", metavar="NAME|FOLDER", help="Router of the run, or the folder of a trained one (default: the run's own).")
@click.option("--estimator", metavar="FOLDER", help="Folder of a trained estimator (default: the run's own).")
@STORE
@PREFERENCE
@USER
@USER_KEY_FILE
@JSON
@click.pass_context
def route(
    ctx: click.Context, /, text: str, run: Path, preference: str | None, user: str | None, user_key: str | None, as_json: bool, **named: Any
) -> None:
    """Choose a candidate for the query TEXT, and explain the choice.

    Example: aamc route "Write a Python function to sort a list" --preference 0.7,0.2,0.1
    """
    from aamc_sdk.controller import MetaController
    from aamc_sdk.serving import components_from_run

    with MetaController(components_from_run(run, plugins_of(ctx), check_endpoints=False, **named), user_key=user_key) as controller:
        explanation = controller.route_explained(text, preference, user=user)
    show_explanation(explanation, as_json)
