"""Agent ``parser``: writes a word problem, or a list of commands, as an expression or a short program."""

from __future__ import annotations

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.testbed.agents.stories import formulate
from aamc_puppeteer.testbed.agents.text_commands import as_program
from aamc_sdk import Candidate


class Parser(Tool):
    """Writes the computation of an answer, without computing it."""

    Config = ReaderConfig
    spec = Candidate("parser", "Reads a word problem or a list of commands and writes it as an arithmetic expression or a Python program.")

    async def act(self, state: TaskState) -> str:
        """Return the expression or program for the last output."""
        text = subject(state)
        written = as_program(text) or formulate(text)
        if written is None:
            raise AgentError(f"there is no word problem in {text!r:.80}")
        return written
