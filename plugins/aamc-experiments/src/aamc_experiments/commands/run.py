"""``aamc run``: train and compare routers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from aamc_experiments.commands.options import complete, experiment_options, notify_finished, open_experiment
from aamc_sdk.cli import JSON, OUT, RESUME, progress


@click.command()
@experiment_options
@click.option("--routers", metavar="A,B,...", help="Routers to compare with (default: all baselines).")
@OUT
@RESUME
@JSON
@click.option("--profile", "profiled", is_flag=True, help="Print a time profile and write it to profile.json; the run takes a little longer.")
@click.pass_context
def run(ctx: click.Context, /, as_json: bool, profiled: bool, **options: Any) -> None:
    """Train a router and an estimator, compare with every baseline, and report.

    Example: aamc run --router ppo --estimator tce
    """
    from aamc_experiments.commands.tables import show_metrics, show_profile
    from aamc_experiments.run_folder import NOT_LATEST, Goal, point_latest
    from aamc_experiments.training.profile import Profile

    with progress() as shown:
        profile = Profile(shown) if profiled else None
        experiment = open_experiment(ctx, Goal.COMPARISON, options, profile or shown)
        if profile:
            profile.measure(experiment)
        folder = experiment.run.folder
        with profile or nullcontext():
            metrics = complete(experiment, "run")
            is_latest = point_latest(folder)
            with profile.stage("report") if profile else nullcontext():
                notify_finished(ctx, folder)
    show_metrics(metrics, experiment.router_name, as_json)
    if profile:
        show_profile(profile.write(folder))
    report = folder / "report.html"
    click.echo(f"\nEverything is in {folder}" + (f"; open {report}" if report.exists() else ""), err=True)
    if not is_latest:
        click.echo(NOT_LATEST.format(folder), err=True)
