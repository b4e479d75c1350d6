"""No text keeps a tool at work for long: while a pattern searches, no timeout can stop it."""

import time
from contextlib import suppress

import pytest
from aamc_agents.tool import AgentError

LENGTH = 20_000


@pytest.mark.parametrize(
    ("agent", "start", "repeated"),
    [
        ("calculator", "", "("),
        ("calculator", "", "1 "),
        ("file-reader", "", "a"),
        ("file-reader", "", "'a "),
        ("file-reader", "", "a/"),
    ],
)
def test_no_text_keeps_a_tool_at_work_for_long(say, agent: str, start: str, repeated: str) -> None:
    said = (start + repeated * LENGTH)[:LENGTH]
    began = time.process_time()
    with suppress(AgentError):
        say(agent, "?", said)
    assert time.process_time() - began < 0.5
