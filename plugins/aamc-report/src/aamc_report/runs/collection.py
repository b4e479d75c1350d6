"""Reading several runs, each under a name of its own, and what their settings differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_report.data import Results
from aamc_report.reading import read_results
from aamc_sdk.errors import ConfigError

Runs = Mapping[str, Results]
"""Runs by what a page calls them, in the order in which they were named."""
COMPARED = ("settings", "resolved", "splits", "versions")
"""The parts of ``run.yaml`` that are compared; the rest follows from them."""


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read runs; each is called by its folder's name, or by its path where two folders share a name.

    Raises:
        ConfigError: One is named twice.
        CheckpointError: One is no run, or is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, times in Counter(resolved).items() if times > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is named twice; a run is compared with others")
    names = Counter(folder.name for folder in resolved)
    return {folder.name if names[folder.name] == 1 else str(folder): read_results(folder) for folder in resolved}


def questions_hash(results: Results) -> str | None:
    """Return the hash of a run's test questions, None where it does not say."""
    split = (results.run.content.get("splits") or {}).get("test") or {}
    return split.get("sha256")


def differences(runs: Runs) -> Mapping[str, Sequence[str]]:
    """Return what the runs were made with and does not agree: dotted keys, with each run's value as text.

    Of what only some runs have, settings alone are listed: a component's options come with its name, which differs
    already, and an evaluation of a run divides no data. A value that a run does not have is empty.
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
