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
        Component("extractor", "aamc_puppeteer.agents.extractor:Extractor", "Reads in passages what a question asks for."),
        Component("file-reader", "aamc_puppeteer.agents.file_reader:FileReader", "Reads a text file below one folder."),
        Component("python", "aamc_puppeteer.agents.python:Python", "Runs a Python program in a process of its own."),
        Component("retriever", "aamc_puppeteer.agents.retriever:Retriever", "Finds passages of the task's documents by BM25."),
        Component("reviser", "aamc_puppeteer.agents.writing:Reviser", "Puts right what the checker found in a line of text."),
        Component("strings", "aamc_puppeteer.agents.strings:StringTools", "Follows one command about a word."),
        Component("table", "aamc_puppeteer.agents.table:TableLookup", "Looks up cells in the task's CSV tables."),
        Component("web-fetch", "aamc_puppeteer.agents.web_fetch:WebFetch", "Fetches a web page from hosts that are allowed; none by default."),
        Component("planner", "aamc_puppeteer.agents.roles:Planner", "Breaks a task down into steps, by a language model."),
        Component("reasoner", "aamc_puppeteer.agents.roles:Reasoner", "Thinks a problem through, by a language model."),
        Component("critic", "aamc_puppeteer.agents.roles:Critic", "Points out errors, by a language model."),
        Component("reflect", "aamc_puppeteer.agents.roles:Reflect", "Reflects on the work so far, by a language model."),
        Component("question", "aamc_puppeteer.agents.roles:Question", "Asks and answers a sub-question, by a language model."),
        Component("summarizer", "aamc_puppeteer.agents.roles:Summarizer", "Sums up the work so far, by a language model."),
        Component("modifier", "aamc_puppeteer.agents.roles:Modifier", "Corrects the latest result, by a language model."),
        Component("concluder", "aamc_puppeteer.agents.roles:Concluder", "Gives the final answer, by a language model."),
    ]


@hookimpl
def aamc_environments() -> list[Component]:
    """Offer the tables of what agents do with tasks."""
    return [Component("agents", "aamc_puppeteer.one_turn:OneTurnEnvironment", "Each task is given to one agent, for one turn.")]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the task suites."""
    return [Component("tasks", "aamc_puppeteer.suites.task_format:TaskSuites", "Tasks with verifiers: generated suites, GSM-Hard, MMLU-Pro, SRDD.")]


@hookimpl
def aamc_orchestrators() -> list[Component]:
    """Offer the puppeteer."""
    return [Component("puppeteer", "aamc_puppeteer.orchestrator:Puppeteer", "Activates agents by a policy that REINFORCE taught.")]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the command that puts it to work."""
    return [Component("orchestrate", "aamc_puppeteer.commands:orchestrate", "Let agents work on a task, one after the other.")]
