"""The hooks of this package; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_agents() -> list[Component]:
    """Offer the agents."""
    return [
        Component("calculator", "aamc_agents.calculator:Calculator", "Evaluates an arithmetic expression."),
        Component("file-reader", "aamc_agents.file_reader:FileReader", "Reads a text file below a configured folder."),
        Component("python", "aamc_agents.python:Python", "Runs a Python program in a sandboxed process."),
        Component("retriever", "aamc_agents.retriever:Retriever", "Finds passages of the task's documents by BM25."),
        Component("web-fetch", "aamc_agents.web_fetch:WebFetch", "Fetches a web page from allowed hosts (default: none)."),
        Component("planner", "aamc_agents.roles:Planner", "Breaks a task down into steps, by a language model."),
        Component("reasoner", "aamc_agents.roles:Reasoner", "Thinks a problem through, by a language model."),
        Component("critic", "aamc_agents.roles:Critic", "Points out errors, by a language model."),
        Component("reflect", "aamc_agents.roles:Reflect", "Reflects on the work so far, by a language model."),
        Component("question", "aamc_agents.roles:Question", "Asks and answers a sub-question, by a language model."),
        Component("summarizer", "aamc_agents.roles:Summarizer", "Sums up the work so far, by a language model."),
        Component("modifier", "aamc_agents.roles:Modifier", "Corrects the latest result, by a language model."),
        Component("concluder", "aamc_agents.roles:Concluder", "Gives the final answer, by a language model."),
    ]


@hookimpl
def aamc_checks() -> list[Component]:
    """Offer the check of the sandbox."""
    return [Component("sandbox", "aamc_agents.python:check_sandbox", "The sandbox of the agent python.")]
