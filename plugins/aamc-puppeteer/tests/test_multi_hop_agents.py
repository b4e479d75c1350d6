from pathlib import Path

import pytest
from aamc_puppeteer.agents.relations import STATED, asked, filled, stated
from aamc_puppeteer.agents.tool import AgentError
from aamc_puppeteer.tasks import Task

from aamc_sdk.errors import ConfigError

CORPUS = (
    "Ada Brown works for Delta Forge.",
    "Clara Holm is the founder of Delta Forge.",
    "Ada Brown once visited Norvik.",
    "Bread is baked at night.",
)
TASK = Task(id="t", text="Who is the founder of the employer of Ada Brown?", corpus=CORPUS)


def test_links_are_found_one_by_one_each_through_the_one_before(say) -> None:
    passages = say("retriever", TASK)
    assert passages.splitlines()[0] == f"Question: {TASK.text}"
    question = say("extractor", TASK, passages)
    assert question == "Who is the founder of Delta Forge?"
    assert say("extractor", TASK, passages, question, say("retriever", TASK, question)) == "Clara Holm"


def test_the_best_passages_come_first_and_no_more_than_asked(say) -> None:
    found = say("retriever", Task(id="t", text="Who works for Delta Forge?", corpus=CORPUS), passages=1)
    assert found == "Question: Who works for Delta Forge?\n- Ada Brown works for Delta Forge."


@pytest.mark.parametrize("relation", STATED)
def test_each_form_of_a_relation_is_read_and_no_other_name_is_taken(relation: str) -> None:
    for form in STATED[relation]:
        passages = [form.format("Other Name", "Wrong"), f"Today, {form.format('Ada Brown', 'Delta Forge')}."]
        assert stated(relation, "Ada Brown", passages) == "Delta Forge"
        assert stated(relation, "Nobody", passages) is None


def test_the_innermost_relation_is_asked_first() -> None:
    question = "What is the home town of the mayor of the head office of Delta Forge?"
    assert asked(question) == ("head office", "Delta Forge")
    assert filled(question, "head office", "Delta Forge", "Elstow") == "What is the home town of the mayor of Elstow?"
    assert filled("Who is the mayor of Elstow?", "mayor", "Elstow", "Ada Brown") == "Ada Brown"
    assert asked("How are you?") is None


@pytest.mark.parametrize(
    ("name", "said", "error"),
    [
        ("extractor", "Who is it?", "no passages"),
        ("extractor", "Question: Who is the founder of Norvik?\n- Norvik is old.", "no passage says who or what is the founder of Norvik"),
    ],
)
def test_what_cannot_be_read_is_said(say, name: str, said: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say(name, TASK, said)


def test_without_documents_there_is_nothing_to_search(say) -> None:
    with pytest.raises(AgentError, match="no documents"):
        say("retriever", "Who is the founder of Norvik?")


def test_the_paragraphs_of_a_folder_are_searched_where_the_task_brings_no_documents(say, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "towns.md").write_text("Ambria lies\nby the sea.\n\nBelmora lies inland.\n", encoding="utf-8")
    (tmp_path / "image.png").write_bytes(b"\xff")
    found = say("retriever", "Where does Ambria lie?", folder=str(tmp_path), passages=1)
    assert found == "Question: Where does Ambria lie?\n- Ambria lies by the sea."
    with pytest.raises(ConfigError, match=r"has no \.txt and no \.md file"):
        say("retriever", "Where?", folder=str(tmp_path / "nowhere"))
