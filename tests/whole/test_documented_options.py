"""Options that the pages set."""

import importlib
import re
from pathlib import Path

import pytest
from aamc_experiments.settings import Evaluation

from aamc_sdk.config import configure, set_option
from aamc_sdk.errors import ConfigError
from aamc_sdk.plugins import get_plugin_manager

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
KINDS = ("router", "estimator", "environment", "reward", "dataset", "orchestrator")
EXAMPLES = ("KEY", "NAME")
SET = re.compile(r"--set (?:'([^']+)'|([^'`\"\s)|]+))")


@pytest.fixture(scope="module")
def configs():
    """Return the options' classes of each kind's components, and of the example plugin's router."""
    plugins = get_plugin_manager()
    found = {kind: [plugins.load(kind, name).Config for name in plugins.names(kind)] for kind in KINDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples" / "third_party_plugin" / "src")
        example = importlib.import_module("acme_routing.router").LengthRouter.Config
    return {**found, "router": [*found["router"], example], "evaluation": [Evaluation]}


def error_of(config, options):
    """Return why a component does not take options; None if it takes them."""
    try:
        configure(config, options)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_component_takes_every_option_that_a_page_sets(page, configs):
    for assignment in map("".join, SET.findall(page.read_text(encoding="utf-8"))):
        section, _, option = assignment.partition(".")
        if section not in configs or "=" not in option or option.startswith(EXAMPLES):
            continue
        options = {}
        set_option(options, option)
        errors = [error_of(config, options) for config in configs[section]]
        assert None in errors, f"--set {assignment}: {errors}"
