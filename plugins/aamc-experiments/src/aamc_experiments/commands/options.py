"""The options that describe an experiment, and the settings that they make."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aamc_sdk import get_plugin_manager
from aamc_sdk.cli import PREFERENCE, plugins_of, split_names

if TYPE_CHECKING:
    from aamc_experiments.settings import Settings
    from aamc_sdk.plugins import Plugins

F = TypeVar("F", bound=Callable[..., Any])

_EXPERIMENT = (
    click.option("--router", metavar="NAME|FOLDER", help="The router in question, or its checkpoint."),
    click.option("--estimator", metavar="NAME|FOLDER", help="What describes queries, or its checkpoint; none to do without, as by default."),
    click.option("--environment", metavar="NAME", help="Where to train and measure; the data decides by default."),
    click.option("--pool", metavar="NAME|FILE", help="The candidates; by default the data's own, or the default pool."),
    click.option("--reward", metavar="NAME", help="The reward; linear by default."),
    click.option("--dataset", metavar="FORMAT:PATH", help="The queries; synthetic by default."),
    click.option("--test-dataset", metavar="FORMAT:PATH", help="What to test on; a fifth of the data by default."),
    PREFERENCE,
    click.option(
        "--config",
        "configs",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A YAML file of options, or one of vLLM Semantic Router; of several, later ones win.",
    ),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One option, such as router.learning_rate=1e-4."),
    click.option("--preset", type=click.Choice(["quick", "full", "paper"]), help="Where options start from; quick by default."),
    click.option("--seed", type=int, help="All randomness follows from it; 0 by default."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where torch computes."),
)


def experiment_options(function: F) -> F:
    """Add the options that say what an experiment is made of."""
    for option in reversed(_EXPERIMENT):
        function = option(function)
    return function


def gather(
    configs: tuple[Path, ...], assignments: tuple[str, ...], routers: str | None = None, *, plugins: Plugins | None = None, **given: Any
) -> Settings:
    """Return settings: the files', then the command line's, then those of ``--set``.

    A component that the command line names anew loses the options that the file gave another one.

    Args:
        configs: Configuration files; later ones win.
        assignments: Assignments such as ``router.learning_rate=1e-4``.
        routers: The value of ``--routers``.
        plugins: The plugins that read other systems' files; the command's when None.
        **given: The other options; None where one is not given.
    """
    from aamc_experiments.settings import read_settings
    from aamc_sdk.config import load_yaml, set_option

    content: dict[str, Any] = {}
    files = [load_yaml(config) for config in configs]
    formats = [(plugins or _present_plugins()).config_format(file) for file in files]
    decision, assignments = _take_decision(assignments) if any(formats) else (None, assignments)
    for config, file, found in zip(configs, files, formats, strict=True):
        content |= file if found is None else found.experiment(file, config, decision, given.get("router"))
    for key, value in given.items():
        if value is not None:
            content[key] = _renamed(content.get(key), value)
    if routers is not None:
        named = content.get("routers")
        content["routers"] = {name: (named or {}).get(name) if isinstance(named, dict) else None for name in split_names(routers)}
    for assignment in assignments:
        _open_section(content, assignment.split("=")[0].split("."))
        set_option(content, assignment)
    return read_settings(content)


def _present_plugins() -> Plugins:
    """Return the plugins of the command that is running, or the installed ones."""
    ctx = click.get_current_context(silent=True)
    return get_plugin_manager() if ctx is None else plugins_of(ctx)


def _take_decision(assignments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return what ``--set decision=NAME`` chooses in files of vLLM Semantic Router, and the other assignments."""
    others = tuple(assignment for assignment in assignments if assignment.partition("=")[0].strip() != "decision")
    chosen = [assignment.partition("=")[2].strip() for assignment in assignments if assignment not in others]
    return (chosen[-1] if chosen else None), others


def _renamed(before: Any, name: Any) -> Any:
    return {**before, "name": name} if isinstance(before, dict) and before.get("name") == name else name


def _open_section(content: dict[str, Any], keys: list[str]) -> None:
    """Turn ``router: ppo`` into ``router: {name: ppo}`` where an option of it is about to be set."""
    from aamc_experiments.settings import COMPARED, Given

    section = keys[0]
    if section == "routers":
        named = content.get("routers", COMPARED)
        content["routers"] = named if isinstance(named, dict) else dict.fromkeys(named)
        if len(keys) > 2 and content["routers"].get(keys[1]) is None:
            content["routers"][keys[1]] = {}
    elif len(keys) > 1 and section != "evaluation" and not isinstance(content.get(section), dict):
        content[section] = {"name": content.get(section) or getattr(Given(), section, None) or ""}


def new_folder(router: str, runs: Path = Path("runs")) -> Path:
    """Return a name under ``runs`` that no folder has: the time, the router and, where need be, a number."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(router).name}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
    return next(runs / name for name in names if not (runs / name).exists())
