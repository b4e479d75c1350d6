"""Which format a path looks like, for messages that set the user right."""

from __future__ import annotations

from pathlib import Path

from aamc_sdk.errors import DataError


def existing(path: str, wanted: str) -> Path:
    """Return the path that a user named.

    Raises:
        DataError: Nothing is there, or no path was given.
    """
    if not path:
        raise DataError(f"no path was given; name a {wanted} after the format's colon")
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{path} does not exist; name a {wanted}")
    return place


def hint(place: Path) -> str:
    """Return ``"; it looks like ..."`` where the path looks like one of this package's formats, else ``""``."""
    folder = place if place.is_dir() else place.parent
    if (folder / "llm_candidates.json").is_file():
        return f"; it looks like format llmrouter: --dataset llmrouter:{folder}"
    if (place / "train.csv").is_file() or place.suffix == ".csv":
        return f"; it looks like labelled texts: --dataset synthetic:{place}"
    if place.suffix in (".jsonl", ".parquet") or (place.is_dir() and any(place.glob("*.jsonl"))):
        return f"; it looks like the native format: --dataset outcomes:{place}"
    return ""
