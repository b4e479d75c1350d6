"""The folder of an experiment, with the options it was begun with, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from aamc_experiments.commands import new_folder, split_options

from aamc_sdk.config import load_yaml
from aamc_sdk.errors import CheckpointError, ConfigError, Interrupted, OutputError
from aamc_sdk.storage import json_hash, locked, plain, write_yaml

OPTIONS_FILE = "experiment.yaml"
"""The file with the command and the options of a folder's experiment."""


@attrs.frozen
class OpenExperiment:
    """An experiment with its folder, new or resumed.

    Attributes:
        command: The command's path, such as ``"bench compare"``.
        folder: The folder.
        options: Everything that the result follows from, in JSON types.
    """

    command: str
    folder: Path
    options: Mapping[str, Any]


@contextmanager
def open_experiment(
    command: str, out: Path | None, resume: Path | None, given: Mapping[str, Any], options_of: Callable[..., Mapping[str, Any]]
) -> Iterator[OpenExperiment]:
    """Open an experiment's folder, locked for other processes.

    Args:
        command: The command's path.
        out: The folder to write, which is resumed if it was begun with the same options; a new one under ``runs/`` when None.
        resume: The folder to resume with its own options.
        given: The options of the command line; None or empty if not given.
        options_of: Returns everything that the result follows from, defaults included, for these options.

    Raises:
        click.UsageError: ``resume`` is given with other options.
        CheckpointError: There is no experiment to resume.
        OutputError: The folder holds something else, or another process is writing it.
        Interrupted: The user stopped the experiment; the message says how to resume it.
    """
    split_options({**given, "out": out, "resume": resume}, "an experiment")
    if resume is not None:
        opened = OpenExperiment(command, resume, _read(resume, command))
    else:
        opened = OpenExperiment(command, out or new_folder(command.replace(" ", "-")), plain(options_of(**given)))
    with locked(opened.folder):
        _write(opened)
        try:
            yield opened
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; resume it with: aamc {command} --resume {opened.folder}") from None


def _read(folder: Path, command: str) -> Mapping[str, Any]:
    if not (folder / OPTIONS_FILE).is_file():
        raise CheckpointError(f"{folder} is not an experiment's folder: it has no {OPTIONS_FILE}; begin one with: aamc {command}")
    try:
        content = load_yaml(folder / OPTIONS_FILE)
    except ConfigError as error:
        raise CheckpointError(f"{folder} cannot be resumed: {error}; restore the file, or begin anew with: aamc {command}") from error
    if content.get("schema", 1) != 1 or not isinstance(content.get("command"), str) or not isinstance(content.get("options"), dict):
        raise CheckpointError(f"{folder / OPTIONS_FILE} is damaged, or of another version; begin anew with: aamc {command}")
    if content["command"] != command:
        raise CheckpointError(f"{folder} was begun by aamc {content['command']}; resume it with: aamc {content['command']} --resume {folder}")
    options: Mapping[str, Any] = content["options"]
    hashed = json_hash(options)
    if content.get("sha256", hashed) != hashed:  # version 0.1 wrote none
        raise CheckpointError(f"{folder / OPTIONS_FILE} was changed after it was written; restore its options, or begin anew with: aamc {command}")
    return options


def _write(opened: OpenExperiment) -> None:
    if (opened.folder / OPTIONS_FILE).exists():
        if _read(opened.folder, opened.command) != opened.options:
            raise OutputError(f"{opened.folder} was begun with other options; resume it with --resume, or choose another folder with --out")
        return
    if any(opened.folder.iterdir()):
        raise OutputError(f"{opened.folder} is not empty; choose another folder with --out")
    content = {"schema": 1, "command": opened.command, "options": opened.options, "sha256": json_hash(opened.options)}
    write_yaml(opened.folder / OPTIONS_FILE, content)
