from pathlib import Path

import pytest
from aamc_agents.retriever import paragraphs_of
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError, check_extra

from aamc_sdk.errors import ConfigError

CORPUS = (
    "Ada Brown works for Delta Forge.",
    "Clara Holm is the founder of Delta Forge.",
    "Ada Brown once visited Norvik.",
    "Bread is baked at night.",
)


def test_the_best_passages_come_first_and_no_more_than_asked(say) -> None:
    found = say("retriever", Task(id="t", text="Who works for Delta Forge?", corpus=CORPUS), passages=1)
    assert found == "Question: Who works for Delta Forge?\n- Ada Brown works for Delta Forge."


def test_passages_without_a_word_of_the_question_are_not_given(say) -> None:
    found = say("retriever", Task(id="t", text="When is bread baked?", corpus=(*CORPUS, "")))
    assert found == "Question: When is bread baked?\n- Bread is baked at night."


@pytest.mark.parametrize("text", ["zzz qqq?", "?", "the of and?"])
def test_a_question_without_a_word_of_the_documents_fails(say, text: str) -> None:
    with pytest.raises(AgentError, match=r"no document has a word of the question .*, apart from common words such as 'the'") as raised:
        say("retriever", Task(id="t", text=text, corpus=CORPUS))
    assert raised.value.cost == pytest.approx(0.002)


def test_without_documents_there_is_nothing_to_search(say) -> None:
    with pytest.raises(AgentError, match="no documents"):
        say("retriever", "Who is the founder of Norvik?")


@pytest.mark.parametrize("corpus", [("the of", "and !"), ("",), ("?!", "\n")])
def test_documents_without_a_word_cannot_be_searched(say, corpus: tuple[str, ...]) -> None:
    with pytest.raises(AgentError, match="the documents have no words to search for") as raised:
        say("retriever", Task(id="t", text="Who?", corpus=corpus))
    assert raised.value.cost == pytest.approx(0.002)


def test_the_paragraphs_of_a_folder_are_searched_where_the_task_brings_no_documents(say, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "towns.md").write_text("Ambria lies\nby the sea.\n\nBelmora lies inland.\n", encoding="utf-8")
    (tmp_path / "image.png").write_bytes(b"\xff")
    found = say("retriever", "Where does Ambria lie?", folder=str(tmp_path), passages=1)
    assert found == "Question: Where does Ambria lie?\n- Ambria lies by the sea."
    with pytest.raises(ConfigError, match=r"has no \.txt or \.md file") as raised:
        say("retriever", "Where?", folder=str(tmp_path / "nowhere"))
    assert raised.value.cost == pytest.approx(0.002)  # every failure is billed


@pytest.mark.parametrize(("name", "module", "extra"), [("retriever", "bm25s", "retriever"), ("web-fetch", "httpx", "web")])
def test_an_agent_without_its_library_names_the_extra(make_agent, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str) -> None:
    monkeypatch.setattr("aamc_agents.tool.find_spec", lambda wanted: None if wanted == module else object())
    with pytest.raises(ConfigError, match=rf"{module}.* pip install 'aamc-agents\[{extra}\]'"):
        make_agent(name)


def test_an_installed_library_is_no_error() -> None:
    check_extra("agent retriever", "aamc-agents[retriever]", "json")


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "documents", tmp_path / "key.txt"
    folder.mkdir()
    elsewhere.write_text("a secret", encoding="utf-8")
    (folder / "towns.txt").write_text("Ambria", encoding="utf-8")
    (folder / "link.md").symlink_to("towns.txt")
    (folder / "key.md").symlink_to(elsewhere)
    assert paragraphs_of(folder) == ("Ambria", "Ambria")
