"""``aamc train``: training without a comparison."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_experiments.commands.options import experiment_options, gather, new_folder
from aamc_experiments.commands.run import complete, open_experiment
from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, OUT, RESUME, plugins_of

if TYPE_CHECKING:
    from aamc_experiments.experiment import Experiment
    from aamc_experiments.orchestrator_training import OrchestratorTraining
    from aamc_sdk.interfaces import Progress

ROUTERS_ALONE = ("router", "estimator", "environment", "reward", "test_dataset", "preference")
"""Options that say nothing of an orchestrator."""


@click.command()
@click.option("--orchestrator", metavar="NAME", help="Train an orchestrator over agents, instead of a router.")
@experiment_options
@OUT
@RESUME
@click.option("--export", "form", metavar="FORM", help="Add what is trained in another form, such as onnx for the estimator tce.")
@JSON
@click.pass_context
def train(ctx: click.Context, /, out: Path | None, resume: Path | None, form: str | None, as_json: bool, **given: Any) -> None:
    """Train a router, with the estimator that it needs; or with --estimator alone, only that; or an orchestrator.

    Example: aamc train --router ppo --estimator tce --out checkpoints/ppo
    """
    from aamc_sdk.cli import progress, write_json_line
    from aamc_sdk.config import NO_ESTIMATOR

    estimator = given["estimator"] not in (None, NO_ESTIMATOR)
    if resume is None and not (given["router"] or given["configs"] or estimator or given["orchestrator"]):
        raise click.UsageError("say what to train: --router NAME, --estimator NAME or --orchestrator NAME")
    goal = "estimator" if estimator and not given["router"] else "router"
    began = time.monotonic()
    with progress() as shown:
        job: Experiment | OrchestratorTraining
        if is_about_orchestrator(resume, given):
            job = open_training(ctx, out, resume, form, given, shown)
            metrics = complete(job, "train")
        else:
            job = open_experiment(ctx, goal, out, resume, given, shown)
            if form is not None:
                check_form(job, form)
            metrics = complete(job, "train")
            if form is not None:
                export(job, form)
    seconds, folder = time.monotonic() - began, str(job.run.folder)
    if as_json:
        figures = {name: value for name, value in metrics.items() if name != "curve"}
        write_json_line({"schema": 1, "out": folder, "seconds": seconds, "steps": metrics.get("steps"), "metrics": figures})
    else:
        click.echo(f"Trained in {seconds:.0f} s; the checkpoint is in {folder}", err=True)


def is_about_orchestrator(resume: Path | None, given: dict[str, Any]) -> bool:
    """Whether the options, or the folder that is gone on with, name an orchestrator."""
    from aamc_sdk.serving import ORCHESTRATOR

    if resume is not None:
        return given["orchestrator"] is not None or RunFolder.open(resume).content["goal"] == ORCHESTRATOR
    return given["orchestrator"] is not None or (given["router"] is None and gather(**given).orchestrator is not None)


def open_training(
    ctx: click.Context, out: Path | None, resume: Path | None, form: str | None, given: dict[str, Any], shown: Progress
) -> OrchestratorTraining:
    """Return the training that the options name, new or interrupted.

    Raises:
        click.UsageError: An option is not for orchestrators, or ``--resume`` comes with options that would change the training.
        ConfigError: An option of the orchestrator is wrong.
    """
    from aamc_experiments.orchestrator_training import OrchestratorTraining, check_options, choose_dataset

    if resume is not None:
        if out is not None or form is not None or any(value not in (None, ()) for value in given.values()):
            raise click.UsageError("--resume goes on with a training as it was begun; leave the other options out")
        return OrchestratorTraining.resume(resume, plugins_of(ctx), shown)
    useless = [f"--{name.replace('_', '-')}" for name in ROUTERS_ALONE if given[name] is not None]
    if form is not None or useless:
        raise click.UsageError(f"an orchestrator is trained without {', '.join(useless or ['--export'])}; leave that out")
    settings = gather(**given)
    check_options(settings, plugins_of(ctx))
    if given["dataset"] is None and str(settings.dataset) == str(gather((), ()).dataset):  # nobody named one, whatever its options
        settings = choose_dataset(settings, plugins_of(ctx))
    assert settings.orchestrator is not None
    return OrchestratorTraining(settings, plugins_of(ctx), out or new_folder(settings.orchestrator.name), shown)


def check_form(experiment: Experiment, form: str) -> None:
    """Refuse, before anything takes time, a form that what is to be trained cannot be exported in.

    Raises:
        ConfigError: It cannot.
    """
    from aamc_sdk.errors import ConfigError, one_of
    from aamc_sdk.serving import part_name

    choice = experiment.settings.estimator if experiment.goal == "estimator" else experiment.settings.router
    assert choice is not None  # it is what the goal names
    name = part_name(choice.name, experiment.goal)
    known = experiment.plugins.load(experiment.goal, name).exports
    if form not in known:
        raise ConfigError(f"{experiment.goal} {name!r} cannot be exported as {form!r}; its forms: {one_of(known)}")


def export(experiment: Experiment, form: str) -> None:
    """Add what was trained in another form to its folder."""
    run, plugins = experiment.run, experiment.plugins
    lent = run.services(plugins)
    if experiment.goal == "router":
        run.router(plugins, lent).export(run.folder / "routers" / run.router_name, form)
    elif (estimator := run.estimator(plugins, lent)) is not None:
        estimator.export(run.folder / "estimator", form)
