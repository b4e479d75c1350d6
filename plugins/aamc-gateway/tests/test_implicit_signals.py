"""Inferred feedback: only where it is reliable, and always labelled."""

from __future__ import annotations

import pytest
from aamc_gateway.access.callers import Caller
from aamc_gateway.feedback.implicit_signals import ImplicitSettings, ImplicitSignals, is_escalation
from aamc_gateway.requests.client_request import ClientRequest

from aamc_sdk import Decision, Preference, Query


def ask(text, session="s", **fields):
    given = {"dialect": "chat", "api": "chat", "body": {}, "body_bytes": 0, "caller": Caller(), "mode": "route", "model": "auto"}
    return ClientRequest(**given, query=Query(text), session_key=session, **fields)


def decision(name):
    return Decision(name, "small", 1.0, Preference())


def observed(signals, *requests):
    found = None
    for number, (request, now) in enumerate(requests):
        found = signals.observe(request, decision(f"d{number}"), now)
    return found


@pytest.mark.parametrize(
    "text",
    ["Use a better model", "please use a stronger model.", "No, try a smarter model", "switch to the best model please", "I want a more capable AI"],
)
def test_a_request_for_a_stronger_model_is_an_escalation(text):
    assert is_escalation(text)


@pytest.mark.parametrize(
    "text",
    [
        "Which is the better model, a tree or a forest?",
        "How do I use a larger model in PyTorch, and what batch size fits on one GPU with 24 GB of memory when I train it for a week?",
        "Use a better variable name",
        "Explain why use of a better model of the economy matters",
        "model",
    ],
)
def test_other_words_are_none(text):
    assert not is_escalation(text)


def test_an_escalation_counts_against_the_answer_before_it():
    found = observed(ImplicitSignals(ImplicitSettings()), (ask("Solve it"), 0.0), (ask("Use a stronger model"), 5.0))
    assert (found.decision_id, found.quality, found.source, found.implicit) == ("d0", 0.0, "implicit:escalation", True)


def test_a_rephrasing_is_no_signal_by_default():
    requests = (ask("how do I sort a list of numbers"), 0.0), (ask("how can I sort a list of numbers"), 5.0)
    assert observed(ImplicitSignals(ImplicitSettings()), *requests) is None
    assert observed(ImplicitSignals(ImplicitSettings(rephrasing=True)), *requests).source == "implicit:rephrasing"


@pytest.mark.parametrize(
    ("second", "now"),
    [
        (ask("how do I sort a list of numbers"), 5.0),
        (ask("how can I sort a list of numbers"), 500.0),
        (ask("how can I sort a list of numbers", "other"), 5.0),
        (ask("how can I sort a list of numbers", retry_count=1), 5.0),
        (ask("how can I sort a list of numbers", side_request=True), 5.0),
        (ask("how can I sort a list of numbers", foreign_state=frozenset({"open_tool_calls"})), 5.0),
        (ask("what is the capital of the country France"), 5.0),
    ],
    ids=["the same words", "much later", "another conversation", "an SDK's retry", "a side request", "a tool's result", "another question"],
)
def test_what_is_no_rephrasing(second, now):
    signals = ImplicitSignals(ImplicitSettings(rephrasing=True))
    assert observed(signals, (ask("how do I sort a list of numbers"), 0.0), (second, now)) is None


def test_only_so_many_conversations_are_remembered():
    signals = ImplicitSignals(ImplicitSettings(sessions=2))
    for session in ("a", "b", "c"):
        signals.observe(ask("Solve it", session), decision(session), 0.0)
    assert signals.observe(ask("Use a stronger model", "a"), decision("later"), 1.0) is None
    assert signals.observe(ask("Use a stronger model", "c"), decision("last"), 1.0) is not None
