"""Atomic files: written under a temporary name, then moved into place."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import yaml

from aamc_sdk.errors import CheckpointError, OutputError

T = TypeVar("T")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block succeeds, and is removed when it fails.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises where a folder must not be searched
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder") from error
    finally:
        Path(name).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as file:
        file.write(content)


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        CheckpointError: The file is missing or cannot be read.
    """
    return _read(path, lambda file: file.read())


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, content.encode())


def plain(value: Any) -> Any:
    """Return a value in JSON types: NaN and infinities become None, arrays lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return str(value)
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as a strict JSON document, without NaN."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically."""
    write_text(path, to_json(value, indent=1) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as a YAML file atomically, its keys in their order."""
    write_text(path, yaml.safe_dump(plain(content), sort_keys=False, allow_unicode=True))


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        CheckpointError: The file is missing, unreadable, truncated or not JSON.
    """
    return _read(path, lambda file: json.loads(file.read().decode()))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as a compressed npz file, atomically."""
    import numpy as np

    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read named arrays from an npz file; pickled objects are refused, so no code runs.

    Raises:
        CheckpointError: The file is missing, unreadable, truncated or not an npz file.
    """
    import numpy as np

    def load(file: BinaryIO) -> dict[str, Any]:
        with np.load(file, allow_pickle=False) as saved:
            return dict(saved)

    return _read(path, load)


def under(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _read(path: Path, reader: Callable[[BinaryIO], T]) -> T:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: the checkpoint is incomplete; train again") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        try:
            return reader(file)
        except Exception as error:  # readers of damaged files raise almost anything
            raise CheckpointError(f"{path} is damaged ({error}); train again") from error
