import subprocess
import sys

import pytest

from aamc_sdk import get_plugin_manager
from aamc_sdk.testing import assert_conforms

PLUGINS = get_plugin_manager()
AGENTS = sorted(offer.component.name for offer in PLUGINS if (offer.kind, offer.plugin.distribution) == ("agent", "aamc-agents"))


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_keeps_the_contract_of_agents(name: str) -> None:
    assert_conforms("agent", name, PLUGINS)


def test_names_are_those_that_the_agents_give_themselves_and_descriptions_differ() -> None:
    specs = [PLUGINS.load("agent", name).spec for name in AGENTS]
    assert [spec.name for spec in specs] == AGENTS
    assert len({spec.description for spec in specs}) == len(specs)


def test_no_agent_imports_torch() -> None:
    modules = sorted({offer.component.target.partition(":")[0] for offer in PLUGINS if offer.plugin.distribution == "aamc-agents"})
    program = f"import sys, {', '.join(modules)}; print('torch' in sys.modules, 'aiohttp' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False False\n"
