"""Finds the files of a path, and recognises the format of a path for error messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from aamc_datasets.columns import SUFFIXES as TABLES
from aamc_datasets.columns import column_names
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import one_of
from aamc_sdk.storage import json_lines

SIGNS = (
    ("outcomes", {"outcomes"}),
    ("synthetic", {"text", "complexity", "category", "tool_use"}),
    ("routerarena", {"llm_selected", "evaluation_result"}),
    ("arena", {"model_a", "model_b"}),
    ("embedllm", {"model_id", "label"}),
    ("routerbench", {"sample_id", "eval_name"}),
    ("routellm", {"question_id", "turn", "score"}),
    ("routellm", {"prompt"}),
)
"""Columns or keys that identify a format; the first match counts."""


def existing(path: str, wanted: str) -> Path:
    """Return a path given by a user.

    Raises:
        ConfigError: The path is empty.
        DataError: The path does not exist.
    """
    if not path:
        raise ConfigError(f"no path was given after the format's colon; name a {wanted}")
    location = Path(path).expanduser()
    if not location.exists():
        raise DataError(f"{path} does not exist; name a {wanted}")
    return location


def single_file(path: str, format_name: str, suffixes: Sequence[str] = TABLES, preferred: str = "") -> Path:
    """Return the file that a path names: the path itself, or in a folder the preferred file (without suffix), or the only one with a suffix.

    Raises:
        DataError: There is no such file, or more than one.
    """
    kinds = " or ".join(suffixes)
    location = existing(path, f"{kinds} file, or a folder with one")
    if location.is_file():
        if location.suffix not in suffixes:
            raise DataError(f"{location} is neither {' nor '.join(suffixes)}, as format {format_name} reads{hint(location, format_name)}")
        return location
    files = sorted(file for suffix in suffixes for file in location.glob(f"*{suffix}"))
    found = [file for suffix in suffixes for file in files if file.name == preferred + suffix][:1] or files
    if not found:
        raise DataError(f"{location} has no {kinds} file, as format {format_name} reads{hint(location, format_name)}")
    if len(found) > 1:
        advice = f", or rename it to {preferred}{suffixes[0]}" if preferred else ""
        raise DataError(
            f"{location} has several files ({one_of(file.name for file in found)}); name one of them{advice}{hint(location, format_name)}"
        )
    return found[0]


def hint(location: Path, format_name: str) -> str:
    """Return ``"; it looks like ..."`` if the path looks like a format other than the given one, or advice on a compressed file, else ``""``."""
    if location.suffix == ".gz":
        return f"; decompress it first: gunzip --keep {location}"
    found, path = _recognised(location)
    return f"; it looks like format {found}: --dataset {found}:{path}" if found not in ("", format_name) else ""


def _recognised(location: Path) -> tuple[str, Path]:
    folder = location if location.is_dir() else location.parent
    if (folder / "llm_candidates.json").is_file():
        return "llmrouter", folder
    if location.is_dir() and any(location.rglob("*-????????_??????.json")):
        return "llmrouterbench", location
    for file in _readable(location):
        columns = _columns(file)
        for name, signs in SIGNS:
            if signs <= set(columns):
                return name, location
    return "", location


def _readable(location: Path) -> Iterator[Path]:
    """Yield the file, or the first file of each kind in a folder."""
    for suffix in (*TABLES, ".jsonl"):
        if location.is_dir():
            yield from sorted(location.rglob(f"*{suffix}"))[:1]
        elif location.suffix == suffix:
            yield location


def _columns(file: Path) -> Collection[str]:
    """Return the columns of a table or the keys of the first JSON line; nothing if the file cannot be read."""
    try:
        if file.suffix in TABLES:
            return column_names(file)
        _, first = next(json_lines(file), (0, None))
    except DataError:
        return ()
    return first if isinstance(first, dict) else ()
