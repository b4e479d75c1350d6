"""Agent ``extractor``: reads the answer to a question in passages."""

from __future__ import annotations

from aamc_agents.retriever import PASSAGE, QUESTION
from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.testbed.agents.relations import asked, filled, stated
from aamc_sdk import Candidate


class Extractor(Tool):
    """Answers the innermost part of a question from the passages in the last output."""

    Config = ReaderConfig
    spec = Candidate("extractor", "Reads the passages that were found and takes the name from them that the question asks for, or the next question.")

    async def act(self, state: TaskState) -> str:
        """Return the answer, or the remaining question with the answer filled in."""
        first, *rest = subject(state).splitlines()
        passages = [line.removeprefix(PASSAGE) for line in rest if line.startswith(PASSAGE)]
        question = first.removeprefix(QUESTION)
        relation = asked(question)
        if not passages or relation is None:
            raise AgentError("there are no passages with a question to read")
        value = stated(*relation, passages)
        if value is None:
            raise AgentError(f"no passage says who or what is the {relation[0]} of {relation[1]}")
        return filled(question, *relation, value)
