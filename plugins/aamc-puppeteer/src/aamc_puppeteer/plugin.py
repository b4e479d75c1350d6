"""The hooks of this package; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_agents() -> list[Component]:
    """Offer the testbed's rule-based agents by name; they are not production agents, so no list has them."""
    agents = "aamc_puppeteer.testbed"
    return [
        Component("checker", f"{agents}.critic_loop:Checker", "Finds the first error of a line of text.", listed=False),
        Component("extractor", f"{agents}.multi_hop:Extractor", "Reads an answer in passages.", listed=False),
        Component("parser", f"{agents}.arithmetic:Parser", "Writes a word problem as an expression or a program.", listed=False),
        Component("reviser", f"{agents}.critic_loop:Reviser", "Corrects the error that the checker found.", listed=False),
        Component("strings", f"{agents}.strings:StringTools", "Carries out a command about a word.", listed=False),
        Component("table", f"{agents}.tables:TableLookup", "Looks up cells of CSV tables.", listed=False),
    ]


@hookimpl
def aamc_environments() -> list[Component]:
    """Offer the environment of single turns."""
    return [Component("agents", "aamc_puppeteer.one_turn:OneTurnEnvironment", "Each task gets one turn of one agent.")]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the task suites."""
    return [
        Component("tasks", "aamc_puppeteer.testbed.dataset_format:TaskSuites", "Tasks with verifiers: generated suites, GSM-Hard, MMLU-Pro, SRDD.")
    ]


@hookimpl
def aamc_orchestrators() -> list[Component]:
    """Offer the puppeteer."""
    return [Component("puppeteer", "aamc_puppeteer.orchestrator:Puppeteer", "Activates agents by a policy trained with REINFORCE.")]


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the puppeteer's policy as a router."""
    return [Component("puppeteer", "aamc_puppeteer.router:PuppeteerRouter", "The puppeteer's policy, trained with REINFORCE, chooses who answers.")]
