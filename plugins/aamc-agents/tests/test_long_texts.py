"""No text keeps a tool at work for long: while a pattern searches, no timeout can stop it."""

import pytest
from agent_fixtures import seconds_on_a_long_text


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
    assert seconds_on_a_long_text(say, agent, start, repeated) < 0.5
