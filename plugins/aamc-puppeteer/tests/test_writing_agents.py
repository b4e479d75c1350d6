import pytest
from aamc_puppeteer.agents.requirements import Requirements, mended
from aamc_puppeteer.agents.tool import AgentError

TEXT = "Write a line about gardens. Use the word birds. Do not use the word very. End with '!'. At most 6 words."
DRAFT = "We really quite rather very like the gardens."


def test_requirements_are_read_from_the_task() -> None:
    wanted = Requirements.read(TEXT)
    assert wanted == Requirements("gardens", use=("birds",), avoid=("very",), at_most=6, ending="!")
    assert Requirements.read("How many pears are there?") is None


def test_findings_come_in_a_fixed_order() -> None:
    wanted = Requirements.read(TEXT)
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


def test_drafting_checking_and_revising_in_turn_ends_with_a_line_that_the_checker_passes_on(say) -> None:
    assert say("drafter", TEXT) == DRAFT
    line, rounds = DRAFT, 0
    while (checked := say("checker", TEXT, line)) != line:
        line, rounds = say("reviser", TEXT, line, checked), rounds + 1
    assert (line, rounds) == ("We like the gardens with birds!", 4)


@pytest.mark.parametrize(
    ("name", "task", "said", "error"),
    [
        ("drafter", "What is 2 + 2?", (), "asks for no line"),
        ("checker", TEXT, (), "no line to check"),
        ("reviser", TEXT, (DRAFT,), "no finding to act upon"),
        ("reviser", TEXT, (f"Finding: it is dull\nLine: {DRAFT}",), "nobody knows how to put right: it is dull"),
    ],
)
def test_out_of_turn_they_give_up(say, name: str, task: str, said: tuple[str, ...], error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say(name, task, *said)
