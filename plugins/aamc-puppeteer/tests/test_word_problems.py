import pytest
from aamc_agents.tool import AgentError
from aamc_puppeteer.testbed.arithmetic import formulate


def test_a_story_becomes_an_expression() -> None:
    story = "Mia has 12 pears. Mia buys 3 crates of 8 pears. It is 9 degrees outside. An aunt of Mia doubles that. Mia keeps one of 4 equal shares."
    assert formulate(story) == "((12 + 3 * 8) * 2) / 4"


def test_what_is_repeated_becomes_a_loop() -> None:
    story = "Mia has 10 pears. Every day for 3 days, Mia buys 2 bags of 5 pears, and then one in 4 of all pears, rounded down, spoils."
    program = formulate(story)
    assert program is not None
    printed: list[int] = []
    exec(program, {"print": printed.append})
    assert printed == [22]  # 15 after the first day, 19 after the second


def test_what_is_no_story_is_refused(say) -> None:
    with pytest.raises(AgentError, match="no word problem in 'Hello'"):
        say("parser", "Hello")
