from __future__ import annotations

from pathlib import Path

import pytest

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import component_of, write_json


def test_a_checkpoint_of_another_schema_is_another_versions(tmp_path: Path) -> None:
    about = {"kind": "router", "name": "ppo"}
    write_json(tmp_path / "component.json", {**about, "schema": 2})
    with pytest.raises(CheckpointError, match="has schema 2, not 1: another version of the SDK made it"):
        component_of(tmp_path, "router")
    write_json(tmp_path / "component.json", {**about, "schema": 1})
    assert component_of(tmp_path, "router")["name"] == "ppo"
