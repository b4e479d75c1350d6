"""The testbed's agents keep the contract of agents, and are not offered as plugins."""

import pytest
from aamc_puppeteer.testbed.agents import AGENTS, TOOLS, agent_class, make_agent

from aamc_sdk import Component, Services, builtin, get_plugin_manager, hookimpl
from aamc_sdk.errors import UnknownComponentError
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms


class Announced:
    """Offers the testbed's agents, so that the conformance kit can make them."""

    @hookimpl
    def aamc_agents(self) -> list[Component]:
        return [Component(name, f"{agent_class(name).__module__}:{agent_class(name).__name__}", "") for name in AGENTS]


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_each_agent_keeps_the_contract_of_agents(name: str) -> None:
    assert_conforms("agent", name, Plugins({"core": builtin, "testbed": Announced()}, discover=False))


def test_names_are_those_that_the_agents_give_themselves_and_descriptions_differ(services: Services) -> None:
    specs = [make_agent(services, name, {}).spec for name in TOOLS]
    assert tuple(spec.name for spec in specs) == TOOLS
    assert len({spec.description for spec in specs}) == len(specs)


def test_no_plugin_offers_them(services: Services) -> None:
    assert not {*AGENTS} & {*get_plugin_manager().names("agent")}
    with pytest.raises(UnknownComponentError, match="calculator"):
        make_agent(services, "calculater", {})
