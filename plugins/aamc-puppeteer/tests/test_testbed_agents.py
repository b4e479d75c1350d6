"""The testbed's agents keep the contract of agents, are not listed, and are made by name; nothing else depends on the testbed."""

import ast
from pathlib import Path

import aamc_puppeteer
import pytest
from aamc_puppeteer.testbed.suites import TOOLS

from aamc_sdk import Component, Services, get_plugin_manager, hookimpl
from aamc_sdk.errors import UnknownComponentError
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms

AGENTS = ("checker", "extractor", "parser", "reviser", "strings", "table")


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_keeps_the_contract_of_agents(name: str) -> None:
    assert_conforms("agent", name, get_plugin_manager())


def test_names_are_those_that_the_agents_give_themselves_and_descriptions_differ(services: Services) -> None:
    specs = [services.make("agent", name, {}).spec for name in TOOLS]
    assert tuple(spec.name for spec in specs) == TOOLS
    assert len({spec.description for spec in specs}) == len(specs)


def test_no_list_of_agents_has_them(services: Services) -> None:
    plugins = get_plugin_manager()
    assert not {*AGENTS} & {*plugins.names("agent")}
    assert not {*AGENTS} & {offer.component.name for offer in plugins}
    with pytest.raises(UnknownComponentError, match="calculator"):
        services.make("agent", "calculater", {})


class Tables:
    """A plugin with an agent that is named like one of the testbed."""

    @hookimpl
    def aamc_agents(self) -> list[Component]:
        return [Component("table", "aamc_agents.calculator:Calculator", "A table.")]


def test_an_agent_of_another_plugin_replaces_one_of_the_testbed() -> None:
    plugins = Plugins({"tables": Tables()})
    assert plugins.find("agent", "table").plugin.name == "tables"
    assert plugins.find("agent", "strings").plugin.distribution == "aamc-puppeteer"


def test_nothing_outside_the_testbed_imports_it() -> None:
    source = Path(aamc_puppeteer.__file__).parent
    for file in source.rglob("*.py"):
        if "testbed" not in file.parts:
            modules = [node.module for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
            assert not [module for module in modules if module and ".testbed" in module], file
