"""What this package offers to the SDK; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_agents() -> list[Component]:
    """Offer the agents."""
    return [
        Component("calculator", "aamc_puppeteer.agents.calculator:Calculator", "Evaluates an arithmetic expression."),
        Component("parser", "aamc_puppeteer.agents.parser:Parser", "Writes a word problem as an expression or a program."),
        Component("checker", "aamc_puppeteer.agents.writing:Checker", "Says what is wrong with a line of text."),
        Component("drafter", "aamc_puppeteer.agents.writing:Drafter", "Writes a first draft of a line of text."),
        Component("extractor", "aamc_puppeteer.agents.extractor:Extractor", "Reads in passages what a question asks for."),
        Component("python", "aamc_puppeteer.agents.python:Python", "Runs a Python program in a process of its own."),
        Component("retriever", "aamc_puppeteer.agents.retriever:Retriever", "Finds passages of the task's documents by BM25."),
        Component("reviser", "aamc_puppeteer.agents.writing:Reviser", "Puts right what the checker found in a line of text."),
        Component("strings", "aamc_puppeteer.agents.strings:StringTools", "Follows one command about a word."),
        Component("table", "aamc_puppeteer.agents.table:TableLookup", "Looks up cells in the task's CSV tables."),
    ]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the task suites."""
    return [Component("tasks", "aamc_puppeteer.suites.task_format:TaskSuites", "Tasks with verifiers: generated suites, GSM-Hard, MMLU-Pro, SRDD.")]
