from __future__ import annotations

import subprocess
import sys

import pytest

from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms

NAMES = ["best-single", "greedy", "llm-only", "oracle", "random", "rule", "slm-only", "supervised"]


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_passes_the_conformance_kit(name: str) -> None:
    assert_conforms("router", name, Plugins())


def test_showing_a_baseline_imports_no_scikit_learn() -> None:
    code = f"""
import sys
from aamc_sdk.plugins import Plugins
plugins = Plugins()
for name in {NAMES!r}:
    plugins.load("router", name)
raise SystemExit("sklearn" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
