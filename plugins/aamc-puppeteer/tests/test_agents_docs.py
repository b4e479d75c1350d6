"""The pages about agents and task suites say what the code does."""

import re
from pathlib import Path

import pytest
from aamc_agents.models import ModelConfig
from aamc_agents.tool import ToolConfig
from aamc_puppeteer.plugin import aamc_agents
from aamc_puppeteer.tasks.verifiers import NAMED
from aamc_puppeteer.testbed import SUITES
from aamc_puppeteer.testbed.dataset_format import PUBLISHED

from aamc_sdk import get_plugin_manager

PAGES = Path(__file__).parents[3] / "docs" / "reference"


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["agents", "task-suites"])
def test_the_pages_programs_run(name: str) -> None:
    programs = re.findall(r"```python\n(.*?)```", page(name), flags=re.DOTALL)
    assert programs
    for program in programs:
        exec(program, {"__name__": name})


def test_every_agent_stands_on_its_page_and_tools_with_their_price() -> None:
    plugins, text = get_plugin_manager(), page("agents")
    for offer in plugins:
        if (offer.kind, offer.plugin.distribution) != ("agent", "aamc-agents"):
            continue
        assert f"`{offer.component.name}`" in text
        config = plugins.load("agent", offer.component.name).Config()
        if not isinstance(config, ModelConfig):
            assert billed(offer.component.name, config, text)
    for component in aamc_agents():
        assert billed(component.name, plugins.load("agent", component.name).Config(), page("task-suites")), component.name


def billed(name: str, config: ToolConfig, text: str) -> bool:
    return re.search(rf"^\| `{name}` \|.*\| {config.billed_seconds:g} \|$", text, flags=re.MULTILINE) is not None


def test_every_suite_and_verifier_stands_on_its_page() -> None:
    text = page("task-suites")
    assert all(f"| `{name}` |" in text for name in (*SUITES, *NAMED, "judge"))
    assert all(f"`tasks:{name}:FILE`" in text for name in PUBLISHED)
