"""Requests drawn from the schemas of our endpoints, valid and invalid ones, never meet a server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import StubServer
from hypothesis import HealthCheck, settings

TEXT = {"type": "string", "maxLength": 40}
NUMBER = {"type": "number"}
PART = {"type": "object", "properties": {"type": {"enum": ["text", "image_url", "tool_result"]}, "text": TEXT}}
CONTENT = {"anyOf": [TEXT, {"type": "array", "items": PART}]}
ROLE = {"enum": ["user", "assistant", "system", "tool"]}
CALL = {"type": "object", "properties": {"id": TEXT, "function": {"type": "object", "properties": {"name": TEXT, "arguments": TEXT}}}}
CALLS = {"type": "array", "items": CALL, "maxItems": 2}
MESSAGE = {
    "type": "object",
    "properties": {"role": ROLE, "content": CONTENT, "tool_calls": CALLS, "tool_call_id": TEXT},
    "required": ["role", "content"],
}
MESSAGES = {"type": "array", "items": MESSAGE, "maxItems": 4}
MODEL = {"enum": ["aamc/auto", "aamc/arena", "good", "claude", "aamc/auto?preference=0.7,0.2,0.1", "aamc/auto?", "unknown", ""]}
TOOL = {"type": "object", "properties": {"type": {"const": "function"}, "name": TEXT, "function": {"type": "object", "properties": {"name": TEXT}}}}
OWN = {
    "type": "object",
    "properties": {"preference": {}, "quality_floor": NUMBER, "budget_usd": NUMBER, "user": TEXT, "session": TEXT, "tenant": TEXT},
}
COMMON = {
    "model": MODEL,
    "stream": {"type": "boolean"},
    "max_tokens": {"type": "integer"},
    "temperature": NUMBER,
    "tools": {"type": "array", "items": TOOL, "maxItems": 2},
    "metadata": {"type": "object"},
    "user": TEXT,
    "aamc": OWN,
}
BODIES = {
    "/v1/chat/completions": {**COMMON, "messages": MESSAGES, "stream_options": {"type": "object"}},
    "/v1/messages": {**COMMON, "messages": MESSAGES, "system": CONTENT, "thinking": {"type": "object"}},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": MESSAGES},
    "/v1/responses": {
        **COMMON,
        "input": {"anyOf": [TEXT, {"type": "array", "items": MESSAGE}]},
        "previous_response_id": TEXT,
        "text": {"type": "object"},
    },
    "/v1/completions": {**COMMON, "prompt": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}},
    "/v1/embeddings": {"model": MODEL, "input": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}, "encoding_format": TEXT},
    "/v1/route": {**COMMON, "messages": MESSAGES, "text": TEXT},
    "/v1/feedback": {
        "decision_id": TEXT,
        "quality": NUMBER,
        "candidate": TEXT,
        "over": TEXT,
        "tie": {"type": "boolean"},
        "confidence": NUMBER,
        "cost_usd": NUMBER,
        "thumbs": {"enum": ["up", "down"]},
        "revision": {"type": "integer"},
        "id": TEXT,
        "source": TEXT,
    },
    "/v1/batches": {"model": MODEL, "input_file_id": TEXT, "endpoint": TEXT},
    "/v1/messages/batches": {"model": MODEL, "requests": {"type": "array", "items": {"type": "object"}}},
    "/v1/images/generations": {"model": MODEL, "prompt": TEXT, "n": {"type": "integer"}},
    "/v1/audio/speech": {"model": MODEL, "input": TEXT, "voice": TEXT},
    "/v1/moderations": {"model": MODEL, "input": TEXT},
    "/v1/conversations": {"model": MODEL, "items": {"type": "array", "items": MESSAGE}},
    "/v1/arena/{name}/vote": {"winner": {}},
    "/dashboard/login": {"key": TEXT},
    "/dashboard/logout": {},
    "/admin/feedback": {"decision_id": TEXT, "quality": NUMBER, "weight": NUMBER},
    "/admin/arena/{name}/vote": {"winner": {}},
}
READ = (
    *("/v1/models", "/v1/models/{name}", "/v1/batches", "/v1/batches/{name}", "/v1/messages/batches/{name}", "/v1/files", "/v1/files/{name}"),
    *("/v1/responses/{name}", "/v1/conversations/{name}", "/v1/arena/{name}", "/dashboard", "/dashboard/static/{name}", "/dashboard/session"),
    *("/admin/overview", "/admin/decisions", "/admin/decisions/{name}", "/admin/posteriors", "/admin/trials", "/admin/spending", "/admin/arena"),
    *("/metrics", "/healthz", "/readyz"),
)
"""The paths that are read, by GET."""
QUERY = ("model", "period", "baseline", "limit", "purpose")


def parameters(path: str, headers: tuple[str, ...] = (), query: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the parameters of an operation."""
    named = [{"name": "name", "in": "path", "required": True, "schema": TEXT}] if "{name}" in path else []
    named += [{"name": name, "in": "header", "schema": TEXT} for name in headers]
    return named + [{"name": name, "in": "query", "schema": MODEL if name == "model" else TEXT} for name in query]


ANSWERS = {"default": {"description": "any"}}


def operation(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the POST operation of a body with some fields."""
    content = {"application/json": {"schema": {"type": "object", "properties": fields}}}
    headers = ("x-aamc-preference", "x-aamc-session", "x-stainless-retry-count")
    return {"parameters": parameters(path, headers), "requestBody": {"content": content, "required": True}, "responses": ANSWERS}


OPERATIONS: dict[str, dict[str, Any]] = {path: {"post": operation(path, fields)} for path, fields in BODIES.items()}
for path in READ:
    OPERATIONS.setdefault(path, {})["get"] = {"parameters": parameters(path, ("x-aamc-model",), QUERY), "responses": ANSWERS}
DOCUMENT = {"openapi": "3.1.0", "info": {"title": "the gateway", "version": "1"}, "paths": OPERATIONS}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with StubServer() as stub:
        candidates = [
            stub_candidate("good", f"{stub.url}/v1", apis=["chat", "completions", "embeddings", "responses"]),
            stub_candidate("claude", f"{stub.url}/v1", provider="anthropic"),
        ]
        with GatewayProcess(tmp_path_factory.mktemp("gateway"), candidates) as started:
            yield started


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_meets_a_server_error(case: Any, gateway: GatewayProcess) -> None:
    answer = case.call(base_url=gateway.url)
    assert answer.status_code < 500, answer.text
