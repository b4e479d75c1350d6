"""Agents ``checker`` and ``reviser``: one finds an error in a line of text, the other corrects it."""

from __future__ import annotations

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.testbed.agents.requirements import LineRequirements, mended
from aamc_sdk import Candidate

FINDING, LINE = "Finding: ", "Line: "
"""Prefixes of the checker's two lines."""


class Checker(Tool):
    """Compares a line with the task's requirements: the last output, else the task's draft."""

    Config = ReaderConfig
    spec = Candidate("checker", "Checks a line of text against what was asked for, and names the first thing that is wrong; passes on a good one.")

    async def act(self, state: TaskState) -> str:
        """Return the first finding with the line, or the line alone without a finding."""
        wanted = LineRequirements.read(state.task.text)
        if wanted is None:
            raise AgentError(f"the task asks for no line of text: {state.task.text!r:.80}")
        line = state.outputs[-1].content if state.outputs else wanted.draft
        if "\n" in line:
            raise AgentError("what was said last is no line; there is nothing new to check")
        finding = next(wanted.findings(line), None)
        return line if finding is None else f"{FINDING}{finding}\n{LINE}{line}"


class Reviser(Tool):
    """Corrects the checker's finding, and nothing else."""

    Config = ReaderConfig
    spec = Candidate("reviser", "Revises a line of text: puts right the one thing that the checker found wrong with it.")

    async def act(self, state: TaskState) -> str:
        """Return the revised line."""
        finding, _, line = subject(state).partition("\n")
        if not (finding.startswith(FINDING) and line.startswith(LINE)):
            raise AgentError("there is no finding to act upon; let the checker look first")
        revised = mended(line.removeprefix(LINE), finding)
        if revised is None:
            raise AgentError(f"the reviser cannot correct: {finding.removeprefix(FINDING)}")
        return revised
