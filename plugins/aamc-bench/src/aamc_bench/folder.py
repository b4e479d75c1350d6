"""The folder of an experiment: what it was begun with, so that it can be gone on with, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
import yaml
from aamc_experiments.commands import new_folder

from aamc_sdk.config import load_yaml
from aamc_sdk.errors import CheckpointError, ConfigError, Interrupted, OutputError
from aamc_sdk.storage import locked, plain, write_text

BEGUN = "experiment.yaml"
"""The file that says what a folder was begun with."""


@attrs.frozen
class Begun:
    """An experiment that has its folder: new, or gone on with.

    Attributes:
        command: The command's path, such as ``"bench compare"``.
        folder: Its folder.
        options: All that its result follows from, in JSON's types.
    """

    command: str
    folder: Path
    options: Mapping[str, Any]


@contextmanager
def begin(
    command: str, out: Path | None, resume: Path | None, given: Mapping[str, Any], options_of: Callable[..., Mapping[str, Any]]
) -> Iterator[Begun]:
    """Open an experiment's folder for this process alone.

    Args:
        command: The command's path.
        out: The folder to write; one that was begun with the same options is gone on with. A new one under ``runs/`` when None.
        resume: The folder to go on with, as it was begun.
        given: The options of the command line; None or empty where one was not given.
        options_of: Makes of these all that the result follows from, defaults included.

    Raises:
        click.UsageError: ``resume`` comes with options that would change the experiment.
        CheckpointError: There is nothing to go on with.
        OutputError: The folder holds something else, or another process writes it.
        Interrupted: The user stopped it; the message says how to go on.
    """
    if resume is not None:
        if out is not None or any(value not in (None, ()) for value in given.values()):
            raise click.UsageError("--resume goes on with an experiment as it was begun; leave the other options out")
        begun = Begun(command, resume, _read(resume, command))
    else:
        begun = Begun(command, out or new_folder(command.replace(" ", "-")), plain(options_of(**given)))
    with locked(begun.folder):
        _write(begun)
        try:
            yield begun
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; go on with: aamc {command} --resume {begun.folder}") from None


def _read(folder: Path, command: str) -> Mapping[str, Any]:
    if not (folder / BEGUN).is_file():
        raise CheckpointError(f"{folder} is not the folder of an experiment: it has no {BEGUN}; begin one with: aamc {command}")
    try:
        content = load_yaml(folder / BEGUN)
    except ConfigError as error:
        raise CheckpointError(f"{folder} cannot be gone on with: {error}") from error
    if content.get("command") != command:
        raise CheckpointError(f"{folder} was begun by aamc {content.get('command')}; go on with: aamc {content.get('command')} --resume {folder}")
    options: Mapping[str, Any] = content["options"]
    return options


def _write(begun: Begun) -> None:
    if (begun.folder / BEGUN).exists():
        if _read(begun.folder, begun.command) != begun.options:
            raise OutputError(f"{begun.folder} was begun with other options; go on with it by --resume, or choose another folder with --out")
        return
    if any(begun.folder.iterdir()):
        raise OutputError(f"{begun.folder} is not empty; choose another folder with --out")
    content = {"schema": 1, "command": begun.command, "options": begun.options}
    write_text(begun.folder / BEGUN, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
