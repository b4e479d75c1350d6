"""The bytes of an answer with the time of each, from a request, a script and its fault."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import orjson

from aamc_models.dialects.content import has_block
from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_models.testing.answers import Reply, answer_of, error_answer, reply_of
from aamc_models.testing.script import Counts, Script
from aamc_models.testing.streams import error_event, error_finish, stream_of

STREAMED = ("chat", "completions", "messages", "responses")
MESSAGE = "The stub fails as its script says."
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 429: b"Too Many Requests", 500: b"Internal Server Error"}
EVENT_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@attrs.frozen
class PlaybackStep:
    """Some bytes of an answer.

    Attributes:
        at_s: When to send them, in seconds after the request.
        data: The bytes.
        output_tokens: The tokens of their content.
        billed: Whether the prompt is billed with them.
    """

    at_s: float
    data: bytes
    output_tokens: int = 0
    billed: bool = False


@attrs.frozen
class Playback:
    """An answer.

    Attributes:
        steps: Its bytes.
        end: What happens then: ``"keep"`` the connection, ``"close"`` it, or ``"hang"``.
        script: The script of the model.
        counts: Where the tokens are counted.
        prompt_tokens: The tokens of the prompt.
        served: Whether it is an answer without a fault.
    """

    steps: list[PlaybackStep]
    end: str = "keep"
    script: Script = attrs.field(factory=Script)
    counts: Counts = attrs.field(factory=Counts)
    prompt_tokens: int = 0
    served: bool = False


def whole(status: int, body: bytes, content_type: bytes = b"application/json", extra: bytes = b"") -> bytes:
    """Return an HTTP response."""
    return b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s\r\n%s" % (
        status,
        REASONS.get(status, b"Status"),
        content_type,
        len(body),
        extra,
        body,
    )


def failure(api: str, status: int, message: str, extra: bytes = b"") -> Playback:
    """Return an error response in the API's dialect."""
    return Playback([PlaybackStep(0.0, whole(status, orjson.dumps(error_answer(api, status, message)), extra=extra))])


def playback(api: str, body: Mapping[str, Any], size: int, script: Script, counts: Counts) -> Playback:
    """Return the answer to a request of this number of bytes, and count the request."""
    counts.calls += 1
    model = str(body.get("model", ""))
    fault = script.fault if script.fails(counts.calls, counts.faults) else ""
    counts.faults += bool(fault)
    if fault in ("refuse", "hang", "status", "html", "empty"):
        return attrs.evolve(_without_content(api, fault, script), counts=counts)
    wrong = complaint(model, body) if script.strict else ""
    if script.newest_claude and api == "messages":
        wrong = wrong or claude_complaint(body)
    if wrong:
        counts.refused += 1
        return failure(api, 400, wrong)
    reply = reply_of(model, script, body, size, counts.calls)
    if body.get("stream") is True and api in STREAMED:
        steps, end = _streamed(api, body, reply, fault)
    else:
        steps, end = _buffered(api, body, reply, fault)
    return Playback(steps, end, script, counts, reply.prompt_tokens, not fault)


def _without_content(api: str, fault: str, script: Script) -> Playback:
    if fault in ("refuse", "hang"):
        return Playback([], "close" if fault == "refuse" else "hang")
    if fault == "status":
        extra = b"" if math.isnan(script.retry_after_s) else b"retry-after: %g\r\n" % script.retry_after_s
        return failure(api, script.status, MESSAGE, extra)
    page = whole(script.status, HTML, b"text/html") if fault == "html" else whole(200, b"")
    return Playback([PlaybackStep(script.first_ms / 1000, page)])


def _buffered(api: str, body: Mapping[str, Any], reply: Reply, fault: str) -> tuple[list[PlaybackStep], str]:
    at_s = reply.script.first_ms / 1000
    if fault in ("hang_stream", "hang_content"):
        return [], "hang"
    if fault in ("error_event", "late_error") or (fault == "error_finish" and api == "messages"):
        return [PlaybackStep(at_s, whole(200, orjson.dumps(error_answer(api, 500, MESSAGE))))], "keep"
    if fault == "bad_json":
        return [PlaybackStep(at_s, whole(200, b'{"id": '))], "keep"
    answer = answer_of(api, reply, body)
    if fault == "error_finish" and api == "responses":
        answer |= {"status": "failed", "error": {"code": "server_error", "message": MESSAGE}, "output": []}
    elif fault == "error_finish":
        answer["choices"] = [{**choice, "finish_reason": "error"} for choice in answer.get("choices", ())]
    content = orjson.dumps(answer)
    if fault == "cut":
        return [PlaybackStep(at_s, whole(200, content[: len(content) // 2]))], "keep"
    data = whole(200, content)
    if fault == "half":
        return [PlaybackStep(at_s, data[: -(len(content) // 2)])], "close"
    return [PlaybackStep(at_s, data, 0 if api == "embeddings" else reply.output_tokens, billed=True)], "keep"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _streamed(api: str, body: Mapping[str, Any], reply: Reply, fault: str) -> tuple[list[PlaybackStep], str]:
    options = body.get("stream_options")
    lead, content, tail = stream_of(api, reply, asked=isinstance(options, dict) and bool(options.get("include_usage")))
    number, tokens = max(1, len(content)), reply.output_tokens
    end, closed = "keep", LAST_CHUNK
    if fault in ("hang_stream", "error_event", "bad_json"):
        broken = {"error_event": error_event(api, MESSAGE), "bad_json": b'data: {"id": \n\n'}.get(fault)
        lead, content, tail = lead[:1], [broken] if broken else [], []
    elif fault in ("hang_content", "half", "cut", "late_error", "error_finish"):
        content = content[: max(1, len(content) // 2)]
        tail = {"late_error": [error_event(api, MESSAGE)], "error_finish": error_finish(api, reply, MESSAGE)}.get(fault, [])
    if fault in ("hang_stream", "hang_content"):
        end, closed = "hang", b""
    elif fault == "half":
        end, closed = "close", b""
    first_s, pace_s = reply.script.first_ms / 1000, reply.script.pace_ms / 1000
    steps = [PlaybackStep(first_s, EVENT_STREAM_HEAD + _chunk(b"".join(lead)) if lead else EVENT_STREAM_HEAD)]
    unbilled = fault in ("error_event", "bad_json")
    for index, event in enumerate(content):
        output = 0 if unbilled else tokens * (index + 1) // number - tokens * index // number
        steps.append(PlaybackStep(first_s + index * pace_s, _chunk(event), output, billed=index == 0 and not unbilled))
    last = b"".join(_chunk(event) for event in tail) + closed
    return [*steps, PlaybackStep(steps[-1].at_s, last)], end


def complaint(model: str, body: Mapping[str, Any]) -> str:
    """Return the error of a strict model for a request; empty if it accepts the request."""
    own = f"signed by {model}"
    for name, value in _state(body):
        if name == "previous_response_id" and not str(value).startswith(f"resp_{model}_"):
            return f"previous_response_id: response {value!r} not found"
        if name in ("signature", "data", "encrypted_content") and value != own:
            return f"{name}: the reasoning was not made by this model, or was changed"
    return _incomplete_loop(body)


def claude_complaint(body: Mapping[str, Any]) -> str:
    """Return the error of Claude Opus 5.5 for a request; empty if it accepts the request."""
    thinking, output, choice = (body.get(name) or {} for name in ("thinking", "output_config", "tool_choice"))
    if (kind := thinking.get("type", "adaptive")) != "adaptive":
        advice = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        return f'"thinking.type.{kind}" is not supported for this model. {advice}'
    for name, default in (("temperature", 1), ("top_p", 1), ("top_k", None)):
        if body.get(name, default) != default:
            return f"`{name}` is deprecated for this model."
    if output.get("effort", "high") not in ("low", "medium", "high", "xhigh", "max"):
        return "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    if choice.get("type") in ("any", "tool"):
        return 'tool_choice: type "tool" and "any" are not supported for this model.'
    if "reasoning_effort" in body:
        return "reasoning_effort: Extra inputs are not permitted"
    if body["messages"][-1]["role"] == "assistant":
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    return ""


def _state(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named values that only one model can read, wherever they stand."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        for name, inner in value.items():
            tied = name in ("previous_response_id", "encrypted_content") and inner
            signed = (name == "signature" and kind in ("thinking", "reasoning.text")) or (name == "data" and kind == "redacted_thinking")
            if tied or signed:
                yield name, inner
            else:
                yield from _state(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _state(inner)


def _incomplete_loop(body: Mapping[str, Any]) -> str:
    """Return the complaint about a tool call without the thinking before it, which Anthropic's API wants while thinking is on."""
    messages = objects_or_empty(body.get("messages"))
    said = [objects_or_empty(message.get("content")) for message in messages if message.get("role") == "assistant"]
    thinks = object_or_empty(body.get("thinking")).get("type") == "enabled"
    if not thinks or not said or not has_block(messages[-1], "tool_result"):
        return ""
    kinds = [block.get("type") for block in said[-1]]
    if kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        return f"messages: expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`"
    return ""
