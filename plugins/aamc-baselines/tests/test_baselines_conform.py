from __future__ import annotations

import subprocess
import sys

import pytest

from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms

SIMPLE = ["best-single", "greedy", "llm-only", "oracle", "random", "rule", "slm-only", "supervised"]
LEARNED = ["ensemble", "gbdt", "irt", "knn", "logistic", "mf", "mlp", "ridge", "svm"]
NAMES = SIMPLE + LEARNED


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_passes_the_conformance_kit(name: str) -> None:
    assert_conforms("router", name, Plugins())


def test_showing_a_baseline_imports_neither_scikit_learn_nor_scipy() -> None:
    code = f"""
import sys
from aamc_sdk.plugins import Plugins
plugins = Plugins()
for name in {NAMES!r}:
    plugins.load("router", name)
raise SystemExit("sklearn" in sys.modules or "scipy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
