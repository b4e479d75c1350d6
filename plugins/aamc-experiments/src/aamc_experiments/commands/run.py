"""``aamc run``: from data to a comparison, a report and a router that answers."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_experiments.commands.options import experiment_options, gather, new_folder
from aamc_sdk.cli import JSON, OUT, RESUME, plugins_of

if TYPE_CHECKING:
    from aamc_experiments.experiment import Experiment
    from aamc_experiments.orchestrator_training import OrchestratorTraining
    from aamc_sdk.interfaces import Progress


@click.command()
@experiment_options
@click.option("--routers", metavar="A,B,...", help="What to compare with; every baseline by default.")
@OUT
@RESUME
@JSON
@click.option("--profile", "profiled", is_flag=True, help="Say where the time went, here and in profile.json; takes a little longer.")
@click.pass_context
def run(ctx: click.Context, /, out: Path | None, resume: Path | None, as_json: bool, profiled: bool, **given: Any) -> None:
    """Train what needs training, compare with every baseline, and report.

    Example: aamc run --router ppo --estimator tce
    """
    from aamc_experiments.commands.tables import show_metrics, show_profile
    from aamc_experiments.profile import Profile, ProfiledExperiment
    from aamc_sdk.cli import progress
    from aamc_sdk.storage import point_latest

    with progress() as shown:
        profile = Profile(shown) if profiled else None
        experiment = open_experiment(ctx, "comparison", out, resume, given, profile or shown, ProfiledExperiment if profiled else None)
        folder = experiment.run.folder
        with profile or nullcontext():
            metrics = complete(experiment, "run")
            point_latest(folder)
            with profile.stage("report") if profile else nullcontext():
                plugins_of(ctx).notify("aamc_run_finished", folder=folder)
    show_metrics(metrics, experiment.router_name, as_json)
    if profile:
        show_profile(profile.write(folder))
    report = folder / "report.html"
    click.echo(f"\nEverything is in {folder}" + (f"; open {report}" if report.exists() else ""), err=True)


def open_experiment(
    ctx: click.Context,
    goal: str,
    out: Path | None,
    resume: Path | None,
    given: dict[str, Any],
    shown: Progress,
    kind: type[Experiment] | None = None,
) -> Experiment:
    """Return the experiment that the options name, new or interrupted; of a subclass where one is given.

    Raises:
        click.UsageError: ``--resume`` comes with options that would change the run.
        OutputError: ``--out`` names a folder with another run in it.
    """
    from aamc_experiments.experiment import Experiment

    if resume is not None:
        if out is not None or any(value not in (None, ()) for value in given.values()):
            raise click.UsageError("--resume goes on with a run as it was begun; leave the other options out")
        return _resumed((kind or Experiment).resume(resume, plugins_of(ctx), shown), goal)
    settings = gather(**given)
    return (kind or Experiment)(settings, plugins_of(ctx), out or new_folder(settings.router.name), shown, goal)


def _resumed(experiment: Experiment, goal: str) -> Experiment:
    """Return an experiment that was begun by the same command."""
    from aamc_sdk.errors import ConfigError

    command = {"comparison": "run", "estimator": "train", "router": "train", "orchestrator": "train"}.get(experiment.goal)
    folder = experiment.run.folder
    if command is None:
        raise ConfigError(f"{folder} holds an evaluation, which is quickly done again; use aamc evaluate")
    if (command == "run") != (goal == "comparison"):
        raise ConfigError(f"{folder} was begun by aamc {command}; go on with: aamc {command} --resume {folder}")
    return experiment


def complete(experiment: Experiment | OrchestratorTraining, command: str) -> dict[str, Any]:
    """Complete an experiment, or an orchestrator's training.

    Raises:
        Interrupted: The user stopped it; the message says how to go on.
    """
    from aamc_sdk.errors import Interrupted

    try:
        return experiment.complete()
    except KeyboardInterrupt:
        folder = experiment.run.folder
        begun = (folder / "run.yaml").exists()
        raise Interrupted(f"interrupted; go on with: aamc {command} --resume {folder}" if begun else "interrupted before anything began") from None
