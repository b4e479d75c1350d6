"""The plugin announces its components and loads nothing heavy."""

import subprocess
import sys

import pytest

from aamc_sdk.plugins import Plugins


@pytest.mark.parametrize(("kind", "names"), [("dataset", {"synthetic", "outcomes", "llmrouter"}), ("command", {"data generate"})])
def test_every_component_is_offered_and_can_be_loaded(kind: str, names: set[str]) -> None:
    plugins = Plugins()
    assert names == {offer.component.name for offer in plugins if offer.kind == kind and offer.plugin.distribution == "aamc-datasets"}
    for name in names:
        assert plugins.load(kind, name) is not None


def test_showing_a_format_loads_no_library_that_only_reading_needs() -> None:
    code = "import sys, aamc_datasets.outcomes, aamc_datasets.synthetic; print(sorted({'pyarrow', 'sklearn', 'torch'} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
