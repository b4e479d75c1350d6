"""Agent ``strings``: carries out one command about a word."""

from __future__ import annotations

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, Tool, subject

from aamc_puppeteer.testbed.agents.text_commands import follow_first
from aamc_sdk import Candidate


class StringTools(Tool):
    """Carries out the first command of the last output."""

    spec = Candidate("strings", "Follows one simple command about a word: reverse it, change its case, cut, repeat or extend it.")

    async def act(self, state: TaskState) -> str:
        """Return the word with the remaining commands, or the word alone."""
        text = subject(state)
        followed = follow_first(text)
        if followed is None:
            raise AgentError(f"there is no simple command about a word in {text!r:.80}")
        return followed
