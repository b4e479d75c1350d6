import pytest
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError
from aamc_puppeteer.testbed.multi_hop import STATED, asked, filled, stated

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
