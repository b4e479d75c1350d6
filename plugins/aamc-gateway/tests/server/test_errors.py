"""Errors of candidates: what clients are told, and what is logged."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.forwarding.answers.cache import CachedAnswer
from aamc_gateway.forwarding.failures import UnservedError, unserved
from aamc_gateway.forwarding.model_handler import serve as serve_model
from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.observe.request_log import JsonFormatter, TextFormatter
from aamc_gateway.server.http.error_answers import send_error, status_and_kind
from aamc_gateway.server.processes.launch import Launch
from aamc_models.testing import Script
from server.conftest import key

from aamc_sdk.errors import AamcError, OutputError, PluginError, PoolError, ProviderError, StoreAwayError, StoreError, public_message
from aamc_sdk.interfaces import Orchestrator, Step, WireReply, WireRequest

Serve = Callable[..., Any]


class Wire:
    """A server whose answers are given."""

    apis = ("chat",)

    def __init__(self, body: bytes = b"", events: tuple[bytes, ...] = ()) -> None:
        self._body, self._events = body, events

    async def send(self, candidate: Any, request: WireRequest) -> WireReply:
        return WireReply(status=200, headers={}, body=self._body)

    async def events(self, candidate: Any, request: WireRequest) -> Any:
        for event in self._events:
            yield event


def pretend(running: Any, name: str, wire: Wire) -> None:
    running.gateway.upstreams[name].__dict__["wire"] = wire


def messages(running: Any) -> Any:
    return running.ask("/v1/messages", {"model": "aamc/auto", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]})


def statuses(running: Any) -> list[tuple[str, str]]:
    return [(attempt.candidate, attempt.status) for attempt in running.log().attempts]


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (UnservedError("all breakers are open", 503, "server", 1.0), None),
        (UnservedError("all are over their limits", 429, "rate_limit", 1.0), None),
        (UnservedError("all breakers are open", 503, "server", 60.0), b"false"),
        (UnservedError("all have failed", 502, "connection", 1.0), b"false"),
        (Refused("held by others", status=402, kind="budget", retry_after_s=1.0), b"true"),
        (Refused("used up", status=402, kind="budget", retry_after_s=3600.0), b"false"),
    ],
)
def test_only_what_passes_soon_is_worth_a_retry(error: AamcError, header: bytes | None) -> None:
    assert headers_of(error).get(b"x-should-retry") == header


@pytest.mark.parametrize("headers", [None, {"set-cookie": "secret"}])
def test_the_headers_of_a_server_in_an_error_of_a_component_are_not_passed_on(headers: Any) -> None:
    error = aiohttp.ClientResponseError(cast("Any", None), (), status=500, headers=headers)
    assert headers_of(error).keys() == {b"content-type", b"content-length", b"cache-control", b"x-should-retry"}


def headers_of(error: BaseException) -> dict[bytes, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_error(error, "chat", send))
    return dict(sent[0]["headers"])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_that_its_server_does_not_know_is_its_candidates_error(serve: Serve, streamed: bool) -> None:
    running = serve(gone=Script(fault="status", status=404))
    assert running.chat(stream=streamed).status == 502
    assert statuses(running) == [("gone", "error")]


@pytest.mark.parametrize("status", [401, 404, 500])
@pytest.mark.parametrize("model", ["aamc/auto", "broken"])
def test_clients_learn_the_candidate_and_the_status_and_no_address_and_no_key(
    serve: Serve, stub: Any, monkeypatch: Any, status: int, model: str
) -> None:
    monkeypatch.setenv("SECRET_KEY", "sk-1234")
    running = serve(None, {"broken": {"api_key_env": "SECRET_KEY"}}, broken=Script(fault="status", status=status))
    told = running.chat(model=model).json["error"]["message"]
    assert "'broken'" in told
    assert str(status) in told
    assert not [secret for secret in (stub.url.removeprefix("http://"), "SECRET_KEY", "base_url") if secret in told]
    assert stub.url in running.log().attempts[0].error


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell who cancels")
def test_a_cancellation_by_a_component_is_not_told_as_the_end_of_the_gateway(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancel(headers: Any) -> Caller:
        raise asyncio.CancelledError

    running = serve(good=Script())
    monkeypatch.setattr(running.gateway.access, "caller", cancel)
    assert running.chat().status == 500


def test_the_message_of_an_agent_whose_call_failed_names_no_address() -> None:
    call = ProviderError("model 'x' at http://gpu-1/v1 cannot be reached", public="model 'x' cannot be reached")
    error = AamcError(str(call))
    error.__cause__ = call
    assert public_message(error) == "model 'x' cannot be reached"
    assert public_message(AamcError("no text to read")) == "no text to read"
    assert "redis" not in public_message(StoreAwayError("the log redis://own-host/0 cannot be reached"))


def test_the_error_event_of_a_stream_names_no_address(serve: Serve, stub: Any) -> None:
    running = serve(broken=Script(fault="half"))
    told = running.chat(stream=True).events[-1]["error"]["message"]
    assert told == "model 'broken' gave no usable answer"


def test_a_client_learns_why_its_request_was_refused(serve: Serve) -> None:
    answer = serve(broken=Script(fault="status", status=400)).chat()
    assert (answer.status, "The stub fails as its script says." in answer.json["error"]["message"]) == (400, True)


def test_a_refused_content_is_no_refused_key() -> None:
    refused, locked = ProviderError("flagged", kind="request", status=403), ProviderError("wrong key", kind="authentication", status=403)
    assert [unserved([(error, True)]).status for error in (refused, locked)] == [400, 502]


def test_a_request_may_come_again_when_the_first_candidate_can_be_called() -> None:
    errors = [ProviderError("busy", kind="rate_limit", status=429, retry_after_s=seconds) for seconds in (30.0, 5.0, None)]
    assert unserved([(error, True) for error in errors]).retry_after_s == 5.0


CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
END = (b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n")


@pytest.mark.parametrize("broken", [b'data: {"choices": \n\n', b"data: ping\n\n", b"data: [1]\n\n"])
def test_broken_json_before_content_falls_back_and_after_it_ends_the_stream_in_an_error(serve: Serve, broken: bytes) -> None:
    running = serve(broken=Script(), good=Script())
    pretend(running, "broken", Wire(events=(broken, CHUNK, *END)))
    fallen = [running.chat(stream=True, model=model) for model in ("aamc/auto", "broken") for _ in range(4)]
    assert {answer.events[-1]["aamc"]["model"] for answer in fallen[:4]} == {"good"}
    assert {answer.status for answer in fallen[4:]} == {502}
    pretend(running, "broken", Wire(events=(CHUNK, broken, CHUNK, *END)))
    events = running.chat(stream=True, model="broken").events
    assert events[0]["choices"][0]["delta"]["content"] == "hi"
    assert events[1]["error"]["message"] == "model 'broken' sent a broken event"
    assert len(events) == 2


@pytest.mark.parametrize("delta", ['"x"', '{"content": 5}', '{"tool_calls": 5}'])
def test_a_finish_that_cannot_be_converted_ends_the_stream_in_an_error(serve: Serve, delta: str) -> None:
    running = serve(broken=Script())
    finish = f'data: {{"choices": [{{"index": 0, "delta": {delta}, "finish_reason": "stop"}}]}}\n\n'.encode()
    pretend(running, "broken", Wire(events=(CHUNK, finish, END[1])))
    events = messages(running).events
    assert events[-1]["error"]["message"].startswith("an event of 'broken' cannot be read")
    assert statuses(running) == [("broken", "error")]


def test_an_infinite_number_in_the_last_event_does_not_cut_a_stream(serve: Serve) -> None:
    running = serve(odd=Script())
    usage = b'"usage": {"prompt_tokens": 1e400, "completion_tokens": 7}'
    finish = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], ' + usage + b"}\n\n"
    pretend(running, "odd", Wire(events=(CHUNK, finish, END[1])))
    for answer in (running.chat(stream=True), messages(running)):
        assert answer.events[-1]["aamc"]["model"] == "odd"


def test_a_not_a_number_in_an_event_is_passed_on(serve: Serve) -> None:
    running = serve(odd=Script())
    pretend(running, "odd", Wire(events=(CHUNK, b'data: {"choices": [{"index": 0, "delta": {}, "logprobs": NaN}]}\n\n', *END)))
    assert running.chat(stream=True).events[-1]["aamc"]["model"] == "odd"


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
@pytest.mark.parametrize("status", ["cancelled", "in_progress"])
def test_a_response_that_has_not_ended_is_no_answer_but_where_the_client_may_wait_for_it(serve: Serve, status: str, path: str) -> None:
    running = serve(fields={"good": {"apis": ["responses"]}}, good=Script())
    wire = Wire(f'{{"id": "resp_1", "status": "{status}", "output": []}}'.encode())
    wire.apis = ("responses",)
    pretend(running, "good", wire)
    answer = running.ask(f"/v1/{path}", {"model": "aamc/auto", "input" if path == "responses" else "messages": [{"role": "user", "content": "hi"}]})
    assert answer.status == (200 if (status, path) == ("in_progress", "responses") else 502)
    assert statuses(running) == [("good", "ok" if answer.status == 200 else "error")]


def test_an_answer_without_a_choice_falls_back_and_is_billed(serve: Serve) -> None:
    running = serve(empty=Script())
    pretend(running, "empty", Wire(b'{"choices": [], "usage": {"prompt_tokens": 1000000, "completion_tokens": 0}}'))
    assert running.chat().status == 502
    (attempt,) = running.log().attempts
    assert (attempt.status, attempt.cost_usd) == ("error", 1.0)


@pytest.mark.parametrize("name", ["aamc/auto", "aamc/arena", "aamc/mine"])
def test_a_candidate_cannot_have_a_name_of_the_gateways_own_models(tmp_path: Path, name: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"pool: {{candidates: [{{name: {name}, endpoint: {{provider: echo}}}}]}}", encoding="utf-8")
    with pytest.raises(PoolError, match=rf"candidate '{name}' must not begin with 'aamc/'.*rename it"):
        Launch(config=str(file), store=f"sqlite:{tmp_path / 'log.db'}").gateway()


def test_the_calls_of_the_arena_are_logged_before_anyone_can_vote(serve: Serve, monkeypatch: Any) -> None:
    running = serve(one=Script(), other=Script())
    ballots, logged = running.gateway.ballots, []
    offer = ballots.offer

    async def noted(*arguments: Any) -> bool:
        logged.extend(statuses(running))
        return bool(await offer(*arguments))

    monkeypatch.setattr(ballots, "offer", noted)
    answer = running.chat(model="aamc/arena")
    assert answer.status == 200
    assert sorted(logged) == [("one", "ok"), ("other", "ok")]
    assert logged[-1][0] == answer.headers["x-aamc-model"]


@pytest.mark.parametrize("stream", [False, True])
def test_inferred_feedback_that_the_log_refuses_is_no_error_of_the_answer_sent_before(
    serve: Serve, monkeypatch: Any, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    def refuse(feedback: Any) -> None:
        raise StoreError("the log is full")

    running = serve(good=Script())
    monkeypatch.setattr(running.gateway.controller, "feedback_batch", refuse)
    events: list[str] = []
    monkeypatch.setattr(running.gateway.metrics, "stream_event", lambda kind, *_: events.append(kind))
    turns = [{"role": "user", "content": "Solve it"}, {"role": "assistant", "content": "No."}, {"role": "user", "content": "Use a better model"}]
    running.chat(messages=turns[:1], headers={"x_aamc_session": "s"})
    answer = running.chat(messages=turns, headers={"x_aamc_session": "s"}, stream=stream)
    assert answer.status == 200
    until = time.monotonic() + 30
    while "implicit feedback on decision" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)
    assert "is not in the log: the log is full" in caplog.text
    assert "error" not in events


def test_a_client_that_leaves_an_answer_from_the_cache_is_recorded_like_one_that_leaves_another(serve: Serve, monkeypatch: Any) -> None:
    running = serve({"cache": {"enabled": True}}, good=Script())
    seen: list[RequestFigures] = []
    monkeypatch.setattr(running.gateway.metrics, "ended", seen.append)

    async def found(*arguments: Any) -> CachedAnswer:
        return CachedAnswer("good", 0.1, None, None, b"{}")

    async def left(message: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(running.gateway.cache, "find", found)
    body = {"model": "good", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
    ask = running.gateway.reader.read("chat", "chat", [], body, b"{}", Caller())
    answering = serve_model(running.gateway, ask, {"route": "/v1/chat/completions", "headers": []}, asyncio.Event().wait, left)
    with pytest.raises(concurrent.futures.CancelledError):
        asyncio.run_coroutine_threadsafe(answering, running.loop).result(30)
    assert [(served.status, served.error_kind, served.ended >= served.began) for served in seen] == [(499, "cancelled", True)]


@pytest.mark.parametrize("count", ["null", "-5", '"many"', "1e300", "2.5"])
@pytest.mark.parametrize("streamed", [False, True])
def test_tokens_that_are_no_count_are_estimated(serve: Serve, count: str, streamed: bool) -> None:
    running = serve(odd=Script())
    usage = f'"usage": {{"prompt_tokens": {count}, "completion_tokens": 7}}'.encode()
    whole = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], ' + usage + b"}"
    pretend(running, "odd", Wire(whole, (CHUNK, END[0], b'data: {"choices": [], ' + usage + b"}\n\n", END[1])))
    assert running.chat(stream=streamed).status == 200
    (attempt,) = running.log().attempts
    assert (attempt.cost_source, attempt.output_tokens, 0 < attempt.prompt_tokens < 100) == ("estimated", 7, True)


def test_an_answer_with_more_cached_tokens_than_its_prompt_has_costs_its_prompt(serve: Serve) -> None:
    running = serve(odd=Script())
    usage = b'"usage": {"prompt_tokens": 10, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 100000}}'
    whole = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], ' + usage + b"}"
    pretend(running, "odd", Wire(whole, (CHUNK, *END)))
    answer = running.chat()
    assert (answer.status, answer.json["usage"]["prompt_tokens_details"]) == (200, {"cached_tokens": 100000})
    (attempt,) = running.log().attempts
    assert (attempt.cost_usd, attempt.cached_tokens) == (pytest.approx((10 * 1.0 + 7 * 2.0) / 1e6), None)


class BrokenOrchestrator(Orchestrator):
    async def run(self, task: Any, budget: Any) -> Any:
        raise KeyError("/srv/secrets/prompts.db")
        yield


@pytest.mark.one_python  # the puppeteer is installed there alone
@pytest.mark.parametrize("streamed", [False, True])
def test_clients_learn_no_detail_of_an_orchestrators_unexpected_error_and_the_log_has_it(serve: Serve, caplog: Any, streamed: bool) -> None:
    running = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}}, good=Script())
    running.gateway.orchestrators["puppeteer"]._orchestrator = BrokenOrchestrator(None, None)
    answer = running.chat(model="aamc/puppeteer", stream=streamed)
    (told,) = [event["error"]["message"] for event in answer.events] if answer.status == 200 else [answer.json["error"]["message"]]
    found = re.fullmatch(r"the orchestrator 'puppeteer' failed; the gateway's log has the reason under request (\w+)", told)
    assert found is not None, told
    (record,) = [record for record in caplog.records if found[1] in record.getMessage()]
    assert "prompts.db" in str(record.exc_info[1])


class OrchestratorThatBreaks(Orchestrator):
    async def run(self, task: Any, budget: Any) -> Any:
        yield Step(decision=None, content="a thought", cost_usd=0.25)
        raise KeyError("prompts")


@pytest.mark.one_python  # the puppeteer is installed there alone
@pytest.mark.parametrize("streamed", [False, True])
def test_the_steps_of_an_orchestrator_that_breaks_are_logged_with_their_cost_as_a_failure(serve: Serve, streamed: bool) -> None:
    running = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}}, good=Script())
    running.gateway.orchestrators["puppeteer"]._orchestrator = OrchestratorThatBreaks(None, None)
    answer = running.chat(model="aamc/puppeteer", stream=streamed)
    assert answer.status == 502
    (attempt,) = running.log().attempts
    assert (attempt.cost_usd, attempt.error) == (0.25, "no answer: failed")


@pytest.mark.one_python  # the puppeteer is installed there alone
@pytest.mark.parametrize("streamed", [False, True])
def test_an_orchestrator_without_an_answer_says_how_its_work_ended_and_what_to_do(serve: Serve, streamed: bool) -> None:
    running = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}}, good=Script())
    answer = running.chat("prove it", model="aamc/puppeteer", stream=streamed)
    told = answer.events[-1] if answer.status == 200 else answer.json
    assert told["error"]["message"] == "the orchestrator 'puppeteer' gave no answer (stopped); change the question, or ask a model"


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
@pytest.mark.parametrize(
    ("error", "shown"),
    [(KeyError("prices"), "failed: KeyError: 'prices'"), (OutputError("cannot write /own/replies.jsonl"), "failed: cannot write /own/replies.jsonl")],
)
def test_the_operator_sees_a_component_that_fails_and_while_debugging_where(
    serve: Serve, caplog: pytest.LogCaptureFixture, level: str, error: Exception, shown: str
) -> None:
    running = serve(good=Script(), other=Script())

    def fail(request: Any) -> None:
        raise error

    running.gateway.controller.router.score = fail
    with caplog.at_level(level, "aamc_gateway"):
        answer = running.chat()
    assert answer.status == 500
    assert answer.json["error"]["message"] == "a part of the gateway failed; the gateway's log has the reason"
    (record,) = [record for record in caplog.records if "/v1/chat/completions failed" in record.message]
    assert shown in record.message
    assert re.match(r"request \w{24} of ", record.message)
    assert re.search(r" \(in [\w.-]*test_errors:\d+\)$", record.message)
    assert (record.exc_info is not None and bool(record.exc_info)) == (level == "DEBUG")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("error", "shown", "status"),
    [
        (KeyError("prices"), "router 'thompson' failed: KeyError: 'prices'", 500),
        (ProviderError("its own model is down"), "its own model is down", 502),
        (OutputError("its disk is full"), "its disk is full", 500),
    ],
)
def test_a_named_model_answers_although_the_router_fails(
    serve: Serve, caplog: pytest.LogCaptureFixture, streamed: bool, error: Exception, shown: str, status: int
) -> None:
    running = serve(good=Script(), other=Script())

    def fail(request: Any) -> None:
        raise error

    running.gateway.controller.router.score = fail
    answer = running.chat(model="other", stream=streamed)
    assert (answer.status, statuses(running)) == (200, [("other", "ok")])
    (decision,) = running.log().decisions
    assert (decision.candidate, decision.router, decision.propensity) == ("other", "", 1.0)
    assert any(f"the only allowed candidate was chosen without the router: {shown}" in record.message for record in caplog.records)
    found = running.gateway.controller.feedback(decision.id, quality=1.0), running.gateway.controller.explain(decision.id).to_dict()
    assert (found[0], found[1]["candidate"]) == (True, "other")
    assert running.chat(stream=streamed).status == status


def test_the_kind_of_an_error_that_is_not_the_sdks_is_not_ours() -> None:
    error = ValueError("no")
    error.kind = 3  # type: ignore[attr-defined]
    assert status_and_kind(error) == (500, "server")


def test_an_error_that_is_its_own_cause_is_answered(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    running = serve(good=Script(), other=Script())

    def fail(request: Any) -> None:
        error = KeyError("prices")
        raise error from error

    running.gateway.controller.router.score = fail
    assert running.chat().status == 500
    assert [record for record in caplog.records if re.search(r"KeyError: 'prices' \(in [\w.-]*test_errors:\d+\)$", record.message)]


class Panic(BaseException):
    """As the bindings of Rust libraries raise it."""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Panic("/srv/secrets")])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_whatever_a_router_raises_the_client_gets_an_error_of_its_dialect(serve: Serve, caplog: Any, path: str, error: BaseException) -> None:
    running = serve(good=Script(), other=Script())

    def fail(request: Any) -> None:
        raise error

    running.gateway.controller.router.score = fail
    answer = running.ask(f"/v1/{path}", {"model": "aamc/auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
    assert (answer.status, answer.json["error"]["message"]) == (500, "a part of the gateway failed; the gateway's log has the reason")
    assert (answer.json.get("type") == "error") == (path == "messages")
    assert [record for record in caplog.records if f"of /v1/{path} failed: {type(error).__name__}" in record.message]
    assert running.ask("/healthz", method="GET").status == 200


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["aamc/auto", "aamc/arena"])
def test_the_operator_sees_which_candidates_failed_and_how_but_no_prompt(
    serve: Serve, caplog: pytest.LogCaptureFixture, streamed: bool, model: str
) -> None:
    running = serve(one=Script(fault="status", status=500), other=Script(fault="status", status=400))
    answer = running.chat("my secret", model=model, stream=streamed)
    (record,) = [record for record in caplog.records if "has no answer" in record.message]
    assert sorted(re.findall(r"\w+ \(.*?\)", record.message)) == ["one (server, status 500)", "other (request, status 400)"]
    decision_id = running.log().decisions[0].id
    assert re.search(rf"request \w{{24}}, decision {decision_id} has ", record.message)
    assert answer.status == 400
    assert "secret" not in record.message
    assert record.levelname == "WARNING"
    line = json.loads(JsonFormatter().format(record))
    assert line["decision_id"] == decision_id
    assert {"candidate": "one", "error": "server", "status": 500} in line["failed"]


def test_a_request_that_a_fallback_answers_gets_no_warning(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    running = serve(one=Script(fault="status", status=500), other=Script())
    assert {running.chat().status for _ in range(4)} == {200}
    assert not [record for record in caplog.records if "has no answer" in record.message]


def test_a_message_that_quotes_a_request_cannot_begin_another_line_of_the_log() -> None:
    quoted = logging.LogRecord("aamc_gateway", logging.ERROR, "x.py", 1, "no rule for %s", ("a\n2026-11-27 ERROR forged\x1b[31m",), None)
    line = TextFormatter().format(quoted)
    assert line.endswith(r"no rule for a\n2026-11-27 ERROR forged\x1b[31m")


class BrokenWire(Wire):
    def __init__(self, error: Exception) -> None:
        super().__init__(events=(CHUNK,))
        self._error = error

    async def send(self, candidate: Any, request: WireRequest) -> WireReply:
        raise self._error

    async def events(self, candidate: Any, request: WireRequest) -> Any:
        async for event in super().events(candidate, request):
            yield event
        raise self._error


@pytest.mark.parametrize("streamed", [False, True])
def test_the_operator_sees_where_a_provider_fails_unexpectedly(serve: Serve, caplog: pytest.LogCaptureFixture, streamed: bool) -> None:
    running = serve(good=Script())
    pretend(running, "good", BrokenWire(KeyError("/srv/secrets")))
    answer = running.chat(stream=streamed)
    assert (answer.status, b"calling 'good' failed" in answer.body, b"secrets" in answer.body) == (200 if streamed else 502, True, False)
    (record,) = [record for record in caplog.records if "calling 'good' failed: KeyError: '/srv/secrets'" in record.message]
    assert "raise self._error" in record.exc_text


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
def test_the_operator_sees_a_component_that_fails_in_a_stream_and_while_debugging_where(serve: Serve, caplog: Any, level: str) -> None:
    running = serve(good=Script())
    pretend(running, "good", BrokenWire(PluginError("provider 'own' failed: KeyError: 'prices'")))
    with caplog.at_level(level, "aamc_gateway"):
        answer = running.chat(stream=True)
    assert (answer.status, b'"error"' in answer.body) == (200, True)
    (record,) = [record for record in caplog.records if "a stream failed: provider 'own' failed" in record.message]
    assert bool(record.exc_info) == (level == "DEBUG")


@pytest.mark.one_python  # the puppeteer is installed there alone
def test_a_key_for_an_orchestrator_s_bare_name_is_said_to_be_wrong_whatever_is_asked(serve: Serve) -> None:
    running = serve({"orchestrators": {"puppeteer": {"agents": ["calculator"]}}}, good=Script())
    wrong, right = key(running, "wrong", models=["puppeteer"]), key(running, "right", models=["aamc/puppeteer"])
    refused = running.chat(model="aamc/auto", headers=key(running, "auto", models=["aamc/auto"]))
    assert (refused.status, "there is no such model" in refused.json["error"]["message"]) == (403, False)
    for model in ("puppeteer", "aamc/puppeteer", "aamc/auto", "good"):
        refused = running.chat(model=model, headers=wrong)
        assert (refused.status, "did you mean 'aamc/puppeteer'" in refused.json["error"]["message"]) == (403, True)
    for model in ("aamc/auto", "good"):
        refused = running.chat(model=model, headers=right)
        assert (refused.status, "it may use aamc/puppeteer" in refused.json["error"]["message"]) == (403, True)
    assert running.chat("What is 12 * (3 + 4)?", model="aamc/puppeteer", headers=right).status == 200


def test_a_request_whose_calls_failed_is_not_counted_as_a_refusal(serve: Any) -> None:
    running = serve(good=Script(fault="status", status=500))
    assert running.chat().status == 502
    assert "aamc_refused_total{" not in running.ask("/metrics", method="GET").body.decode()
