"""No text keeps a tool or a verifier at work for long: while a pattern searches, no timeout can stop it."""

import asyncio
import time

import pytest
from aamc_agents.tasks import Task
from aamc_puppeteer.tasks.verifiers import MultipleChoice
from agent_fixtures import seconds_on_a_long_text


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
    assert seconds_on_a_long_text(say, agent, start, repeated) < 0.5


@pytest.mark.parametrize("repeated", ["\n", "answer is ", "answer: {", "the ", "({"])
def test_no_answer_keeps_a_verifier_at_work_for_long(repeated: str) -> None:
    began = time.process_time()
    verdict = asyncio.run(MultipleChoice()(Task(id="t", text="?", reference="A"), repeated * 20_000))
    assert not verdict.correct
    assert time.process_time() - began < 0.5
