"""``aamc train``: training without a comparison."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk.cli.options import JSON, OUT, RESUME, experiment_options
from aamc_sdk.cli.run import complete, open_experiment

if TYPE_CHECKING:
    from aamc_sdk.experiment import Experiment


@click.command()
@experiment_options
@OUT
@RESUME
@click.option("--export", "form", metavar="FORM", help="Add what is trained in another form, such as onnx for the estimator tce.")
@JSON
@click.pass_context
def train(ctx: click.Context, /, out: Path | None, resume: Path | None, form: str | None, as_json: bool, **given: Any) -> None:
    """Train a router, with the estimator that it needs; or with --estimator alone, only that.

    Example: aamc train --router ppo --estimator tce --out checkpoints/ppo
    """
    from aamc_sdk.cli.output import write_json_line
    from aamc_sdk.cli.progress import progress
    from aamc_sdk.settings import NO_ESTIMATOR

    estimator = given["estimator"] not in (None, NO_ESTIMATOR)
    if resume is None and not (given["router"] or given["configs"] or estimator):
        raise click.UsageError("say what to train: --router NAME or --estimator NAME")
    goal = "estimator" if estimator and not given["router"] else "router"
    began = time.monotonic()
    with progress() as shown:
        experiment = open_experiment(ctx, goal, out, resume, given, shown)
        if form is not None:
            check_form(experiment, form)
        metrics = complete(experiment, "train")
        if form is not None:
            export(experiment, form)
    seconds, folder = time.monotonic() - began, str(experiment.run.folder)
    if as_json:
        figures = {name: value for name, value in metrics.items() if name != "curve"}
        write_json_line({"schema": 1, "out": folder, "seconds": seconds, "steps": metrics.get("steps"), "metrics": figures})
    else:
        click.echo(f"Trained in {seconds:.0f} s; the checkpoint is in {folder}", err=True)


def check_form(experiment: Experiment, form: str) -> None:
    """Refuse, before anything takes time, a form that what is to be trained cannot be exported in.

    Raises:
        ConfigError: It cannot.
    """
    from aamc_sdk.errors import ConfigError, one_of
    from aamc_sdk.runs import part_name

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
