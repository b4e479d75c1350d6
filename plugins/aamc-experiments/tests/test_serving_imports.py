"""Serving a run imports nothing that only experiments use."""

import json
import subprocess
import sys

import pytest
from aamc_experiments.run_folder import Goal
from aamc_experiments.settings import read_settings
from aamc_experiments.training import Experiment

from aamc_sdk import get_plugin_manager
from aamc_sdk.interfaces import NoProgress

EXPERIMENTS_ONLY = {
    "rensa",
    "aamc_experiments.data",
    "aamc_experiments.data.near_duplicates",
    "aamc_experiments.data.splits",
    "aamc_experiments.data.training_fingerprint",
    "aamc_experiments.evaluation",
    "aamc_experiments.training.experiment",
    "aamc_experiments.leak_guard",
    "aamc_experiments.setup",
}
LOAD_AND_ROUTE = """
import sys
from aamc_sdk import MetaController
with MetaController.load(sys.argv[1]) as controller:
    controller.route("Sort a list in Python")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with a fingerprint of its training rows; its router and estimator need no torch."""
    path = tmp_path_factory.mktemp("serving") / "run"
    dataset = {"name": "synthetic", "n_train": 80, "n_validation": 20, "n_test": 40}
    settings = read_settings({"router": "rule", "estimator": "lexical", "environment": "queue", "dataset": dataset, "routers": []})
    Experiment(settings, get_plugin_manager(), path, NoProgress(), Goal.ROUTER).complete()
    assert list((path / "fingerprints").iterdir())
    return path


def test_loading_a_run_and_routing_imports_no_splits_fingerprints_or_near_duplicates(folder):
    modules = modules_after(LOAD_AND_ROUTE, str(folder))
    assert "aamc_sdk.controller" in modules
    assert not modules & EXPERIMENTS_ONLY


def test_statistics_of_logs_import_no_splits_or_near_duplicates():
    assert not modules_after("import aamc_experiments.off_policy") & EXPERIMENTS_ONLY


def modules_after(program, *arguments):
    report = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program + report, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))
