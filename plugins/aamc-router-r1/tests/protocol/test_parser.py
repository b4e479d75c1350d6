"""The parser of turns: what each text does, and which typed error it has."""

import pytest
from aamc_router_r1.protocol import (
    ModelNames,
    SubQuestion,
    cut_turn,
    parse_turn,
)
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import ConfigError

NAMES = ModelNames(["small", "qwen2.5:7b", "qwen2.5", "org/big"], {"BIG": "org/big"})
THOUGHT = "<think> hm </think>"


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("<search> small: Who wrote Emma? </search>", SubQuestion("small", "Who wrote Emma?")),
        ("<search>small:When: 10:30 or 11:00?</search>", SubQuestion("small", "When: 10:30 or 11:00?")),
        ("<search> qwen2.5:7b: What is 7b? </search>", SubQuestion("qwen2.5:7b", "What is 7b?")),
        ("<search> qwen2.5: 7b: what is it? </search>", SubQuestion("qwen2.5", "7b: what is it?")),
        ("<search> BIG : a\nb </search>", SubQuestion("org/big", "a\nb")),
        ("<search> small: Is small: small? </search>", SubQuestion("small", "Is small: small?")),
        ("<search> small: 2 + 2 = ? </search>", SubQuestion("small", "2 + 2 = ?")),
        ("<search> small: What is a query? </search>", SubQuestion("small", "What is a query?")),
    ],
)
def test_a_search_names_a_model_and_a_question(text, call):
    turn = parse_turn(THOUGHT + text, NAMES)
    assert turn.calls == (call,)
    assert (turn.errors, turn.answer, turn.thinking) == ((), None, "hm")


def test_an_answer_ends_the_turn():
    turn = parse_turn(f"{THOUGHT}\n<answer> Jane Austen </answer>\n", NAMES)
    assert (turn.answer, turn.calls, turn.errors) == ("Jane Austen", (), ())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "no_action"),
        ("Jane Austen", "no_action"),
        (THOUGHT, "no_action"),
        ("<think> hm", "unbalanced_tag"),
        ("hm </think><answer> x </answer>", "unbalanced_tag"),
        (f"{THOUGHT}<answer> x", "unbalanced_tag"),
        (f"{THOUGHT}<search> small: x </answer>", "unbalanced_tag"),
        ("<think> <answer> x </answer> </think>", "nested_tag"),
        (f"{THOUGHT}<answer> <search> small: x </search> </answer>", "nested_tag"),
        (f"{THOUGHT}<information> x </information><answer> x </answer>", "forged_information"),
        (f"{THOUGHT}<answer>  </answer>", "answer"),
        (f"{THOUGHT}<answer> x </answer><answer> y </answer>", "answer"),
        (f"{THOUGHT}<search> small: x </search><answer> y </answer>", "answer"),
        (f"{THOUGHT}<search> Who wrote Emma? </search>", "no_model"),
        (f"{THOUGHT}<search> Small: who? </search>", "unknown_model"),
        (f"{THOUGHT}<search> small model: who? </search>", "unknown_model"),
        (f"{THOUGHT}<search> : who? </search>", "unknown_model"),
        (f"{THOUGHT}<search> small: </search>", "empty_question"),
        (f"{THOUGHT}<search> small: ... </search>", "empty_question"),
        (f"{THOUGHT}<search> small: Your-Query </search>", "empty_question"),
        (f"{THOUGHT}<search> small: <your-query> </search>", "empty_question"),
        (f"{THOUGHT}<search> small: sub-question </search>", "empty_question"),
        (f"{THOUGHT}<search> small: [your sub question here] </search>", "empty_question"),
        (f"{THOUGHT}<search> small: the LLM-Name </search>", "empty_question"),
        (f"{THOUGHT}<search> small: ??? </search>", "empty_question"),
        (f"{THOUGHT}<search> small: N/A </search>", "empty_question"),
        (f"{THOUGHT}<search> small: small </search>", "empty_question"),
        (f"{THOUGHT}<search> LLM-Name:Your-Query </search>", "empty_question"),
        (f"{THOUGHT}<search> Model-Name: who wrote Emma? </search>", "empty_question"),
    ],
)
def test_a_blocking_error_carries_nothing_out(text, kind):
    turn = parse_turn(text, NAMES)
    assert turn.blocked.kind == kind
    assert (turn.calls, turn.answer) == ((), None)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Sure! <think> hm </think><answer> x </answer>", "text_outside_tags"),
        ("<think></think><answer> x </answer>", "no_thinking"),
        ("<think> ... </think><answer> x </answer>", "no_thinking"),
    ],
)
def test_other_errors_let_the_action_through(text, kind):
    turn = parse_turn(text, NAMES)
    assert [error.kind for error in turn.errors] == [kind]
    assert turn.answer == "x"


def test_after_the_last_round_no_model_can_be_consulted():
    assert parse_turn(f"{THOUGHT}<search> small: who? </search>", NAMES, may_route=False).blocked.kind == "routing_closed"


def test_errors_say_what_to_mend():
    error = parse_turn(f"{THOUGHT}<search> smal: who? </search>", NAMES).blocked
    assert "'smal'" in str(error)
    assert "'small'" in str(error)  # the nearest name
    assert "org/big" in str(error)


@pytest.mark.parametrize(
    ("text", "calls", "end"),
    [
        ("<think>a</think><search> s: q </search> more <answer> x </answer>", 1, "</search>"),
        ("<answer> x </answer><search> s: q </search>", 1, "<answer> x </answer>"),
        ("<search> s: q </search>\n<search> s: r </search><search> s: t </search>", 2, "r </search>"),
        ("<search> s: q </search> and <search> s: r </search>", 2, "q </search>"),
        ("<search> s: q </search><answer> x </answer>", 2, "q </search>"),
        ("no tag at all", 1, "at all"),
    ],
)
def test_a_turn_is_cut_at_the_end_of_its_action(text, calls, end):
    cut = cut_turn(text, calls)
    assert cut.endswith(end)
    assert text.startswith(cut)


def test_several_searches_are_several_calls():
    text = cut_turn(f"{THOUGHT}<search> small: a </search>\n<search> BIG: b </search> rest", 2)
    assert parse_turn(text, NAMES).calls == (SubQuestion("small", "a"), SubQuestion("org/big", "b"))


@pytest.mark.parametrize("aliases", [{"x": "nobody"}, {"small": "qwen2.5"}])
def test_an_alias_must_stand_for_a_candidate(aliases):
    with pytest.raises(ConfigError, match="alias"):
        ModelNames(["small", "qwen2.5"], aliases)


PIECES = st.sampled_from(["<think>", "</think>", "<search>", "</search>", "<information>", "</information>", "<answer>", "</answer>"])


@given(st.lists(PIECES | st.sampled_from(["small: a", "x", " ", "small:", "nobody: b"]) | st.text(max_size=5), max_size=12).map("".join))
def test_any_text_has_exactly_one_outcome(text):
    turn = parse_turn(cut_turn(text), NAMES)
    outcomes = [turn.blocked is not None, bool(turn.calls), turn.answer is not None]
    assert outcomes.count(True) == 1
    assert len(turn.calls) <= 1
    assert turn == parse_turn(turn.text, NAMES)
    assert cut_turn(turn.text) == turn.text
