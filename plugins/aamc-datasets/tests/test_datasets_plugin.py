"""The plugin announces its components and loads nothing heavy."""

import subprocess
import sys

import pytest
from aamc_datasets import plugin

from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms

FORMATS = {"synthetic", "outcomes", "llmrouter", "routellm", "routerarena", "routerbench", "llmrouterbench", "embedllm", "arena", "log"}
COMMANDS = {"data generate", "data inspect", "data convert", "data fetch"}


@pytest.mark.parametrize(("kind", "names"), [("dataset", FORMATS), ("command", COMMANDS)])
def test_every_component_is_offered_and_can_be_loaded(kind: str, names: set[str]) -> None:
    plugins = Plugins()
    assert names == {offer.component.name for offer in plugins if offer.kind == kind and offer.plugin.distribution == "aamc-datasets"}
    for name in names:
        assert plugins.load(kind, name) is not None


def test_showing_a_format_loads_no_library_that_only_reading_needs() -> None:
    modules = ", ".join(component.target.partition(":")[0] for component in plugin.aamc_datasets())
    code = f"import sys, {modules}; print(sorted({{'pyarrow', 'rich', 'sklearn', 'torch'}} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_conforms(name: str) -> None:
    assert_conforms("dataset", name, Plugins())
