"""Finds the files of a path, and recognises the format of a path for error messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from aamc_datasets.columns import SUFFIXES as TABLES
from aamc_datasets.columns import column_names
from aamc_datasets.json_rows import json_lines
from aamc_sdk.errors import DataError, one_of

SIGNS = (
    ("outcomes", {"query", "outcomes"}),
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
        DataError: The path is empty or does not exist.
    """
    if not path:
        raise DataError(f"no path was given; name a {wanted} after the format's colon")
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{path} does not exist; name a {wanted}")
    return place


def table_file(path: str, format_name: str) -> Path:
    """Return a CSV or Parquet file: the path itself, or the only one in the folder.

    Raises:
        DataError: There is no such file, or more than one.
    """
    place = existing(path, "CSV or Parquet file")
    if place.is_file():
        if place.suffix not in TABLES:
            raise DataError(f"{place} is neither .csv nor .parquet, as format {format_name} reads{hint(place, format_name)}")
        return place
    found = sorted(file for suffix in TABLES for file in place.glob(f"*{suffix}"))
    if not found:
        raise DataError(f"{place} has no .csv or .parquet file, as format {format_name} reads{hint(place, format_name)}")
    if len(found) > 1:
        raise DataError(f"{place} has several files ({one_of(file.name for file in found)}); name one of them")
    return found[0]


def hint(place: Path, format_name: str) -> str:
    """Return ``"; it looks like ..."`` if the path looks like another format than the given one, else ``""``."""
    found, path = _recognised(place)
    return f"; it looks like format {found}: --dataset {found}:{path}" if found not in ("", format_name) else ""


def _recognised(place: Path) -> tuple[str, Path]:
    folder = place if place.is_dir() else place.parent
    if (folder / "llm_candidates.json").is_file():
        return "llmrouter", folder
    for file in _readable(place):
        columns = _columns(file)
        for name, signs in SIGNS:
            if signs <= set(columns):
                return name, place
    return "", place


def _readable(place: Path) -> Iterator[Path]:
    """Yield the file, or the first file of each kind in a folder."""
    for suffix in (*TABLES, ".jsonl"):
        if place.is_dir():
            yield from sorted(place.rglob(f"*{suffix}"))[:1]
        elif place.suffix == suffix:
            yield place


def _columns(file: Path) -> Collection[str]:
    """Return the columns of a table or the keys of the first JSON line; nothing if the file cannot be read."""
    try:
        if file.suffix in TABLES:
            return column_names(file)
        _, first = next(json_lines(file), (0, None))
    except DataError:
        return ()
    return first if isinstance(first, dict) else ()
