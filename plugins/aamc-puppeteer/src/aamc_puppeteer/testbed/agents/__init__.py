"""Rule-based agents that solve the testbed's suites without a model. They understand the suites' sentences and nothing else.

Plugins do not offer them: they are made here by name, for the puppeteer and its environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from aamc_sdk import Agent, Services
from aamc_sdk.config import configure
from aamc_sdk.errors import UnknownComponentError

AGENTS: Mapping[str, str] = {
    "checker": "writing:Checker",
    "extractor": "extractor:Extractor",
    "parser": "parser:Parser",
    "reviser": "writing:Reviser",
    "strings": "strings:StringTools",
    "table": "table:TableLookup",
}
"""The testbed's agents by name, each as ``module:class``."""
TOOLS = ("calculator", "checker", "extractor", "parser", "python", "retriever", "reviser", "strings", "table")
"""Names of the agents that solve the generated suites together, without a model."""


def make_agent(services: Services, name: str, options: Mapping[str, Any]) -> Agent:
    """Make an agent by name: the one that a plugin offers, else the testbed's.

    Raises:
        ConfigError: An option is unknown or wrong.
        UnknownComponentError: Neither a plugin nor the testbed has the agent.
    """
    try:
        agent: Agent = services.make("agent", name, options)
    except UnknownComponentError:
        if name not in AGENTS:
            raise
        target = agent_class(name)
        agent = target(configure(target.Config, options, where=name), services)
    return agent


def agent_class(name: str) -> Any:
    """Import the class of a testbed agent."""
    module, _, kind = AGENTS[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), kind)
