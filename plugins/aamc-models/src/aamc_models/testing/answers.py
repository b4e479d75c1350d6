"""Whole answers of the stub, in each API's own form."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from aamc_models.dialects.content import has_block
from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_models.testing.script import Script

Body = Mapping[str, Any]
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
"""Anthropic's name of each finish reason."""


@attrs.frozen(kw_only=True)
class Reply:
    """The content of an answer, before it takes an API's form.

    Attributes:
        model: The model's name.
        script: The model's script.
        call: The number of the call, for ids.
        text: The text, empty with a tool call.
        tool: The name of the called tool; empty without a call.
        finish: The finish reason, as chat completions call it.
        n: The number of choices.
        logprobs: Whether choices have log probabilities.
        prompt_tokens: Tokens of the prompt.
        output_tokens: Tokens of all choices.
    """

    model: str
    script: Script
    call: int
    text: str
    tool: str
    finish: str
    n: int
    logprobs: bool
    prompt_tokens: int
    output_tokens: int

    @property
    def signature(self) -> str:
        """The signature of the reasoning: only this model accepts it."""
        return f"signed by {self.model}"


def reply_of(model: str, script: Script, body: Body, size: int, call: int) -> Reply:
    """Return the content of the answer to a request of this number of bytes."""
    tool = called_tool(body)
    text = "" if tool else answer_text(script, body)
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or body.get("max_output_tokens")
    finish = "tool_calls" if tool else "stop"
    output = script.output_tokens
    if isinstance(limit, int) and limit < output:
        text, output, finish = text[: math.ceil(len(text) * limit / output)], limit, "length"
    asked = body.get("n")
    n = asked if isinstance(asked, int) else 1
    return Reply(
        model=model,
        script=script,
        call=call,
        text=text,
        tool=tool,
        finish=finish,
        n=n,
        logprobs=bool(body.get("logprobs")),
        prompt_tokens=script.prompt_tokens if script.prompt_tokens is not None else max(1, size // 4),
        output_tokens=output * n,
    )


def called_tool(body: Body) -> str:
    """Return the name of the tool to call: the first one, unless the last message is a tool's result; empty for none."""
    tools = objects_or_empty(body.get("tools"))
    if not tools or body.get("tool_choice") == "none":
        return ""
    *_, last = [{}, *objects_or_empty(body.get("messages") or body.get("input"))]
    if last.get("role") == "tool" or last.get("type") == "function_call_output" or has_block(last, "tool_result"):
        return ""
    return str(tools[0].get("name") or tools[0].get("function", {}).get("name") or "")


def answer_text(script: Script, body: Body) -> str:
    """Return the text: JSON where the request asks for it, and cut at the first stop word."""
    form = object_or_empty(body.get("response_format") or object_or_empty(body.get("text")).get("format"))
    text = '{"answer": 42}' if str(form.get("type", "")).startswith("json") else script.text
    stops = body.get("stop") or body.get("stop_sequences") or []
    for stop in stops if isinstance(stops, list) else [stops]:
        if isinstance(stop, str) and stop:
            text = text.partition(stop)[0]
    return text


def answer_of(api: str, reply: Reply, body: Body) -> dict[str, Any]:
    """Return the whole answer."""
    if api == "count_tokens":
        return {"input_tokens": reply.prompt_tokens}
    if api == "embeddings":
        return _embeddings(reply, body)
    answer = {"chat": _chat, "completions": _completions, "messages": _message, "responses": response}[api](reply)
    return answer if reply.script.usage == "never" else {**answer, "usage": usage_of(api, reply)}


def usage_of(api: str, reply: Reply) -> dict[str, Any]:
    """Return the usage as an API reports it. For Anthropic, cached tokens are not among the input tokens."""
    script, prompt, output = reply.script, reply.prompt_tokens, reply.output_tokens
    own: dict[str, Any] = {} if math.isnan(script.reported_usd) else {"cost": script.reported_usd}
    if api == "messages":
        if hour := script.cache_write_1h_tokens:
            own["cache_creation"] = {"ephemeral_5m_input_tokens": script.cache_write_tokens - hour, "ephemeral_1h_input_tokens": hour}
        return {
            "input_tokens": prompt - script.cached_tokens - script.cache_write_tokens,
            "cache_read_input_tokens": script.cached_tokens,
            "cache_creation_input_tokens": script.cache_write_tokens,
            "output_tokens": output,
            **own,
        }
    asked, answered = ("input", "output") if api == "responses" else ("prompt", "completion")
    return {
        f"{asked}_tokens": prompt,
        f"{asked}_tokens_details": {"cached_tokens": script.cached_tokens, "cache_write_tokens": script.cache_write_tokens},
        f"{answered}_tokens": output,
        f"{answered}_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
        "total_tokens": prompt + output,
        **own,
    }


def _chat(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if thinking := reply.script.thinking:
        message["reasoning_content"] = thinking
        message["reasoning_details"] = [{"type": "reasoning.text", "text": thinking, "signature": reply.signature}]
    if reply.tool:
        function = {"name": reply.tool, "arguments": reply.script.tool_arguments}
        message["tool_calls"] = [{"id": f"call_{reply.call}", "type": "function", "function": function}]
    choices = [{"index": i, "message": message, "finish_reason": reply.finish, "logprobs": logprobs_of(reply.text, reply)} for i in range(reply.n)]
    return {"id": f"chatcmpl-{reply.call}", "object": "chat.completion", "created": 1, "model": reply.model, "choices": choices}


def logprobs_of(text: str, reply: Reply) -> dict[str, Any] | None:
    """Return the log probabilities of a text's words, if they are asked for."""
    if not reply.logprobs:
        return None
    tokens = [{"token": word, "logprob": -0.1, "bytes": list(word.encode()), "top_logprobs": []} for word in text.split()]
    return {"content": tokens, "refusal": None}


def _completions(reply: Reply) -> dict[str, Any]:
    choices = [{"index": i, "text": reply.text, "finish_reason": reply.finish, "logprobs": None} for i in range(reply.n)]
    return {"id": f"cmpl-{reply.call}", "object": "text_completion", "created": 1, "model": reply.model, "choices": choices}


def _message(reply: Reply) -> dict[str, Any]:
    stop = {"stop_reason": STOP_REASONS[reply.finish], "stop_sequence": None}
    head = {"id": f"msg_{reply.call}", "type": "message", "role": "assistant", "model": reply.model}
    return {**head, "content": message_blocks(reply), **stop}


def message_blocks(reply: Reply) -> list[dict[str, Any]]:
    """Return the blocks of Anthropic's message."""
    blocks: list[dict[str, Any]] = []
    if reply.script.thinking:
        blocks.append({"type": "thinking", "thinking": reply.script.thinking, "signature": reply.signature})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    if reply.tool:
        blocks.append({"type": "tool_use", "id": f"toolu_{reply.call}", "name": reply.tool, "input": orjson.loads(reply.script.tool_arguments)})
    return blocks


def response(reply: Reply, status: str = "") -> dict[str, Any]:
    """Return a response; ``status`` is that of an unfinished one, which has no output yet."""
    finished = "incomplete" if reply.finish == "length" else "completed"
    return {
        "id": f"resp_{reply.model}_{reply.call}",
        "object": "response",
        "created_at": 1,
        "status": status or finished,
        "model": reply.model,
        "output": [] if status else output_items(reply),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if not status and reply.finish == "length" else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def output_items(reply: Reply) -> list[dict[str, Any]]:
    """Return the items of a response."""
    items: list[dict[str, Any]] = []
    if reply.script.thinking:
        summary = [{"type": "summary_text", "text": reply.script.thinking}]
        items.append({"type": "reasoning", "id": f"rs_{reply.call}", "summary": summary, "encrypted_content": reply.signature})
    if reply.text:
        content = [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}]
        items.append({"type": "message", "id": f"msg_{reply.call}", "role": "assistant", "status": "completed", "content": content})
    if reply.tool:
        call = {"call_id": f"call_{reply.call}", "name": reply.tool, "arguments": reply.script.tool_arguments, "status": "completed"}
        items.append({"type": "function_call", "id": f"fc_{reply.call}", **call})
    return items


def _embeddings(reply: Reply, body: Body) -> dict[str, Any]:
    """Return embeddings of 8 numbers, as base64 where the request asks for it."""
    texts = body.get("input")
    texts = texts if isinstance(texts, list) and texts and not isinstance(texts[0], int) else [texts]
    data = []
    for index, text in enumerate(texts):
        vector = [((len(str(text)) * 31 + i * 7) % 100) / 100 for i in range(8)]
        coded = base64.b64encode(struct.pack("<8f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": coded if body.get("encoding_format") == "base64" else vector})
    usage = {"prompt_tokens": reply.prompt_tokens, "total_tokens": reply.prompt_tokens}
    return {"object": "list", "data": data, "model": reply.model, "usage": usage}


def error_answer(api: str, status: int, message: str) -> dict[str, Any]:
    """Return an error in the API's dialect."""
    if api in ("messages", "count_tokens"):
        kind = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    kind = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
