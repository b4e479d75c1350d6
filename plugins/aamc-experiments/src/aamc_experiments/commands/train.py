"""``aamc train``: train a router, an estimator or an orchestrator without a comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aamc_experiments.commands.options import complete, experiment_options, new_folder, open_experiment, settings_from_options, split_options
from aamc_experiments.run_folder import NOT_LATEST, Goal, RunFolder, point_latest
from aamc_sdk.cli import JSON, OUT, RESUME, Number, plugins_of, progress, write_json_line
from aamc_sdk.config import NO_ESTIMATOR
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import BaseComponent, ExportableComponent, Progress
from aamc_sdk.messages import one_of
from aamc_sdk.serving import component_name

if TYPE_CHECKING:
    from aamc_experiments.training import Experiment
    from aamc_experiments.training.orchestrator_training import OrchestratorTraining

ROUTER_OPTIONS = ("router", "estimator", "environment", "reward", "test_dataset", "preference")
"""Options without a meaning for orchestrators."""


@click.command()
@click.option("--orchestrator", metavar="NAME", help="Orchestrator to train instead of a router.")
@click.option("--from", "continue_from", metavar="RUN", help="Continue training the orchestrator of RUN, on tasks or on a log with feedback.")
@click.option("--budget-usd", type=Number(min=0), metavar="USD", help="Maximum cost of an orchestrator's training.")
@experiment_options
@OUT
@RESUME
@click.option("--export", "form", metavar="FORM", help="Also export the trained component in this format, such as onnx for the estimator tce.")
@JSON
@click.pass_context
def train(ctx: click.Context, /, form: str | None, as_json: bool, **options: Any) -> None:
    """Train a router with its estimator, an estimator alone, or an orchestrator.

    Use the trained router with aamc route, or compare it with baselines with aamc evaluate. runs/latest then points to this run, unless --out is a
    folder outside runs/ and runs/latest already exists.

    Example: aamc train --router ppo --estimator tce --out checkpoints/ppo
    """
    estimator, orchestrated = options.get("estimator") not in (None, NO_ESTIMATOR), names_orchestrator(options)
    if options.get("resume") is None and not (options.get("router") or options.get("configs") or estimator or orchestrated):
        raise click.UsageError("choose what to train: --router NAME, --estimator NAME or --orchestrator NAME")
    goal = Goal.ESTIMATOR if estimator and not options.get("router") else Goal.ROUTER
    began, is_latest = time.monotonic(), True
    with progress() as shown:
        job: Experiment | OrchestratorTraining
        if orchestrated:
            job = open_orchestrator_training(ctx, options, form, shown)
            metrics = complete(job, "train")
        else:
            job = open_experiment(ctx, goal, options, shown)
            if form is not None:
                check_form(job, form)
            metrics = complete(job, "train")
            if form is not None:
                export(job, form)
            if job.goal is Goal.ROUTER:
                is_latest = point_latest(job.run.folder)
    seconds, folder = time.monotonic() - began, str(job.run.folder)
    if as_json:
        figures = {name: value for name, value in metrics.items() if name != "curve"}
        write_json_line({"schema": 1, "out": folder, "seconds": seconds, "steps": metrics.get("steps"), "metrics": figures})
    else:
        click.echo(f"Trained in {seconds:.0f} s; the checkpoint is in {folder}", err=True)
    if not is_latest:
        click.echo(NOT_LATEST.format(folder), err=True)


def names_orchestrator(options: Mapping[str, Any]) -> bool:
    """Return whether the options, their configuration files or the folder to resume name an orchestrator."""
    if options.get("orchestrator") is not None or options.get("continue_from") is not None:
        return True
    if (resume := options.get("resume")) is not None:
        return RunFolder.open(resume).goal is Goal.ORCHESTRATOR
    if options.get("router") is not None:
        return False
    described, _, _ = split_options(options, "a training")
    return settings_from_options(described).orchestrator is not None


def open_orchestrator_training(ctx: click.Context, options: Mapping[str, Any], form: str | None, shown: Progress) -> OrchestratorTraining:
    """Return the training that the options describe, new or resumed.

    Raises:
        click.UsageError: An option has no meaning for orchestrators, or ``--resume`` comes with other options.
        ConfigError: An option of the orchestrator is not valid.
    """
    from aamc_experiments.training.orchestrator_training import OrchestratorTraining, check_options, with_default_dataset, with_start

    described, out, resume = split_options({**options, "form": form}, "a training")
    del described["form"]
    if resume is not None:
        return OrchestratorTraining.resume(resume, plugins_of(ctx), shown)
    ignored = ROUTER_OPTIONS if described.get("continue_from") is None else (*ROUTER_OPTIONS, "preset")
    useless = [f"--{name.replace('_', '-')}" for name in ignored if described.get(name) is not None]
    if form is not None or useless:
        raise click.UsageError(f"an orchestrator is trained without {', '.join(useless or ['--export'])}; leave that out")
    settings = with_start(settings_from_options(described))
    check_options(settings, plugins_of(ctx))
    if described.get("dataset") is None and str(settings.dataset) == str(settings_from_options({}).dataset):  # no file or option names one
        settings = with_default_dataset(settings, plugins_of(ctx))
    assert settings.orchestrator is not None
    return OrchestratorTraining(settings, plugins_of(ctx), out or new_folder(settings.orchestrator.name), shown)


def check_form(experiment: Experiment, form: str) -> None:
    """Check, before the data is read, that the trained component can be exported in a form.

    Raises:
        ConfigError: It cannot.
    """
    kind = experiment.goal.value
    choice = experiment.settings.estimator if experiment.goal is Goal.ESTIMATOR else experiment.settings.router
    assert choice is not None  # the goal names it
    name = component_name(choice.name, kind)
    component_class = experiment.plugins.load(kind, name)
    known = component_class.exports if issubclass(component_class, ExportableComponent) else ()
    if form not in known:
        raise ConfigError(f"{kind} {name!r} cannot be exported as {form!r}; its forms: {one_of(known)}")


def export(experiment: Experiment, form: str) -> None:
    """Export the trained component into its folder."""
    run, plugins = experiment.run, experiment.plugins
    services = run.services(plugins)
    if experiment.goal is Goal.ROUTER:
        component: BaseComponent | None = run.router(plugins, services)
        folder = run.folder / "routers" / run.router_name
    else:
        component, folder = run.estimator(plugins, services), run.folder / "estimator"
    assert isinstance(component, ExportableComponent)  # check_form has checked its class
    component.export(folder, form)
