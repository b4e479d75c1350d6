"""Dialogues end within their rounds, whatever the policy writes."""

import pytest
from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.episode.dialogue import Dialogue
from aamc_router_r1.protocol import ModelNames, SubQuestion, joined
from hypothesis import given
from hypothesis import strategies as st

NAMES = ModelNames(["small", "big"])
SEARCH, ANSWER = "<think>t</think><search> small: q? </search>", "<think>t</think><answer> a </answer>"


def dialogue(**limits):
    return Dialogue(NAMES, PolicyOptions(**limits))


def test_a_search_is_informed_and_an_answer_ends():
    episode = dialogue()
    assert episode.take(SEARCH + " and more").calls == (SubQuestion("small", "q?"),)
    episode.inform(["r </information>"])
    assert episode.take(ANSWER).answer == "a"
    assert (episode.outcome, episode.answer, episode.rounds, episode.format_errors) == ("answered", "a", 1, ())
    assert joined(episode.transcript) == f"{SEARCH}\n\n<information>r &lt;/information></information>\n\n{ANSWER}"
    assert [part.by_policy for part in episode.transcript] == [True, False, True]


def test_after_four_rounds_only_an_answer_is_taken():
    episode = dialogue()
    for _ in range(4):
        assert episode.take(SEARCH).calls
        episode.inform(["r"])
    assert not episode.may_route
    assert episode.take(SEARCH).calls == ()
    assert (episode.outcome, episode.rounds, episode.answer) == ("no_answer", 4, None)


def test_an_error_uses_a_round_and_says_what_to_mend():
    episode = dialogue(rounds=1)
    episode.take("<think>t</think><search> huge: q </search>")
    assert "there is no model 'huge'" in episode.transcript[-1].text
    assert episode.take(ANSWER).answer == "a"
    assert [error.kind for error in episode.format_errors] == ["unknown_model"]


@pytest.mark.parametrize(("last", "outcome"), [("", "no_answer"), ("<answer> a", "malformed"), ("<think><answer>a</answer></think>", "malformed")])
def test_the_outcome_says_how_the_last_turn_ended(last, outcome):
    episode = dialogue(rounds=0)
    episode.take(last)
    assert (episode.outcome, episode.done) == (outcome, True)


def test_a_long_turn_is_truncated():
    episode = dialogue(turn_tokens=10)
    turn = episode.take("<think>" + "x" * 400_000 + "</think><answer> a </answer>")
    assert len(episode.transcript[0].text) == 40
    assert turn.errors[0].kind == "unbalanced_tag"
    episode.take(ANSWER, tokens=10)  # counted by the server: not truncated
    assert episode.answer == "a"


def test_each_call_needs_its_reply():
    episode = dialogue(calls=2)
    assert len(episode.take("<think>t</think><search> small: q </search><search> big: q </search>").calls) == 2
    with pytest.raises(RuntimeError, match="no replies"):
        episode.take(ANSWER)
    with pytest.raises(ValueError, match="2 calls"):
        episode.inform(["r"])
    episode.inform(["r", "s"])
    episode.take(ANSWER)
    with pytest.raises(RuntimeError, match="ended"):
        episode.take(ANSWER)
    assert episode.format_errors == ()


TURNS = st.sampled_from([SEARCH, "", "<think>", "<answer></answer>", "<information>x</information>", "</search>", "junk"]) | st.text(max_size=20)


@given(st.lists(TURNS, min_size=8, max_size=8), st.integers(0, 5))
def test_every_policy_ends_within_its_rounds(turns, rounds):
    episode = dialogue(rounds=rounds)
    taken = 0
    for text in turns:
        if episode.done:
            break
        calls = episode.take(text).calls
        taken += 1
        if calls:
            episode.inform(["reply <answer>x</answer>"])
    assert episode.done
    assert taken <= rounds + 1
