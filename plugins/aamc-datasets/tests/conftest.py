"""Fixtures of this package's tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aamc_sdk import Services
from aamc_sdk.routing import LinearReward, default_pool


@pytest.fixture(scope="session")
def services() -> Services:
    def make(kind: str, name: str, options: object) -> object:
        raise AssertionError(f"no dataset makes a {kind}")

    return Services(pool=default_pool(), reward=LinearReward(), make=make, seed=3)


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of public outcome data."""
    if "AAMC_DATA" not in os.environ:
        pytest.skip("AAMC_DATA does not name the folder of outcome data")
    return Path(os.environ["AAMC_DATA"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file of the test's own folder."""

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write
