"""What this package offers to the SDK; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_agents() -> list[Component]:
    """Offer the agents."""
    return [
        Component("calculator", "aamc_puppeteer.agents.calculator:Calculator", "Evaluates an arithmetic expression."),
        Component("parser", "aamc_puppeteer.agents.parser:Parser", "Writes a word problem as an expression or a program."),
        Component("table", "aamc_puppeteer.agents.table:TableLookup", "Looks up cells in the task's CSV tables."),
    ]
