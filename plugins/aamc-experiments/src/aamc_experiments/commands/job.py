"""The jobs of ``aamc run`` and ``aamc train``: experiments that are begun, or resumed from their folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_experiments.commands.options import new_folder, settings_from_options
from aamc_sdk.cli import plugins_of

if TYPE_CHECKING:
    from aamc_experiments.experiment import Experiment
    from aamc_experiments.orchestrator_training import OrchestratorTraining
    from aamc_experiments.run_folder import Goal
    from aamc_sdk.interfaces import Progress


def split_options(options: Mapping[str, Any], job: str) -> tuple[dict[str, Any], Path | None, Path | None]:
    """Return the options of the experiment, the folder to write, and the folder to resume.

    Args:
        options: The options of the command line; None or empty if not given.
        job: The job for the error, such as ``"a run"``.

    Raises:
        click.UsageError: ``--resume`` comes with other options, which would change the job.
    """
    described = {key: value for key, value in options.items() if key not in ("out", "resume")}
    out, resume = options.get("out"), options.get("resume")
    if resume is not None and (out is not None or any(value not in (None, ()) for value in described.values())):
        raise click.UsageError(f"--resume continues {job} with its own options; leave the other options out")
    return described, out, resume


def open_experiment(ctx: click.Context, goal: Goal, options: Mapping[str, Any], shown: Progress, kind: type[Experiment] | None = None) -> Experiment:
    """Return the experiment that the options describe, new or resumed.

    Args:
        ctx: The context of the command.
        goal: The last stage of a new experiment.
        options: The options.
        shown: Receives the progress.
        kind: The class of the experiment.

    Raises:
        click.UsageError: ``--resume`` comes with other options.
        CheckpointError: Another command began the job.
    """
    from aamc_experiments.experiment import Experiment
    from aamc_experiments.run_folder import Goal
    from aamc_sdk.errors import CheckpointError, ConfigError

    described, out, resume = split_options(options, "a run")
    if resume is None:
        settings = settings_from_options(described)
        if settings.budget_usd is not None or settings.continue_from is not None:
            raise ConfigError("budget_usd and continue_from (--from) belong to the training of an orchestrator; leave them out, or name one")
        trained = settings.estimator if goal is Goal.ESTIMATOR and settings.estimator is not None else settings.router
        return (kind or Experiment)(settings, plugins_of(ctx), out or new_folder(trained.name), shown, goal)
    experiment = (kind or Experiment).resume(resume, plugins_of(ctx), shown)
    folder, command = experiment.run.folder, experiment.goal.command
    if command == "evaluate":
        raise CheckpointError(f"{folder} holds an evaluation, which cannot be resumed; run aamc evaluate again")
    if command != goal.command:
        raise CheckpointError(f"{folder} was begun by aamc {command}; continue with: aamc {command} --resume {folder}")
    return experiment


def complete(job: Experiment | OrchestratorTraining, command: str) -> dict[str, Any]:
    """Complete a job and return its metrics.

    Raises:
        Interrupted: The user stopped the job; the message says how to continue.
    """
    from aamc_sdk.errors import Interrupted

    try:
        return job.complete()
    except KeyboardInterrupt:
        folder = job.run.folder
        begun = (folder / "run.yaml").exists()
        raise Interrupted(f"interrupted; continue with: aamc {command} --resume {folder}" if begun else "interrupted before anything began") from None
