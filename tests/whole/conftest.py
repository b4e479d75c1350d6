"""One small run of the main job for all tests here; every plugin must be installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = (
    *("--router", "ppo", "--estimator", "tce"),
    *("--set", "dataset.n_train=300", "--set", "dataset.n_validation=60", "--set", "dataset.n_test=120"),
    *("--set", "router.total_timesteps=65536", "--set", "estimator.folds=2", "--set", "estimator.epochs=3"),
)
Aamc = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="session")
def aamc(folder: Path) -> Aamc:
    """Run the command in the folder, or in one below it, as a user does."""

    def call(*arguments: str, status: int = 0, below: str = ".") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aamc_sdk.cli", *arguments]
        environment = {**os.environ, "AAMC_CACHE": str(folder / "cache")}
        done = subprocess.run(command, cwd=folder / below, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done

    return call


@pytest.fixture(scope="session")
def metrics(aamc: Aamc) -> dict:
    return json.loads(aamc("run", *SMALL, "--json").stdout)
