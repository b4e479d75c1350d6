import pytest
from aamc_agents.tool import AgentError
from aamc_puppeteer.testbed.critic_loop import LineRequirements, mended

DRAFT = "We really quite rather very like the gardens."
TEXT = f"Mend this line about gardens: '{DRAFT}' Use the word birds. Do not use the word very. End with '!'. At most 6 words."


def test_requirements_are_read_from_the_task() -> None:
    wanted = LineRequirements.read(TEXT)
    assert wanted == LineRequirements("gardens", DRAFT, use=("birds",), avoid=("very",), at_most=6, ending="!")
    assert LineRequirements.read("How many pears are there?") is None


def test_findings_come_in_a_fixed_order() -> None:
    wanted = LineRequirements.read(TEXT)
    assert wanted is not None
    assert list(wanted.findings(DRAFT)) == [
        "the word birds is missing",
        "the word very is not allowed",
        "it has 8 words instead of at most 6",
        "it does not end with '!'",
    ]
    assert list(wanted.findings("We like the gardens with birds!")) == []


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        ("the word birds is missing", "We really quite rather very like the gardens with birds."),
        ("the word very is not allowed", "We really quite rather like the gardens."),
        ("it has 8 words instead of at most 6", "We rather very like the gardens."),
        ("it does not end with '!'", "We really quite rather very like the gardens!"),
    ],
)
def test_a_finding_is_mended_and_nothing_else(finding: str, line: str) -> None:
    assert mended(DRAFT, finding) == line


def test_checking_and_revising_in_turn_ends_with_a_line_that_the_checker_passes_on(say) -> None:
    said: tuple[str, ...] = ()
    for _ in range(4):
        said += (say("checker", TEXT, *said),)
        said += (say("reviser", TEXT, *said),)
    assert say("checker", TEXT, *said) == said[-1] == "We like the gardens with birds!"


@pytest.mark.parametrize(
    ("name", "task", "said", "error"),
    [
        ("checker", "What is 2 + 2?", (), "asks for no line"),
        ("checker", TEXT, (f"Finding: it is dull\nLine: {DRAFT}",), "nothing new to check"),
        ("reviser", TEXT, (DRAFT,), "no finding to act upon"),
        ("reviser", TEXT, (f"Finding: it is dull\nLine: {DRAFT}",), "the reviser cannot correct: it is dull"),
    ],
)
def test_out_of_turn_they_give_up(say, name: str, task: str, said: tuple[str, ...], error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say(name, task, *said)
