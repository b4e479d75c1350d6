"""What answers cost that the stub does not give: failed ones, those in the background, with audio, or with tools of the server."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aamc_models.testing import Script


@contextmanager
def upstream_of(answer: Mapping[str, Any], events: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Serve an answer, or these events where a stream is asked for; yield the fields of a candidate at this address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            streamed = b'"stream":true' in asked
            body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) if streamed else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if streamed else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield {"deployments": [{"base_url": f"http://127.0.0.1:{server.server_port}/v1"}]}
        server.shutdown()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_failed_without_tokens_is_free_and_keeps_its_kind(serve: Any, streamed: bool) -> None:
    failed = {"id": "resp_1", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Too many."}, "output": [], "usage": None}
    with upstream_of(failed, [{"type": "response.failed", "response": failed}]) as fields:
        running = serve(fields={"good": {"apis": ["responses"], **fields}}, good=Script())
        answer = running.ask("/v1/responses", {"model": "good", "input": "hi " * 100_000, "stream": streamed})
    (attempt,) = running.log().attempts
    assert (answer.status, answer.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (math.isnan(attempt.cost_usd), attempt.prompt_tokens, attempt.output_tokens) == (True, None, None)


def test_a_response_that_failed_costs_the_tokens_that_it_reports(serve: Any) -> None:
    usage = {"input_tokens": 100, "output_tokens": 10}
    failed = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "Oh."}, "output": [], "usage": usage}
    with upstream_of(failed, []) as fields:
        running = serve(fields={"good": {"apis": ["responses"], **fields}}, good=Script())
        answer = running.ask("/v1/responses", {"model": "good", "input": "hi"})
    (attempt,) = running.log().attempts
    assert (answer.status, attempt.cost_source, attempt.prompt_tokens, attempt.output_tokens) == (502, "priced", 100, 10)


@pytest.mark.parametrize(("kind", "status"), [("server_error", 502), ("timeout_error", 504)])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_with_a_status_of_success_costs_the_tokens_that_it_reports(serve: Any, streamed: bool, kind: str, status: int) -> None:
    failed = {"error": {"message": "Oh.", "type": kind}, "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    with upstream_of(failed, [failed]) as fields:
        running = serve(fields={"good": fields}, good=Script())
        answer = running.ask("/v1/chat/completions", {"model": "good", "messages": [{"role": "user", "content": "hi " * 9000}], "stream": streamed})
    (attempt,) = running.log().attempts
    assert (answer.status, attempt.cost_source, attempt.prompt_tokens, attempt.output_tokens) == (status, "priced", 100, 10)


@pytest.mark.parametrize("reported", [None, {"input_tokens": 100, "output_tokens": 10}])
def test_an_answer_that_goes_on_in_the_background_has_no_cost_yet(serve: Any, reported: Any) -> None:
    response = {"id": "resp_1", "status": "completed" if reported else "queued", "output": [], "usage": reported}
    with upstream_of(response, []) as fields:
        running = serve(fields={"good": {"apis": ["responses"], **fields}}, good=Script())
        answer = running.ask("/v1/responses", {"model": "good", "input": "hi", "background": True})
    (attempt,) = running.log().attempts
    assert (answer.status, "x-aamc-cost-usd" in answer.headers) == (200, reported is not None)
    assert (math.isnan(attempt.cost_usd), attempt.cost_source) == ((True, "") if reported is None else (False, "priced"))


@pytest.mark.parametrize(
    "answer", [{"status": "failed", "error": {"code": "server_error", "message": "Oh."}}, {"status": "queued"}], ids=["failed", "background"]
)
def test_a_reported_cost_needs_no_tokens(serve: Any, answer: Any) -> None:
    response = {"id": "resp_1", "output": [], "usage": None, "aamc": {"cost_usd": 0.25}, **answer}
    with upstream_of(response, []) as fields:
        running = serve(fields={"good": {"apis": ["responses"], **fields}}, good=Script())
        running.ask("/v1/responses", {"model": "good", "input": "hi", "background": answer["status"] == "queued"})
    (attempt,) = running.log().attempts
    assert (attempt.cost_usd, attempt.cost_source) == (0.25, "reported")


def test_a_background_request_to_a_server_of_chat_is_estimated_without_tokens(serve: Any) -> None:
    answer = {"id": "c1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 1000}, "finish_reason": "stop"}]}
    with upstream_of(answer, []) as fields:
        running = serve(fields={"good": {"apis": ["chat"], **fields}}, good=Script())
        running.ask("/v1/responses", {"model": "good", "input": "hi", "background": True})
    (attempt,) = running.log().attempts
    assert (attempt.output_tokens, attempt.cost_source) == (1250, "estimated")


AUDIO = {"prompt_tokens_details": {"audio_tokens": 900}, "completion_tokens_details": {"audio_tokens": 950}}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fields", "counts", "source"),
    [
        ({"annotations": [], "executed_tools": None}, {}, "priced"),
        ({}, AUDIO, "estimated"),
        ({}, {"num_sources_used": 7}, "estimated"),
        ({"annotations": [{"type": "url_citation"}]}, {}, "estimated"),
        ({"executed_tools": [{"type": "search"}]}, {}, "estimated"),
    ],
)
def test_audio_and_tools_of_a_chat_server_are_not_at_list_prices(serve: Any, streamed: bool, fields: Any, counts: Any, source: str) -> None:
    message, usage = {"role": "assistant", "content": "Hi", **fields}, {"prompt_tokens": 1000, "completion_tokens": 1000, **counts}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    pieces = [{"choices": [{"index": 0, "delta": message}]}, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    with upstream_of(whole, [*pieces, {"choices": [], "usage": usage}]) as address:
        running = serve(fields={"good": address}, good=Script())
        assert running.chat(stream=streamed).status == 200
    (attempt,) = running.log().attempts
    assert (attempt.cost_source, attempt.cost_usd) == (source, pytest.approx(0.003))


@pytest.mark.parametrize(
    ("path", "usage", "source"),
    [
        ("images/generations", {"input_tokens": 50, "output_tokens": 1056, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0}}, "priced"),
        ("images/edits", {"input_tokens": 400, "output_tokens": 1056, "input_tokens_details": {"text_tokens": 12, "image_tokens": 388}}, "estimated"),
        ("audio/transcriptions", {"input_tokens": 140, "output_tokens": 45, "input_token_details": {"audio_tokens": 140}}, "estimated"),
    ],
)
def test_images_and_transcriptions_cost_the_tokens_that_they_report(serve: Any, path: str, usage: Any, source: str) -> None:
    with upstream_of({"usage": usage}, []) as address:
        running = serve(fields={"good": address}, good=Script())
        answer = running.ask(f"/v1/{path}", {"model": "good", "prompt": "a cat"}, content_type="application/json")
    (attempt,) = running.log().attempts
    assert (answer.status, attempt.cost_source) == (200, source)
    cost_usd = (usage["input_tokens"] + 2 * usage["output_tokens"]) / 1e6
    assert [attempt.cost_usd, float(answer.headers["x-aamc-cost-usd"])] == pytest.approx([cost_usd] * 2)


@pytest.mark.parametrize(
    ("usage", "cost_usd", "source"),
    [
        ({"prompt_tokens": 50, "total_tokens": 50}, 5e-5, "priced"),
        ({"total_tokens": 50}, 5e-5, "priced"),
        ({"prompt_tokens": 50, "cost": 0.25}, 0.25, "reported"),
    ],
)
def test_an_embedding_costs_what_its_server_reports(serve: Any, usage: Any, cost_usd: float, source: str) -> None:
    with upstream_of({"data": [{"embedding": [0.5], "index": 0}], "usage": usage}, []) as address:
        running = serve(fields={"good": address}, good=Script())
        running.ask("/v1/embeddings", {"model": "good", "input": "a cat"})
    (attempt,) = running.log().attempts
    assert (attempt.cost_usd, attempt.cost_source, attempt.prompt_tokens) == (pytest.approx(cost_usd), source, 50)


def test_an_image_in_json_costs_the_tokens_that_it_reports_whatever_its_size(serve: Any) -> None:
    image = {"data": [{"b64_json": "A" * 3_000_000}], "usage": {"input_tokens": 50, "output_tokens": 4160}}
    with upstream_of(image, []) as address:
        answer = serve(fields={"good": address}, good=Script()).ask("/v1/images/generations", {"model": "good", "prompt": "a cat"})
    assert (len(answer.body) > 3_000_000, float(answer.headers["x-aamc-cost-usd"])) == (True, pytest.approx(0.00837))


def test_a_streamed_transcription_costs_the_tokens_of_its_last_event(serve: Any) -> None:
    usage = {"input_tokens": 140, "output_tokens": 45, "input_token_details": {"audio_tokens": 140}}
    events = [{"type": "transcript.text.delta", "delta": "Hi"}, {"type": "transcript.text.done", "text": "Hi", "usage": usage}]
    with upstream_of({}, events) as address:
        answer = serve(fields={"good": address}, good=Script()).ask("/v1/audio/transcriptions", {"model": "good", "stream": True})
    assert (len(answer.events), float(answer.headers["x-aamc-cost-usd"])) == (2, pytest.approx(0.00023))


@pytest.mark.parametrize(
    ("path", "cost_usd"),
    [
        ("/v1/audio/speech", 0.04),
        ("/v1/responses/compact", 0.04),
        ("/v1/files", 0.0),
        ("/v1/uploads", 0.0),
        ("/v1/moderations", 0.0),
        ("/v1/conversations", 0.0),
        ("/v1/responses/input_tokens", 0.0),
        ("/v1/responses/resp_1/cancel", 0.0),
        ("/v1/batches/batch_1/cancel", 0.0),
        ("/v1/messages/batches/batch_1/cancel", 0.0),
    ],
)
def test_the_price_of_a_request_is_not_that_of_the_free_paths(serve: Any, path: str, cost_usd: float) -> None:
    with upstream_of({"ok": True}, []) as fields:
        answer = serve(fields={"good": {"request_price": 0.04, **fields}}, good=Script()).ask(path, {"model": "good", "input": "hi"})
    assert (answer.status, float(answer.headers["x-aamc-cost-usd"])) == (200, cost_usd)
