"""Agents ``drafter``, ``checker`` and ``reviser``: write a line, say what is wrong with it, put one thing right."""

from __future__ import annotations

import attrs

from aamc_puppeteer.agents.requirements import FILLERS, Requirements, mended, words_of
from aamc_puppeteer.agents.tool import AgentError, Tool, ToolConfig, subject
from aamc_puppeteer.state import TaskState
from aamc_sdk import Candidate, option

FINDING, LINE = "Finding: ", "Line: "
"""How the two lines of what the checker says begin."""


@attrs.frozen(kw_only=True)
class WritingConfig(ToolConfig):
    """How its calls are billed."""

    billed_seconds: float | None = option(2.0, "Seconds that a call is billed for; those that it took when null.", at_least=0.0)


class _WritingTool(Tool):
    """A tool that works on a line of text that the task asks for."""

    Config = WritingConfig

    def wanted(self, state: TaskState) -> Requirements:
        """Return what the task asks of the line, or raise AgentError."""
        requirements = Requirements.read(state.task.text)
        if requirements is None:
            raise AgentError(f"the task asks for no line of text: {state.task.text!r:.80}")
        return requirements


class Drafter(_WritingTool):
    """Writes a first line on the task's topic. Like a hasty author, it looks at the topic and the forbidden words alone, and uses these."""

    spec = Candidate("drafter", "Writes a first draft of a line of text about a topic, quickly and without care for what else is asked.")

    async def act(self, state: TaskState) -> str:
        """Return the draft."""
        wanted = self.wanted(state)
        return " ".join(("We", *FILLERS[:3], *wanted.avoid, "like", "the", f"{wanted.topic}."))


class Checker(_WritingTool):
    """Compares a line with what the task asks for."""

    spec = Candidate("checker", "Checks a line of text against what was asked for, and names the first thing that is wrong; passes on a good one.")

    async def act(self, state: TaskState) -> str:
        """Return the first finding with the line, or the line alone where there is none."""
        wanted, line = self.wanted(state), _line(state)
        finding = next(wanted.findings(line), None)
        return line if finding is None else f"{FINDING}{finding}\n{LINE}{line}"


class Reviser(_WritingTool):
    """Puts right what the checker found, and nothing else."""

    spec = Candidate("reviser", "Revises a line of text: puts right the one thing that the checker found wrong with it.")

    async def act(self, state: TaskState) -> str:
        """Return the revised line."""
        finding, _, line = subject(state).partition("\n")
        if not (finding.startswith(FINDING) and line.startswith(LINE)):
            raise AgentError("there is no finding to act upon; let the checker look first")
        revised = mended(line.removeprefix(LINE), finding)
        if revised is None:
            raise AgentError(f"nobody knows how to put right: {finding.removeprefix(FINDING)}")
        return revised


def _line(state: TaskState) -> str:
    """Return the line that was written last, or raise AgentError."""
    said = subject(state)
    if not state.outputs or "\n" in said or not words_of(said):
        raise AgentError("there is no line to check; let the drafter write one first")
    return said
