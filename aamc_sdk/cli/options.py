"""The options that several commands share, and what they make of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from aamc_sdk.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Folder(click.Path):
    """A folder's path, which is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty name, which would be the present folder."""
        if not str(value).strip():
            self.fail("a folder's name must not be empty; use . for the present one", param, ctx)
        return super().convert(value, param, ctx)


JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")
OUT = click.option("--out", type=Folder(path_type=Path), help="The folder to write; by default a new one under runs/.")
RESUME = click.option("--resume", type=Folder(path_type=Path), help="Go on with an interrupted job's folder, as it was begun.")
PREFERENCE = click.option("--preference", metavar="Q,C,L", help="Weights of quality, cost and latency; 0.9,0.08,0.02 by default.")

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


def gather(configs: tuple[Path, ...], assignments: tuple[str, ...], routers: str | None = None, **given: Any) -> Settings:
    """Return settings: the files', then the command line's, then ``--set``'s.

    A component that the command line names anew loses the options that the file gave another one.
    """
    from aamc_sdk.config import load_yaml, set_option
    from aamc_sdk.config_files import of_experiment
    from aamc_sdk.semantic_router import is_semantic_router
    from aamc_sdk.settings import read_settings

    content: dict[str, Any] = {}
    files = [load_yaml(config) for config in configs]
    decision, assignments = _take_decision(assignments) if any(map(is_semantic_router, files)) else (None, assignments)
    for config, file in zip(configs, files, strict=True):
        content |= of_experiment(file, config, decision, given.get("router"))
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


def _take_decision(assignments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return what ``--set decision=NAME`` chooses in files of vLLM Semantic Router, and the other assignments."""
    others = tuple(assignment for assignment in assignments if assignment.partition("=")[0].strip() != "decision")
    chosen = [assignment.partition("=")[2].strip() for assignment in assignments if assignment not in others]
    return (chosen[-1] if chosen else None), others


def _renamed(before: Any, name: Any) -> Any:
    return {**before, "name": name} if isinstance(before, dict) and before.get("name") == name else name


def _open_section(content: dict[str, Any], keys: list[str]) -> None:
    """Turn ``router: ppo`` into ``router: {name: ppo}`` where an option of it is about to be set."""
    from aamc_sdk.settings import COMPARED, Given

    section = keys[0]
    if section == "routers":
        named = content.get("routers", COMPARED)
        content["routers"] = named if isinstance(named, dict) else dict.fromkeys(named)
        if len(keys) > 2 and content["routers"].get(keys[1]) is None:
            content["routers"][keys[1]] = {}
    elif len(keys) > 1 and section != "evaluation" and not isinstance(content.get(section), dict):
        content[section] = {"name": content.get(section) or getattr(Given(), section, None) or ""}


def split_names(names: str, option: str = "--routers", example: str = "greedy,oracle") -> list[str]:
    """Return the names of ``A,B``, which an option was given.

    Raises:
        click.UsageError: There is none, with an example of what the option takes, or one stands twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise click.UsageError(f"{option} takes names such as {example}, not {names!r}")
    if len(set(found)) < len(found):
        raise click.UsageError(f"each name counts once; {option} has one twice: {names!r}")
    return found


def new_folder(router: str, runs: Path = Path("runs")) -> Path:
    """Return a name under ``runs`` that no folder has: the time, the router and, where need be, a number."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(router).name}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
    return next(runs / name for name in names if not (runs / name).exists())
