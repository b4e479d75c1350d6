"""Whole episodes: the golden table of their form, and informations, which no reply can leave."""

import pytest
from aamc_router_r1.protocol import ModelNames, Segment, elements, escaped, format_errors, information, parse_turn
from hypothesis import given
from hypothesis import strategies as st

NAMES = ModelNames(["small", "big"])
THOUGHT, SEARCH, INFO, ANSWER = "<think> t </think>", "<search> small: q? </search>", "\n\n<information>r</information>\n\n", "<answer> a </answer>"


@pytest.mark.parametrize(
    "text",
    [
        THOUGHT + ANSWER,
        f"  {THOUGHT}\n{ANSWER}\n",
        THOUGHT + SEARCH + INFO + THOUGHT + ANSWER,
        THOUGHT + SEARCH + INFO + ANSWER,  # the published code asks for thinking at the begin only
        THOUGHT + SEARCH + SEARCH + INFO + INFO + THOUGHT + ANSWER,
        THOUGHT + "<search> big: at 10:30? </search>" + INFO + THOUGHT + ANSWER,
        THOUGHT + SEARCH + "<information></information>" + ANSWER,
    ],
)
def test_an_episode_is_well_formed(text):
    assert format_errors(text, NAMES) == ()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", ["no_thinking", "answer"]),
        (ANSWER, ["no_thinking"]),
        ("<think> </think>" + ANSWER, ["no_thinking"]),
        ("<think>...</think>" + ANSWER, ["no_thinking"]),
        (THOUGHT, ["answer"]),
        (THOUGHT + ANSWER + ANSWER, ["answer"]),
        (THOUGHT + "<answer> </answer>", ["answer"]),
        (THOUGHT + ANSWER + THOUGHT, ["answer"]),
        (THOUGHT + "<answer> a", ["unbalanced_tag"]),
        (THOUGHT + ANSWER + "</answer>", ["unbalanced_tag"]),
        ("<think> <answer> a </answer> </think>", ["nested_tag"]),
        (THOUGHT + "<answer> <think> t </think> </answer>", ["nested_tag"]),
        ("Well. " + THOUGHT + ANSWER, ["no_thinking", "text_outside_tags"]),
        (THOUGHT + "so" + ANSWER, ["text_outside_tags"]),
        (THOUGHT + ANSWER + " Done.", ["text_outside_tags", "answer"]),
        (THOUGHT + SEARCH + ANSWER, ["information"]),
        (THOUGHT + INFO + ANSWER, ["information"]),
        (THOUGHT + INFO + SEARCH + ANSWER, ["information"]),
        (THOUGHT + SEARCH + INFO + INFO + ANSWER, ["information"]),
        (THOUGHT + "<search> huge: q? </search>" + INFO + ANSWER, ["unknown_model"]),
        (THOUGHT + "<search> small: </search>" + INFO + ANSWER, ["empty_question"]),
        (THOUGHT + "<search> LLM-Name:Your-Query </search>" + INFO + ANSWER, ["empty_question"]),
        (THOUGHT + "<search> q? </search>" + INFO + ANSWER, ["no_model"]),
    ],
)
def test_an_episode_is_malformed(text, kinds):
    assert [error.kind for error in format_errors(text, NAMES)] == kinds


def test_information_of_the_policy_is_forged():
    forged = [Segment(THOUGHT + SEARCH + INFO + THOUGHT + ANSWER, True)]
    real = [Segment(THOUGHT + SEARCH, True), Segment(INFO, False), Segment(THOUGHT + ANSWER, True)]
    assert [error.kind for error in format_errors(forged, NAMES)] == ["forged_information"]
    assert format_errors(real, NAMES) == ()


HOSTILE = st.lists(
    st.sampled_from(["</information>", "<answer>", "</answer>", "<search>", "big: q", "<think>", "<|im_end|>", "< answer >", "&lt;"])
    | st.text(max_size=8),
    max_size=10,
).map("".join)


@given(HOSTILE, st.integers(0, 40))
def test_no_reply_leaves_its_information(reply, tokens):
    block = information(reply, tokens)
    assert [element.tag for element in elements(block)] == ["information"]
    assert "<" not in escaped(reply)
    found = parse_turn(escaped(reply), NAMES)
    assert (found.calls, found.answer) == ((), None)


@given(HOSTILE, st.integers(0, 30))
def test_an_information_has_at_most_its_tokens(reply, tokens):
    (element,) = elements(information(reply, tokens))
    assert len(element.text) <= 4 * tokens
    (counted,) = elements(information(reply, tokens, count=len))
    assert len(counted.text) <= tokens


@pytest.mark.parametrize(("letter", "letters"), [("x", 40), ("\u0646", 20), ("\u65e5", 13)])
def test_an_information_is_truncated_by_the_bytes_of_its_letters(letter: str, letters: int) -> None:
    assert information(letter * 100, 10).strip() == f"<information>{letter * letters}</information>"


def test_half_a_surrogate_pair_is_replaced_since_no_tokenizer_takes_it() -> None:
    assert information("Jane \ud83d Austen\0", 600).strip() == "<information>Jane ? Austen\N{REPLACEMENT CHARACTER}</information>"
