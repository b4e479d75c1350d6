"""Atomic files, locked folders and checkpoints."""

from aamc_sdk.storage.checkpoints import COMPONENT, RESUME_FOLDER, component_of, is_complete, load_component, save_component
from aamc_sdk.storage.files import (
    plain,
    read_arrays,
    read_bytes,
    read_json,
    replacing,
    to_json,
    under,
    write_arrays,
    write_bytes,
    write_json,
    write_text,
    write_yaml,
)
from aamc_sdk.storage.folders import locked, make_folder
from aamc_sdk.storage.training_checkpoint import load_training_checkpoint, save_training_checkpoint

__all__ = [
    "COMPONENT",
    "RESUME_FOLDER",
    "component_of",
    "is_complete",
    "load_component",
    "load_training_checkpoint",
    "locked",
    "make_folder",
    "plain",
    "read_arrays",
    "read_bytes",
    "read_json",
    "replacing",
    "save_component",
    "save_training_checkpoint",
    "to_json",
    "under",
    "write_arrays",
    "write_bytes",
    "write_json",
    "write_text",
    "write_yaml",
]
