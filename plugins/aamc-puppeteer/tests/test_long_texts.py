"""No text keeps a tool or a verifier at work for long: while a pattern searches, no timeout can stop it."""

import asyncio
import time
from contextlib import suppress

import pytest
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError
from aamc_puppeteer.tasks.verifiers import MultipleChoice

LENGTH = 20_000


@pytest.mark.parametrize(
    ("agent", "start", "repeated"),
    [
        ("parser", "Start with 'a'. ", "a"),
        ("extractor", "Question: Who is the founder of Ada?\n- ", "A"),
        ("extractor", "Question: Who is the founder of Ada?\n- ", "A "),
        ("extractor", "Question: Who is the founder of Ada?\n- ", "A-"),
    ],
)
def test_no_text_keeps_a_tool_at_work_for_long(say, agent: str, start: str, repeated: str) -> None:
    said = (start + repeated * LENGTH)[:LENGTH]
    began = time.process_time()
    with suppress(AgentError):
        say(agent, "?", said)
    assert time.process_time() - began < 0.5


def test_no_answer_keeps_a_verifier_at_work_for_long() -> None:
    began = time.process_time()
    verdict = asyncio.run(MultipleChoice()(Task(id="t", text="?", reference="A"), "\n" * LENGTH))
    assert not verdict.correct
    assert time.process_time() - began < 0.5
