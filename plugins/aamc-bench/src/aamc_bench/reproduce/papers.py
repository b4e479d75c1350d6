"""Command ``aamc reproduce fig5``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aamc_bench.options import SEED, run_options
from aamc_sdk.cli import Folder, plugins_of


@click.command("fig5")
@click.option("--run", type=Folder(path_type=Path), help="An existing run (default: make one, as aamc run --router ppo does).")
@SEED
@run_options()
@click.pass_context
def fig5(ctx: click.Context, /, **given: Any) -> None:
    """Make Figure 5 of the AAMC paper: success, cost, latency and efficiency of the strategies, with 95% intervals.

    Writes figures/fig5.png and .svg, their data as fig5.csv and fig5.json, and the paper's claims with our values.

    Example: aamc reproduce fig5 --preset full
    """
    from aamc_bench.reproduce.fig5 import FigureFive

    FigureFive(plugins_of(ctx)).run(**given)
