"""Several runs by name, the differences of their settings, and their JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_report.result_files import read_results
from aamc_report.results import Results
from aamc_report.runs.pairs import Pair, questions_hash
from aamc_sdk.errors import ConfigError

Runs = Mapping[str, Results]
"""Runs by their names on a page, in the order of the command line."""
COMPARED = ("settings", "resolved", "splits", "versions")
"""The compared parts of ``run.yaml``; the rest follows from them."""


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read runs; each is named by its folder, or by its path if two folders share a name.

    Raises:
        ConfigError: A run is named twice.
        CheckpointError: A folder is not a run, or is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, times in Counter(resolved).items() if times > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice; name each run once")
    names = Counter(folder.name for folder in resolved)
    return {folder.name if names[folder.name] == 1 else str(folder): read_results(folder) for folder in resolved}


def differences(runs: Runs) -> Mapping[str, Sequence[str]]:
    """Return the settings that differ between runs: each run's value as text, by dotted key.

    A key that only some runs have is listed only under ``settings``: a component's options differ with its name, which is listed,
    and an evaluation of a run has no splits. A missing value is empty.
    """
    flat = [{key: text for part in COMPARED for key, text in _flatten(part, results.run.content.get(part) or {})} for results in runs.values()]
    keys = dict.fromkeys(key for texts in flat for key in texts)
    found = {}
    for key in keys:
        values = [texts.get(key) for texts in flat]
        known = {value for value in values if value is not None}
        if len(known) > 1 or (None in values and key.startswith("settings.")):
            found[key] = [value or "" for value in values]
    return found


def _flatten(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flatten(f"{prefix}.{key}", inner)]
    return [(prefix, "none" if value is None else str(value))]


def document(runs: Runs, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the JSON document: each run's metrics, the settings that differ, and the paired differences.

    Args:
        runs: One run or several.
        pairs: Their paired differences.
    """
    return {
        "schema": 1,
        "runs": [
            {
                "name": name,
                "folder": results.run.folder,
                "router": results.headline,
                "test_sha256": questions_hash(results),
                "data": results.data,
                "routers": results.routers,
            }
            for name, results in runs.items()
        ],
        "settings": differences(runs),
        "paired": [attrs.asdict(pair) for pair in pairs],
    }
