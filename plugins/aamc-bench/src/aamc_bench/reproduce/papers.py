"""Command ``aamc reproduce fig5``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aamc_bench.options import SEED, run_options
from aamc_sdk.cli import Folder, plugins_of


@click.command("fig5", short_help="Make Figure 5 of the AAMC paper: success, cost, latency and efficiency of the strategies.")
@click.option("--run", type=Folder(path_type=Path), help="A run that exists; by default one is made, as by aamc run --router ppo.")
@SEED
@run_options
@click.pass_context
def fig5(ctx: click.Context, /, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Make Figure 5 of the AAMC paper: success, cost, latency and efficiency of the strategies, with 95% intervals.

    It leaves figures/fig5.png and .svg, their data as fig5.csv and fig5.json, and what the paper states beside what came out.

    Example: aamc reproduce fig5 --preset full
    """
    from aamc_bench.folder import begin
    from aamc_bench.reproduce import fig5 as experiment
    from aamc_bench.results import show_results, write_results
    from aamc_bench.training import complete_run
    from aamc_sdk.cli import progress

    with begin("reproduce fig5", out, resume, given, experiment.options_of) as begun:
        run = begun.options["run"]
        place = begun.folder / "run" if run is None else Path(run)
        if run is None:
            with progress() as shown:
                complete_run(place, shown, begun.options["settings"])
            plugins_of(ctx).notify("aamc_run_finished", folder=place)
        document = experiment.document_of(begun.options, place)
        tables = experiment.tables_of(document)
        write_results(begun.folder, document, tables, {"fig5": lambda: experiment.draw(document)}, "fig5")
    show_results(begun.folder, document, tables, as_json)
