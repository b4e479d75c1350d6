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
MESSAGE = {"type": "object", "properties": {"role": ROLE, "content": CONTENT}, "required": ["role", "content"]}
MESSAGES = {"type": "array", "items": MESSAGE, "maxItems": 4}
MODEL = {"enum": ["aamc/auto", "good", "aamc/auto?preference=0.7,0.2,0.1", "aamc/auto?", "unknown", ""]}
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
        "thumbs": {"enum": ["up", "down"]},
        "revision": {"type": "integer"},
        "id": TEXT,
        "source": TEXT,
    },
}


ANSWERS = {"default": {"description": "any"}}


def operation(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the POST operation of a body with some fields."""
    content = {"application/json": {"schema": {"type": "object", "properties": fields}}}
    parameters = [{"name": name, "in": "header", "schema": TEXT} for name in ("x-aamc-preference", "x-aamc-session", "x-stainless-retry-count")]
    return {
        "post": {"parameters": parameters, "requestBody": {"content": content, "required": True}, "responses": {"default": {"description": "any"}}}
    }


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "the gateway", "version": "1"},
    "paths": {
        **{path: operation(fields) for path, fields in BODIES.items()},
        "/v1/models": {"get": {"responses": ANSWERS}},
        "/v1/models/{name}": {
            "get": {
                "parameters": [{"name": "name", "in": "path", "required": True, "schema": TEXT}],
                "responses": ANSWERS,
            }
        },
    },
}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with StubServer() as stub:
        candidates = [stub_candidate("good", f"{stub.url}/v1", apis=["chat", "completions", "embeddings", "responses"])]
        with GatewayProcess(tmp_path_factory.mktemp("gateway"), candidates) as started:
            yield started


@SCHEMA.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_meets_a_server_error(case: Any, gateway: GatewayProcess) -> None:
    answer = case.call(base_url=gateway.url)
    assert answer.status_code < 500, answer.text
