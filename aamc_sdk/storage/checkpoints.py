"""A part's folder: what is written there, and how the part is made again.

It is complete when it has a ``component.json``, which is written last; what was interrupted
before that is trained again, or goes on, with ``--resume``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_sdk.config import unstructure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import Part, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage.files import read_json, write_json
from aamc_sdk.storage.folders import make_folder

COMPONENT = "component.json"
"""The file of a checkpoint that names its component, with its options and version."""
RESUME = "resume"
"""Where a part keeps what makes its interrupted training resumable, until it is trained."""


def save_part(folder: Path, kind: str, name: str, part: Part, plugins: Plugins, training: Mapping[str, Any]) -> None:
    """Write a trained part, what it was made from, and what its training returned."""
    make_folder(folder)
    part.save(folder)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    write_json(folder / "training.json", training)
    plugin = plugins.find(kind, name).plugin
    about = {"schema": 1, "kind": kind, "name": name, "distribution": plugin.distribution, "version": plugin.version}
    write_json(folder / COMPONENT, about | {"config": unstructure(part.config)})


def load_part(folder: Path, kind: str, plugins: Plugins, services: Services) -> Any:
    """Make a part from its folder.

    Raises:
        CheckpointError: The folder is incomplete, damaged, or holds a part of another kind.
    """
    about = component_of(folder, kind)
    try:
        part = plugins.make(kind, about["name"], services, about.get("config"))
    except ConfigError as error:
        raise CheckpointError(f"{folder / COMPONENT} does not fit the installed {kind} {about['name']!r}: {error}") from error
    part.load(folder)
    return part


def is_complete(folder: Path) -> bool:
    """Whether a part's folder was written to its end."""
    return (folder / COMPONENT).is_file()


def component_of(folder: Path, kind: str) -> dict[str, Any]:
    """Return what a part was made from.

    Raises:
        CheckpointError: The folder holds no part, or one of another kind.
    """
    about = read_json(folder / COMPONENT)
    if not isinstance(about, dict) or about.get("kind") != kind or not isinstance(about.get("name"), str):
        raise CheckpointError(f"{folder} does not hold a checkpoint of kind {kind}; its {COMPONENT} says otherwise")
    return about
