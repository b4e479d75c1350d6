"""Options that the pages name."""

import re
from pathlib import Path

import attrs
import pytest
from aamc_experiments.settings import Evaluation

from aamc_sdk.plugins import describe_options, get_plugin_manager

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
KINDS = ("router", "estimator", "environment", "reward", "dataset", "orchestrator")


@pytest.fixture(scope="module")
def options():
    """Return the options of each kind's components."""
    plugins = get_plugin_manager()
    found = {kind: {option["name"] for name in plugins.names(kind) for option in describe_options(plugins.load(kind, name))} for kind in KINDS}
    return {**found, "evaluation": {field.name for field in attrs.fields(Evaluation)}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_option_that_a_page_sets_exists(page, options):
    for section, name in re.findall(r"--set '?(\w+)\.(\w+)[.=]", page.read_text(encoding="utf-8")):
        if section in options and name != "KEY" and name != "NAME":
            assert name in options[section], f"--set {section}.{name}"
