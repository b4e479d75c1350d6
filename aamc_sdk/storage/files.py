"""Atomic files: written under a temporary name, then moved into place."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from aamc_sdk.config import to_yaml
from aamc_sdk.errors import CheckpointError, DataError, OutputError
from aamc_sdk.messages import write_errors
from aamc_sdk.storage.row_files import unique_keys

try:
    import fcntl
except ImportError:  # Windows has none: leftovers stay, since they cannot be told from files in use
    fcntl = None  # type: ignore[assignment]  # see above

T = TypeVar("T")
RESTORE = "restore the file, or train again"
"""The advice for a file that cannot be used, unless its reader knows better."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block succeeds, and is removed when it fails.

    A link stays, and leads to the new file, which has the permissions of the old one, or those of the umask. A pipe or a device such as
    ``/dev/null`` is written directly.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises where a folder must not be searched
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113  # likewise
        with write_errors(path, "name a file"), path.open("wb") as device:
            yield device
        return
    if os.path.islink(path):  # noqa: PTH114  # likewise; else errors name the path as it was given
        path = Path(os.path.realpath(path))
    mode = stat.S_IMODE(path.stat().st_mode) if os.path.isfile(path) else None  # noqa: PTH113  # likewise
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    permissions = 0o666 if mode is None else mode
    with write_errors(path, "choose another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, permissions))  # noqa: SIM115  # pathlib has no opener
    try:
        with write_errors(path, "free some space or choose another folder"):
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_alone(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` as :func:`replacing` does, and remove those that killed processes left for it.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    with suppress(OSError):  # another user's, which only that user can remove
        remove_leftovers(path)
    with replacing(path) as file:
        lock = os.dup(file.fileno())  # holds the lock until the file is in its place
        try:
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield file
        finally:
            os.close(lock)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of a target that no process is writing.

    Raises:
        OSError: One of them cannot be removed.
    """
    path = Path(os.path.realpath(path))
    if fcntl is None or not path.parent.is_dir() or (path.exists() and not path.is_file()):
        return
    temporary = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    for file in path.parent.iterdir():
        if temporary.fullmatch(file.name):
            _remove_if_unused(file)


def _remove_if_unused(file: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError):  # its process has just ended, or is writing it
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as file:
        file.write(content)


def read_bytes(path: Path, advice: str = RESTORE) -> bytes:
    """Read a whole file.

    Raises:
        CheckpointError: The file is missing or cannot be read.
    """
    return _read(path, lambda file: file.read(), advice)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, content.encode())


def append_text(path: Path, lines: str) -> None:
    """Append lines to a text file, all or none. They begin on a new line if a killed process left a part of one.

    Raises:
        OSError: The file cannot be written, or the disk is full.
    """
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END) if file.seekable() else 0  # a pipe is not
        if size:
            file.seek(size - 1)
        content = (b"\n" if size and file.read(1) != b"\n" else b"") + lines.encode()
        try:
            while content:  # a disk that becomes full takes a part, and refuses the rest
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


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


def from_json(text: str) -> Any:
    """Return the value of a JSON document, as strict as :func:`to_json` writes it.

    Raises:
        ValueError: It is not JSON, has NaN or Infinity, or an object contains a key twice.
    """
    return _DECODER.decode(text)


def _refuse(name: str) -> None:
    raise DataError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=_refuse)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically."""
    write_text(path, to_json(value, indent=1) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as a YAML file atomically, its keys in their order."""
    write_text(path, to_yaml(plain(content)))


def read_json(path: Path, advice: str = RESTORE) -> Any:
    """Read a JSON document; the error ends with the advice.

    Raises:
        CheckpointError: The file is missing, unreadable, truncated or not strict JSON, see :func:`from_json`.
    """
    return _read(path, lambda file: from_json(file.read().decode()), advice)


def read_json_object(path: Path, advice: str = RESTORE) -> dict[str, Any]:
    """Read a JSON object, as :func:`read_json` reads any document.

    Raises:
        CheckpointError: The file cannot be used, or holds something else.
    """
    content = read_json(path, advice)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it must hold a JSON object, not {content!r:.40}; {advice}")
    return content


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as a compressed npz file, atomically."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path, advice: str = RESTORE) -> dict[str, Any]:
    """Read named arrays from an npz file; pickled objects are refused, so no code runs. The error ends with the advice.

    Raises:
        CheckpointError: The file is missing, unreadable, truncated or not an npz file.
    """

    def load(file: BinaryIO) -> dict[str, Any]:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is not an npz file, or a part of one")
        file.seek(0)
        with np.load(file, allow_pickle=False) as saved:
            return {name: _array(saved, name) for name in saved.files}

    return _read(path, load, advice)


def _array(saved: Mapping[str, Any], name: str) -> Any:
    try:
        return saved[name]
    except ValueError as error:
        if "allow_pickle" in str(error):  # numpy's advice would run code of the file
            raise ValueError(f"{name} holds Python objects, which are never loaded") from error
        raise


def check_parameters(arrays: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    """Check that saved parameters have the names and shapes of those of a configuration, and finite values.

    Raises:
        CheckpointError: An array is missing, unexpected, of another shape, or not finite.
    """
    for name in sorted({*arrays, *expected}):
        found, wanted = (known[name].shape if name in known else "nothing" for known in (arrays, expected))
        if found != wanted:
            raise CheckpointError(f"{path} does not fit: {name} should have shape {wanted} and has {found}; use its own configuration or train again")
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{path} is damaged: {name} has values that are not finite; train again")


def under(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def file_hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): _read(path, _sha256, RESTORE) for path in files}


def json_hash(value: Any) -> str:
    """Return the SHA-256 of a value's JSON document."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()


def array_hash(arrays: Mapping[str, Any]) -> str:
    """Return the SHA-256 of named arrays with their types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(values)  # type: ignore[arg-type]  # its memory, without a copy
    return digest.hexdigest()


def check_file_hashes(folder: Path, hashes: Mapping[str, str], advice: str) -> None:
    """Check that files are as they were when :func:`file_hashes` read them.

    Raises:
        CheckpointError: A file is missing or was changed; the message ends with the advice.
    """
    for name, saved in hashes.items():
        if _read(folder / name, _sha256, advice) != saved:
            raise CheckpointError(f"{folder / name} was changed after it was written, or its saved hash was; {advice}")


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path, reader: Callable[[BinaryIO], T], advice: str) -> T:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {advice}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        try:
            return reader(file)
        except Exception as error:  # readers of damaged files raise almost anything
            raise CheckpointError(f"{path} is damaged ({error}); {advice}") from error
