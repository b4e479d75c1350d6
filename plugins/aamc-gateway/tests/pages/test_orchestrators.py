"""Orchestrators as models: ``aamc/NAME``, in each dialect, streamed and not."""

from __future__ import annotations

import json
import socket

import pytest
from aamc_models.testing import Script, StubServer
from pages.conftest import Serve, chat, http, logged

TASK = "What is 12 * (3 + 4)?"
ROLES = {"reasoner": "small", "concluder": "large"}
"""Agents that models of the stub play."""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat("aamc/puppeteer", TASK)),
        ("/v1/messages", {**chat("aamc/puppeteer", TASK), "max_tokens": 100}),
        ("/v1/responses", {"model": "aamc/puppeteer", "input": TASK}),
    ],
)
def test_an_orchestrator_answers_in_the_dialect_whole_and_streamed(serve: Serve, path, body):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    whole = http(gateway.url + path, body)
    assert (whole.status, whole.headers["x-aamc-model"]) == (200, "aamc/puppeteer")
    assert b"84" in whole.body
    assert float(whole.headers["x-aamc-cost-usd"]) > 0
    streamed = http(gateway.url + path, {**body, "stream": True})
    assert b"84" in streamed.body
    assert streamed.events[-1]["aamc"]["cost_usd"] > 0
    assert "aamc/puppeteer" in [model["id"] for model in http(f"{gateway.url}/v1/models").json["data"]]


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def test_fields_that_an_orchestrator_does_not_read_are_named(serve: Serve):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    body = chat("aamc/puppeteer", TASK, user="anna", tools=TOOLS, n=None, max_tokens=5)
    body["messages"].insert(0, {"role": "system", "content": "Answer in French."})
    for stream in (False, True):
        found = http(f"{gateway.url}/v1/chat/completions", {**body, "stream": stream})
        assert (found.status, found.headers["x-aamc-dropped"]) == (200, "max_tokens, system, tools")
    assert found.events[-1]["aamc"]["dropped"] == ["max_tokens", "system", "tools"]
    assert "x-aamc-dropped" not in http(f"{gateway.url}/v1/chat/completions", chat("aamc/puppeteer", TASK)).headers
    anthropic = {"model": "aamc/puppeteer", "max_tokens": 5, "top_k": 3, "messages": [{"role": "user", "content": TASK}]}
    assert http(f"{gateway.url}/v1/messages", anthropic).headers["x-aamc-dropped"] == "max_tokens, top_k"


def test_a_budget_that_an_orchestrator_does_not_fit_names_budget_usd_which_limits_its_cost(serve: Serve):
    gateway = serve({"access": {"limits": {"usd_per_day": 0.5}}, "orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    url = f"{gateway.url}/v1/chat/completions"
    refused = http(url, chat("aamc/puppeteer", TASK))
    assert (refused.status, "this request may cost up to 1 USD: lower its budget_usd, or ask a model" in refused.body.decode()) == (402, True)
    assert http(url, chat("aamc/puppeteer?budget_usd=0.1", TASK)).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_usd_in_which_no_step_fits_is_refused_as_a_budget(serve: Serve, stream: bool):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/puppeteer?budget_usd=0", TASK, stream=stream))
    assert (found.status, found.json["error"]["code"]) == (402, "insufficient_quota")
    why = "budget_usd 0 covers no answer of the orchestrator 'puppeteer' (out of budget); raise it, or name a model"
    assert found.json["error"]["message"] == why


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("chat/completions", chat("", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]), "reads text only"),
        ("completions", {"prompt": ["One?", "Two?"]}, "prompt must be one text"),
        ("responses", {"input": "And then?", "previous_response_id": "resp_1"}, "previous_response_id cannot be used here"),
    ],
)
def test_words_that_an_orchestrator_would_not_get_are_refused(serve: Serve, path, body, problem):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    found = http(f"{gateway.url}/v1/{path}", {**body, "model": "aamc/puppeteer"})
    assert (found.status, problem in found.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize("how", ["reasoning", "content", "none"])
def test_steps_before_the_last_are_shown_as_the_settings_say(serve: Serve, how):
    file = {"orchestrators": {"puppeteer": {"agents": ["calculator", "retriever"], "show_steps": how}}}
    found = http(f"{serve(file).url}/v1/chat/completions", chat("aamc/puppeteer", TASK, stream=True))
    deltas = [choice["delta"] for event in found.events for choice in event["choices"]]
    reasoning, content = ("".join(delta.get(name) or "" for delta in deltas) for name in ("reasoning_content", "content"))
    assert (how == "reasoning") == ("84" in reasoning)
    assert (how == "content") == content.startswith("84\n\n")


def team(stub: StubServer) -> dict:
    """Return the settings of an orchestrator whose agents are played by models of the stub."""
    endpoint = {"provider": "openai", "base_url": f"{stub.url}/v1", "retries": 0}
    options = {name: {"endpoint": endpoint, "model": model, "prices": {"input": 1.0, "output": 1.0}} for name, model in ROLES.items()}
    return {"orchestrators": {"puppeteer": {"agents": list(ROLES), "agent_options": options}}}


@pytest.mark.parametrize("stream", [False, True])
def test_the_step_of_a_failed_agent_names_no_address_and_no_message_of_its_server(serve: Serve, stub: StubServer, stream: bool):
    stub.scripts["small"] = Script(fault="status", status=500)
    gateway = serve(team(stub))
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/puppeteer", TASK, stream=stream))
    assert (found.status, b"model 'small' failed" in found.body, b"Answer of large." in found.body) == (200, True, True)
    assert [secret for secret in (stub.url, "The stub fails") if secret.encode() in found.body] == []
    assert "(failed: model 'small' failed" in str(stub.requests[-1].body)


@pytest.mark.parametrize("stream", [False, True])
def test_the_usage_of_an_orchestrator_divides_prompts_from_answers(serve: Serve, stub: StubServer, stream: bool):
    stub.scripts.update({name: Script(prompt_tokens=100, output_tokens=10) for name in ROLES.values()})
    body = chat("aamc/puppeteer", TASK, stream=stream, **({"stream_options": {"include_usage": True}} if stream else {}))
    found = http(f"{serve(team(stub)).url}/v1/chat/completions", body)
    usage, calls = (found.events[-1] if stream else found.json)["usage"], len(stub.requests)
    assert calls > 0
    assert usage == {"prompt_tokens": 100 * calls, "completion_tokens": 10 * calls, "total_tokens": 110 * calls}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_without_an_answer_is_an_error_in_the_log_and_counts_with_its_client_s_status(serve: Serve, stub: StubServer, stream: bool):
    stub.scripts.update(dict.fromkeys(ROLES.values(), Script(fault="status", status=500)))
    gateway = serve(team(stub))
    found = http(f"{gateway.url}/v1/chat/completions", chat("aamc/puppeteer", TASK, stream=stream))
    status = 200 if stream else 502
    assert (found.status, b'"error"' in found.body) == (status, True)
    decision = found.headers.get("x-aamc-decision-id")
    assert f'route="/v1/chat/completions",status="{status}"}} 1.0'.encode() in http(f"{gateway.url}/metrics").body
    gateway.stop()
    entries = logged(gateway)
    assert [(attempt.status, attempt.error) for attempt in entries.attempts] == [("error", "no answer: stopped")]
    assert decision == (None if stream else entries.decisions[-1].id)  # as of every other answer; a stream begins before it is known


def test_a_time_limit_without_an_answer_is_a_timeout(serve: Serve, stub: StubServer):
    stub.scripts.update(dict.fromkeys(ROLES.values(), Script(fault="hang")))
    settings = team(stub)
    settings["orchestrators"]["puppeteer"]["seconds"] = 0.5
    found = http(f"{serve(settings).url}/v1/chat/completions", chat("aamc/puppeteer", TASK))
    assert (found.status, b"out of budget" in found.body) == (504, True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_call_of_an_agent_ends_when_the_client_leaves(serve: Serve, stub: StubServer, stream: bool):
    stub.scripts.update(dict.fromkeys(ROLES.values(), Script(fault="hang")))
    host, _, port = serve(team(stub)).url.removeprefix("http://").partition(":")
    body = json.dumps(chat("aamc/puppeteer", TASK, stream=stream)).encode()
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        assert stub.wait(lambda now: now.active > 0)
    assert stub.wait(lambda now: now.active == 0, timeout_s=20.0)  # an agent's time limit is 30 s


def test_an_orchestrator_that_is_not_configured_is_not_served(serve: Serve):
    found = http(f"{serve().url}/v1/chat/completions", chat("aamc/puppeteer", TASK))
    assert found.status == 404


def test_an_orchestrator_without_an_answer_is_an_error(serve: Serve):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}})
    assert http(f"{gateway.url}/v1/chat/completions", {"model": "aamc/puppeteer", "messages": []}).status == 400
    unknown = http(f"{gateway.url}/v1/embeddings", {"model": "aamc/puppeteer", "input": "x"})
    assert unknown.status == 400


def test_an_orchestrator_without_a_policy_is_in_the_log_with_its_cost_and_can_be_judged(serve: Serve):
    gateway = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"], "steps": 1}}})
    found = http(f"{gateway.url}/v1/chat/completions", {**chat("aamc/puppeteer", TASK), "user": "anna"})
    decision = found.headers["x-aamc-decision-id"]
    assert http(f"{gateway.url}/v1/feedback", {"decision_id": decision, "quality": 1.0}).json["waits"] is False
    assert http(f"{gateway.url}/readyz").status == 200
    gateway.stop()
    log = logged(gateway)
    assert [(made.id, made.candidate) for made in log.decisions] == [(decision, "aamc/puppeteer")]
    assert [(query.text, query.user) for query in log.queries] == [("", "anna")]
    assert [attempt.cost_usd for attempt in log.attempts] == [float(found.headers["x-aamc-cost-usd"])]
    assert [feedback.quality for feedback in log.feedback] == [1.0]
