"""The options of the command line that describe an experiment, the settings that they make, and the experiment itself, new or resumed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk import get_plugin_manager
from aamc_sdk.cli import PREFERENCE, InputFile, add_options, plugins_of, split_names
from aamc_sdk.errors import CheckpointError, ConfigError, Interrupted, PluginError
from aamc_sdk.messages import format_errors
from aamc_sdk.plugins import Plugins

if TYPE_CHECKING:
    from aamc_experiments.run_folder import Goal
    from aamc_experiments.settings import Settings
    from aamc_experiments.training import Experiment
    from aamc_experiments.training.orchestrator_training import OrchestratorTraining
    from aamc_sdk.interfaces import Progress


CONFIG = click.option(
    "--config",
    "configs",
    multiple=True,
    type=InputFile(),
    help="YAML file of options, or a configuration file of another system; repeatable, later files win.",
)
"""The option ``--config``."""
SET = click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as router.learning_rate=1e-4; repeatable.")
"""The option ``--set``."""
experiment_options = add_options(
    click.option("--router", metavar="NAME|FOLDER", help="Router name or checkpoint folder (default: ppo)."),
    click.option("--estimator", metavar="NAME|FOLDER", help="Estimator name or checkpoint folder (default: none)."),
    click.option("--environment", metavar="NAME", help="Environment of training and evaluation (default: replay; queue for data without outcomes)."),
    click.option("--pool", metavar="NAME|FILE", help="Pool of candidate models (default: the candidates of the dataset, else the built-in pool)."),
    click.option("--reward", metavar="NAME", help="Reward (default: linear)."),
    click.option("--dataset", metavar="FORMAT:PATH", help="Queries, with or without outcomes (default: synthetic)."),
    click.option("--test-dataset", metavar="FORMAT:PATH", help="Test queries (default: a fifth of the dataset)."),
    PREFERENCE,
    CONFIG,
    SET,
    click.option("--preset", type=click.Choice(["quick", "full", "paper"]), help="Preset of the options (default: quick)."),
    click.option("--seed", type=click.IntRange(min=0), help="Seed of all randomness (default: 0)."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Device that torch computes on (default: auto)."),
)
"""Adds the options that describe an experiment to a command."""


def settings_from_options(options: Mapping[str, Any], plugins: Plugins | None = None, base: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of configuration files, overridden by the other options, overridden by ``--set``.

    If an option names a component other than the file's, the file's options of that component are dropped.

    Args:
        options: Values by key of a configuration file, None if not given; ``configs``: the files, of which later ones win;
            ``assignments``: those of ``--set``, such as ``router.learning_rate=1e-4``; ``routers``: names separated by commas.
        plugins: The plugins that read files of other systems; those of the running command, else the installed ones, when None.
        base: The content that the files override.

    Raises:
        ConfigError: A file, an option or an assignment is not valid.
    """
    from aamc_experiments.settings import read_settings
    from aamc_sdk.config import set_option

    ctx = click.get_current_context(silent=True)
    files, assignments = _read_files(options, plugins or (get_plugin_manager() if ctx is None else plugins_of(ctx)))
    content = {**(base or {}), **files}
    for key, value in options.items():
        if value is not None and key not in ("configs", "assignments", "routers"):
            before = content.get(key)
            content[key] = before if isinstance(before, dict) and before.get("name") == value else value
    if (routers := options.get("routers")) is not None:
        named = content.get("routers")
        content["routers"] = {name: (named or {}).get(name) if isinstance(named, dict) else None for name in split_names(routers)}
    for assignment in assignments:
        _open_section(content, assignment.split("=")[0].split("."))
        set_option(content, assignment)
    return read_settings(content)


def _read_files(options: Mapping[str, Any], plugins: Plugins) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the joint content of the configuration files, and the assignments that are left for it."""
    from aamc_sdk.config import load_yaml
    from aamc_sdk.serving import recognized_format

    configs, assignments = options.get("configs", ()), options.get("assignments", ())
    files: list[Mapping[str, Any]] = [load_yaml(config) for config in configs]
    formats = [recognized_format(plugins, file) for file in files]
    decision, assignments = _take_decision(assignments) if any(formats) else (None, assignments)
    content: dict[str, Any] = {}
    for config, file, found in zip(configs, files, formats, strict=True):
        if found is not None:
            with format_errors(found.message_name):
                file = found.experiment(file, config, decision, options.get("router"))
            if not isinstance(file, Mapping):
                raise PluginError(f"{found.message_name}: experiment must return keys and values, not {file!r:.80}")
        content |= file
    return content, assignments


def _take_decision(assignments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return the NAME of ``--set decision=NAME``, which selects a part of another system's file, and the other assignments."""
    others = tuple(assignment for assignment in assignments if assignment.partition("=")[0].strip() != "decision")
    chosen = [assignment.partition("=")[2].strip() for assignment in assignments if assignment not in others]
    return (chosen[-1] if chosen else None), others


def _open_section(content: dict[str, Any], keys: list[str]) -> None:
    """Replace ``router: ppo`` with ``router: {name: ppo}``, so that an option of the section can be set."""
    from aamc_experiments.settings import COMPARED, ConfigKeys

    section = keys[0]
    if section == "routers":
        named = content.get("routers", COMPARED)
        content["routers"] = named if isinstance(named, dict) else dict.fromkeys(named)
        if len(keys) > 2 and content["routers"].get(keys[1]) is None:
            content["routers"][keys[1]] = {}
    elif len(keys) > 1 and section != "evaluation" and not isinstance(content.get(section), dict):
        content[section] = {"name": content.get(section) or getattr(ConfigKeys(), section, None) or ""}


def new_folder(name: str) -> Path:
    """Return a path below ``runs/`` that does not exist: the time, the last part of a name and, if needed, a number."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(name).name}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
    return next(Path("runs", name) for name in names if not Path("runs", name).exists())


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


def open_experiment(ctx: click.Context, goal: Goal, options: Mapping[str, Any], shown: Progress) -> Experiment:
    """Return the experiment that the options describe, new or resumed; ``goal`` is the last stage of a new one.

    Raises:
        click.UsageError: ``--resume`` comes with other options.
        CheckpointError: Another command began the job.
    """
    from aamc_experiments.run_folder import Goal
    from aamc_experiments.training import Experiment

    described, out, resume = split_options(options, "a run")
    if resume is None:
        settings = settings_from_options(described)
        if settings.budget_usd is not None or settings.continue_from is not None:
            raise ConfigError("budget_usd and continue_from (--from) belong to the training of an orchestrator; leave them out, or name one")
        trained = settings.estimator if goal is Goal.ESTIMATOR and settings.estimator is not None else settings.router
        return Experiment(settings, plugins_of(ctx), out or new_folder(trained.name), shown, goal)
    experiment = Experiment.resume(resume, plugins_of(ctx), shown)
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
    try:
        return job.complete()
    except KeyboardInterrupt:
        folder = job.run.folder
        begun = (folder / "run.yaml").exists()
        raise Interrupted(f"interrupted; continue with: aamc {command} --resume {folder}" if begun else "interrupted before anything began") from None


def notify_finished(ctx: click.Context, folder: Path) -> None:
    """Notify the plugins of a finished run or evaluation; one of users' comparisons has no ``decisions.npz``, and no report."""
    if (folder / "decisions.npz").exists():
        plugins_of(ctx).notify("aamc_run_finished", folder=folder)
