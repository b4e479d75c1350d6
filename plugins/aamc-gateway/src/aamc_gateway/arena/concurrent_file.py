"""Files of vLLM Semantic Router with ``type: concurrent``: every request goes to the arena."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def arena_of_file(path: str | Path, section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section ``gateway`` of a configuration file, with the arena's options of a ``concurrent`` algorithm in the same file.

    Raises:
        ConfigError: The file cannot be used.
    """
    from aamc_bandit.semantic_router import read_arena

    found = read_arena(path)
    if found is None:
        return section
    own = section.get("arena")
    return {**section, "arena": {"candidates": None, "share": 1.0, "share_streams": True, **found, **(own if isinstance(own, Mapping) else {})}}
