"""Checkpoints of components: saving a trained component to a folder and loading it.

A checkpoint is complete when it has a ``component.json``, which is written last. Without one, ``--resume``
continues or repeats the training. It holds the SHA-256 of each file that the component loads, so a file that was changed since is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_sdk.config import unstructure
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, PluginError, UnknownComponentError
from aamc_sdk.interfaces import BaseComponent, Router, Services
from aamc_sdk.messages import check_type, component_errors, error_text
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage.files import RESTORE, check_file_hashes, file_hashes, read_json_object, to_json, write_json, write_text
from aamc_sdk.storage.folders import make_folder

COMPONENT = "component.json"
"""The file of a checkpoint that names its component, with its options and version."""
TRAINING = "training.json"
"""The file of a checkpoint with the metrics of the training, for reports."""
RESUME_FOLDER = "resume"
"""Name of the subfolder with the state of an unfinished training; removed after it."""


def save_component(folder: Path, kind: str, name: str, component: BaseComponent, plugins: Plugins, training: Mapping[str, Any]) -> None:
    """Write a trained component, its origin and configuration, and the metrics of its training.

    Raises:
        OSError: The folder cannot be written.
        PluginError: The metrics are not a mapping of JSON values, saving raised an error that is not an AamcError, or a router that requires training
            saves nothing.
    """
    check_type(training, Mapping, f"{kind} {name!r}: train must return a mapping of metrics", PluginError)
    with component_errors(f"{kind} {name!r}: train must return metrics that JSON can hold"):
        metrics = to_json(training, indent=1)
    make_folder(folder)
    with component_errors(f"{kind} {name!r} cannot be saved", passes=OSError):  # of the disk, such as a full one
        component.save(folder)
    shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)
    write_text(folder / TRAINING, metrics + "\n")
    plugin = plugins.find(kind, name).plugin
    about = {"schema": 1, "kind": kind, "name": name, "distribution": plugin.distribution, "version": plugin.version}
    loaded = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (COMPONENT, TRAINING)]
    if not loaded and isinstance(component, Router) and component.requires.training:
        raise PluginError(f"{kind} {name!r} requires training, and saves nothing of it; define save and load")
    write_json(folder / COMPONENT, about | {"config": unstructure(component.config), "files": file_hashes(folder, loaded)})


def load_component(folder: Path, kind: str, plugins: Plugins, services: Services, options: Mapping[str, Any] | None = None) -> Any:
    """Make a component from its checkpoint; ``options`` replace those of the checkpoint.

    Raises:
        CheckpointError: The checkpoint is incomplete, damaged, or of another kind.
        ConfigError: One of the options is wrong.
        UnknownComponentError: No plugin offers the component; the message names the distribution that it is of.
    """
    about = checkpoint_metadata(folder, kind)
    _check_offered(about, folder, kind, plugins)
    saved = about.get("config", {})
    try:
        component = plugins.make(kind, about["name"], services, {**saved, **(options or {})})
    except ConfigError as error:
        if options and _fits(plugins, kind, about["name"], services, saved):
            raise
        unfit = f"{folder / COMPONENT} does not fit the installed {kind} {about['name']!r}"
        raise CheckpointError(f"{unfit}: {error}; if another version made it, train it again") from error
    load_state(component, folder)
    return component


def _check_offered(about: Mapping[str, Any], folder: Path, kind: str, plugins: Plugins) -> None:
    """Raise UnknownComponentError if no plugin offers the component of a checkpoint; no near name is suggested where its distribution is missing."""
    try:
        plugins.find(kind, about["name"])
    except UnknownComponentError as error:
        distribution = about.get("distribution")
        if distribution is None or any(plugin.distribution == distribution for plugin in plugins.installed):
            raise
        of = f"{kind} {about['name']!r} of {folder} is of {distribution} {about.get('version', '')}"
        raise UnknownComponentError(f"{of}, which is not installed, or disabled by AAMC_DISABLE_PLUGINS") from error


def _fits(plugins: Plugins, kind: str, name: str, services: Services, saved: Mapping[str, Any]) -> bool:
    """Return whether the installed component takes a checkpoint's own options."""
    try:
        plugins.make(kind, name, services, saved)
    except ConfigError:
        return False
    return True


def load_state(component: BaseComponent, folder: Path) -> None:
    """Let a component load the files of a folder; those of a checkpoint must be as they were saved.

    Raises:
        CheckpointError: A file is missing, damaged or changed, or holds something other than what the component saves.
        PluginError: The component raised an error that is neither the SDK's nor of the disk.
    """
    about = read_json_object(folder / COMPONENT) if is_complete(folder) else {}
    found = {name: saved for name, saved in about.get("files", {}).items() if (folder / name).is_file()}  # version 0.1 wrote none
    check_file_hashes(folder, found, f"restore it and {COMPONENT}, or train again")  # the component names missing files; not all are its own
    with component_errors(f"{component.message_name} cannot be loaded from {folder}", passes=OSError):  # of the disk
        try:
            component.load(folder)
        except AamcError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            unfit = f"{folder} holds something other than what this version of {component.message_name} saves ({error_text(error)})"
            raise CheckpointError(f"{unfit}; {RESTORE}") from error


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a complete checkpoint."""
    return (folder / COMPONENT).is_file()


def checkpoint_metadata(folder: Path, kind: str) -> dict[str, Any]:
    """Return the content of ``component.json``: kind, name, distribution, version and configuration.

    Raises:
        CheckpointError: The folder holds no checkpoint, or one of another kind or schema.
    """
    about = read_json_object(folder / COMPONENT)
    if about.get("kind") != kind or not isinstance(about.get("name"), str):
        raise CheckpointError(f"{folder / COMPONENT} does not describe a checkpoint of kind {kind}; choose another folder")
    if not all(isinstance(about.get(key, {}), dict) for key in ("config", "files")):
        raise CheckpointError(f"{folder / COMPONENT} is damaged: 'config' and 'files' must be JSON objects; {RESTORE}")
    if (schema := about.get("schema", 1)) != 1:
        raise CheckpointError(f"{folder / COMPONENT} has schema {schema!r}, not 1: another version of the SDK made it; train again")
    return about
