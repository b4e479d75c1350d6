"""``/v1/route`` and ``/v1/feedback`` of a served gateway."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from aamc_models.testing import StubServer
from pages.conftest import ADMIN, MODELS, Serve, chat, http, logged

KEYS = {"schema", "id", "candidate", "propensity", "preference", "estimates", "candidates", "runner_up", "lost_on", "flip_preference", "why"}
DIALECTS = [
    {"text": "Sort a list"},
    chat(text="Sort a list"),
    {"system": "Be short.", "messages": [{"role": "user", "content": "Sort a list"}], "max_tokens": 50},
    {"input": "Sort a list"},
    {"prompt": "Sort a list"},
]


@pytest.mark.parametrize("body", DIALECTS, ids=["text", "chat", "messages", "responses", "completions"])
def test_route_explains_a_decision_and_calls_no_model(serve: Serve, stub: StubServer, body):
    gateway = serve()
    found = http(f"{gateway.url}/v1/route", body)
    assert (200, KEYS | {"classified"}) == (found.status, set(found.json))
    assert found.json["classified"]["text"] == "Sort a list"
    assert found.json["id"] == found.headers["x-aamc-decision-id"]
    assert {"small", "middle", "large"} == {each["name"] for each in found.json["candidates"]}
    assert not any(stub.counts(name).calls for name in MODELS)


def test_route_uses_up_no_limit_of_tokens(serve: Serve):
    gateway = serve({"access": {"limits": {"tokens_per_minute": 5_000}}})
    assert [http(f"{gateway.url}/v1/route", {"text": "Sort a list"}).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(("policy", "usd", "shown"), [("refuse", 1e-6, MODELS), ("cheaper", 1e-6, MODELS), ("cheaper", 0.03, {"small"})])
def test_route_needs_no_budget_for_an_answer(serve: Serve, policy: str, usd: float, shown):
    gateway = serve({"access": {"over_budget": policy, "limits": {"usd_total": usd}}})
    for _ in range(3):
        found = http(f"{gateway.url}/v1/route", {"text": "word " * 4000})
        assert (found.status, {each["name"] for each in found.json["candidates"] if each["masked_why"] is None}) == (200, set(shown))


def test_route_shows_that_neither_system_prompts_nor_tool_results_are_classified(serve: Serve):
    messages = [
        {"role": "system", "content": "SECRET"},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "ANSWER"},
        {"role": "user", "content": "Second"},
    ]
    found = http(f"{serve().url}/v1/route", {"messages": messages}).json
    assert {name: found["classified"][name] for name in ("text", "turns")} == {"text": "Second", "turns": [{"role": "user", "content": "First"}]}


@pytest.mark.parametrize("earlier", [0, 5])
def test_as_many_earlier_messages_are_classified_as_the_settings_say(serve: Serve, earlier: int):
    messages = [{"role": "user", "content": f"Message {n}"} for n in range(8)]
    found = http(f"{serve({'classified': {'earlier_messages': earlier}}).url}/v1/route", {"messages": messages}).json["classified"]
    assert (found["text"], found["turns"]) == ("Message 7", messages[7 - earlier : 7])


def test_route_takes_the_arguments_of_routing(serve: Serve):
    found = http(f"{serve().url}/v1/route", {"text": "Hello", "aamc": {"preference": [0, 1, 0]}}).json
    assert found["preference"] == [0, 1, 0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "must have text"),
        (b"{", "not valid JSON"),
        (b"null", 'the body must be a JSON object such as {"text": "Hello"}, not null'),
        ({"text": 5}, "must have text"),
        ({"text": "x", "messages": [{"role": "user", "content": "y"}]}, "the body has text and messages; leave one of them out"),
        ({"text": "x", "model": "large"}, "nothing is decided"),
        ({"text": "x", "preference": [0, 1, 0]}, 'preference belongs in the object "aamc"'),
    ],
)
def test_route_says_what_is_wrong(serve: Serve, body, message):
    found = http(f"{serve().url}/v1/route", body)
    assert (found.status, message in found.json["error"]["message"]) == (400, True)


def test_a_decision_of_route_has_the_document_of_the_command(serve: Serve):
    gateway = serve()
    found = http(f"{gateway.url}/v1/route", {"text": "Sort a list"}).json
    del found["classified"]
    gateway.stop()
    command = [sys.executable, "-c", "from aamc_sdk.cli import main; main()", "explain", found["id"], "--store", "sqlite:state.db", "--json"]
    shown = subprocess.run(command, cwd=gateway.folder, capture_output=True, check=True, timeout=60)
    explained = json.loads(shown.stdout)
    assert set(explained) == set(found)
    assert (explained["candidate"], explained["propensity"]) == (found["candidate"], found["propensity"])


@pytest.mark.parametrize("body", [b"null", b"[]", b"5", b'"x"'])
def test_feedback_that_is_no_object_is_shown_one(serve: Serve, body):
    found = http(f"{serve().url}/v1/feedback", body)
    message = f'the body must be a JSON object such as {{"decision_id": "...", "quality": 1}}, not {body.decode()}'
    assert (found.status, found.json["error"]["message"]) == (400, message)


def test_feedback_is_in_the_log_when_it_is_acknowledged(serve: Serve):
    gateway = serve()
    ids = [http(f"{gateway.url}/v1/chat/completions", chat()).headers["x-aamc-decision-id"] for _ in range(3)]
    for decision_id in ids:
        found = http(f"{gateway.url}/v1/feedback", {"decision_id": decision_id, "quality": 1.0})
        assert (found.status, found.json["new"]) == (200, True)
    gateway.kill()  # at once: nothing may be lost
    kept = {feedback.decision_id: feedback.quality for feedback in logged(gateway).feedback}
    assert dict.fromkeys(ids, 1.0) == kept


def test_feedback_is_idempotent_revisable_and_waits_for_its_decision(serve: Serve):
    gateway = serve()
    url, body = f"{gateway.url}/v1/feedback", {"decision_id": http(f"{gateway.url}/v1/route", {"text": "Hello"}).json["id"], "quality": 1}
    assert [(found.status, found.json["new"]) for found in (http(url, body) for _ in range(2))] == [(200, True), (200, False)]
    assert http(url, {**body, "quality": 0}).status == 409
    assert http(url, {**body, "quality": 0, "revision": 1}).status == 200
    pending = http(url, {"decision_id": "later", "thumbs": "up"})
    assert (pending.status, pending.json["waits"]) == (202, True)
    assert http(url, {"decision_id": body["decision_id"], "quality": "good"}).status == 400


def test_an_escalation_is_inferred_from_the_conversation(serve: Serve):
    gateway = serve()
    first = http(f"{gateway.url}/v1/chat/completions", chat(text="Solve it"), x_aamc_session="s1")
    messages = [{"role": "user", "content": "Solve it"}, {"role": "assistant", "content": "No."}, {"role": "user", "content": "Use a better model"}]
    http(f"{gateway.url}/v1/chat/completions", {"model": "aamc/auto", "messages": messages}, x_aamc_session="s1", x_stainless_retry_count="1")
    http(f"{gateway.url}/v1/chat/completions", {"model": "aamc/auto", "messages": messages}, x_aamc_session="s1")
    gateway.stop()
    found = [(feedback.decision_id, feedback.source, feedback.quality) for feedback in logged(gateway).feedback]
    assert [(first.headers["x-aamc-decision-id"], "implicit:escalation", 0.0)] == found


def test_feedback_needs_a_key_where_there_are_keys(serve: Serve):
    gateway = serve(keys=True)
    assert http(f"{gateway.url}/v1/feedback", {"decision_id": "x", "quality": 1}).status == 401
    assert http(f"{gateway.url}/v1/feedback", {"decision_id": "x", "quality": 1}, authorization=f"Bearer {ADMIN}").status == 202
