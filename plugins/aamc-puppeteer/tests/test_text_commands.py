import pytest
from aamc_agents.tool import AgentError
from aamc_puppeteer.testbed.strings import as_program, follow_first


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("Reverse it.", "kaol"),
        ("Make it upper case.", "LOAK"),
        ("Keep the first 2 letters.", "lo"),
        ("Drop the first 3 letters.", "k"),
        ("Write it 2 times.", "loakloak"),
        ("Put 'ed' at the end.", "loaked"),
    ],
)
def test_a_simple_command_and_its_program_do_the_same(command: str, result: str) -> None:
    text = f"Start with 'loak'. {command}"
    assert follow_first(text) == result
    assert printed_by(as_program(text)) == result


def test_one_command_is_followed_at_a_time() -> None:
    once = follow_first("Start with 'abc'. Reverse it. Write it 2 times.")
    assert once == "Start with 'cba'. Write it 2 times."
    assert follow_first(once) == "cbacba"


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("Sort its letters.", "aemrxz"),
        ("Move each letter 3 places on in the alphabet.", "pdcahu"),
        ("Leave out letters that stood before.", "mazxer"),
        ("Swap its two halves.", "xermaz"),
    ],
)
def test_hard_commands_need_a_program(command: str, result: str) -> None:
    text = f"Start with 'mazxer'. {command}"
    assert follow_first(text) is None
    assert printed_by(as_program(text)) == result


@pytest.mark.parametrize("text", ["Start with 'abc'. Sing it.", "Reverse it.", "abc", ""])
def test_what_nobody_knows_is_no_program(text: str) -> None:
    assert as_program(text) is None


def test_without_a_command_the_string_tool_gives_up(say) -> None:
    with pytest.raises(AgentError, match="no simple command about a word in 'abc'"):
        say("strings", "abc")


def printed_by(program: str | None) -> str:
    assert program is not None
    printed: list[str] = []
    exec(program, {"print": printed.append})
    return printed[0]
