"""Requests for Claude models by the rules of their versions, over a server with those of the newest ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aamc_models.dialects import convert_request, without_foreign_state
from aamc_models.dialects.messages.claude_rules import claude_model, claude_rules
from aamc_models.testing import Script, StubServer
from aamc_models.testing.playback import claude_complaint
from aamc_models.transport.request_body import RequestBody

from aamc_sdk import MetaController, ModelSpec, Pool
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.interfaces import WireRequest

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]
ADAPTIVE = {"type": "adaptive"}
NEWEST = "claude-opus-5-5"
for_newest = partial(convert_request, claude_model=NEWEST)
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
LOOP = [*ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "42"}]


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with StubServer(default=Script(newest_claude=True)) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("claude-3-7-sonnet-20250219", "prefill forced"),
        ("claude-opus-4-20250514", "prefill forced"),
        ("claude-sonnet-4@20250514", "prefill forced"),
        ("anthropic/claude-opus-4.5", "prefill forced"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "prefill forced"),
        ("anthropic.claude-v2:1", "prefill forced"),
        ("claude-opus-4-32k", "prefill forced"),
        ("claude-opus-4-8K", "prefill forced"),
        ("Claude Opus 4.5", "prefill forced"),
        ("claude-opus4.5", "prefill forced"),
        ("claude3.7", "prefill forced"),
        ("claude-opus-4-6-v1", "forced"),
        ("claude-sonnet-4-6", "forced"),
        ("claude-opus-4-7", "adaptive forced"),
        ("claude-4.8-opus", "adaptive forced"),
        ("claude-sonnet-5", "adaptive default forced"),
        ("claude-sonnet-5-1m", "adaptive default forced"),
        ("anthropic.claude-opus-5-v1:0", "adaptive default forced"),
        ("claude-fable-5-1", "adaptive default"),
        ("claude-opus-5-5", "adaptive default"),
        ("claude-sonnet-5.5", "adaptive default"),
        ("Claude-Haiku-5-5", "adaptive default forced"),
        ("claude-opus-6", "adaptive default"),
        ("claude-mythos-preview", "adaptive default"),
        ("claude-haiku-latest", "adaptive default"),
        ("claude-opus-32k", "adaptive default"),
        ("good", "prefill forced"),
        ("", "prefill forced"),
    ],
)
def test_the_version_in_the_name_decides(name: str, rules: str) -> None:
    found = claude_rules(name)
    flags = {"adaptive": found.is_adaptive, "default": found.thinks_by_default, "prefill": found.prefill, "forced": found.forced_tools}
    assert [flag for flag, holds in flags.items() if holds] == rules.split()


@pytest.mark.parametrize(
    ("endpoint", "model"),
    [
        ({"claude_model": "claude-opus-4-5", "model": "writer", "deployments": [{"model": NEWEST}]}, "claude-opus-4-5"),
        ({"model": "claude-opus-4-5", "deployments": [{"model": NEWEST}]}, NEWEST),
        ({"model": "claude-opus-4-5", "deployments": [{"weight": 2.0}, {"model": NEWEST}]}, "claude-opus-4-5"),
        ({"model": "claude-opus-4-5"}, "claude-opus-4-5"),
        ({"deployments": [{"weight": 2.0}, {"model": NEWEST}]}, NEWEST),
        ({"deployments": [{"weight": 2.0}]}, "claude"),
        ({}, "claude"),
    ],
)
def test_the_names_of_the_deployments_go_before_that_of_the_candidate(endpoint: dict[str, Any], model: str) -> None:
    assert claude_model(ModelSpec("claude", endpoint={"provider": "anthropic", **endpoint})) == model


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def gone(fields: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(fields)


@pytest.mark.parametrize("source", ["chat", "responses"])
@pytest.mark.parametrize(
    ("fields", "sent", "dropped"),
    [
        ({"temperature": 0}, {}, ["temperature"]),
        ({"temperature": 1, "top_p": 1}, {}, []),
        ({"top_p": 0.9, "temperature": 1.5}, {}, ["temperature", "top_p"]),
        ({"reasoning_effort": "minimal"}, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}, []),
        ({"reasoning_effort": "low"}, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}, []),
        ({"reasoning_effort": "xhigh"}, {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}}, []),
        ({"reasoning_effort": "none"}, {"output_config": {"effort": "low"}}, ["reasoning_effort"]),
        ({"tools": TOOLS, "tool_choice": "required"}, {"tool_choice": {"type": "auto"}}, ["tool_choice.required"]),
    ],
)
def test_what_the_newest_models_refuse_is_left_out_and_named(source: str, fields: dict[str, Any], sent: dict[str, Any], dropped: list[str]) -> None:
    asked: dict[str, Any] = {"messages": ASK, **fields}
    if source == "responses":
        own = {"input": "Hi", "reasoning": {"effort": fields.get("reasoning_effort")}, "tools": [{"type": "function", "name": "f"}]}
        asked = {**own, **{name: value for name, value in fields.items() if name not in ("reasoning_effort", "tools")}}
    converted = for_newest(source, "messages", asked)
    assert claude_complaint(converted.body) == ""
    body = {name: value for name, value in converted.body.items() if name not in ("max_tokens", "messages", "model", "tools", "stream")}
    assert (body, converted.dropped) == (sent, dropped)


CODE: dict[str, Any] = {"messages": ASK, "max_tokens": 32000, "thinking": ADAPTIVE, "output_config": {"effort": "medium"}}
"""The fields by which Claude Code asks each model that it does not know for thinking."""
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 4096}}
FORM = {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}}
OPEN_LOOP: list[dict[str, Any]] = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "b"}]},
]
SAMPLING = {"temperature": 0.5, "top_k": 5}
FORCED: dict[str, Any] = {"tools": [{"name": "f"}], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}}
PREFILLED: dict[str, Any] = {"messages": [*ASK, {"role": "assistant", "content": [{"type": "text", "text": "{"}]}], "max_tokens": 9}
PAUSED = [*ASK, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}]}]
"""The server goes on with its tool."""


@pytest.mark.parametrize(
    ("model", "asked", "changed", "dropped"),
    [
        *[(name, CODE, {}, []) for name in ("claude-sonnet-4-6", "claude-opus-4-7", NEWEST, "qwen")],
        ("claude", {**CODE, **BUDGET, **SAMPLING}, {}, []),  # a model of unknown version may take them
        ("claude-haiku-4-5", CODE, {**BUDGET, "output_config": None}, []),
        ("claude-haiku-4-5", {**CODE, "output_config": {"effort": "low", **FORM}}, {**budget(1024), "output_config": FORM}, []),
        ("claude-haiku-4-5", {**CODE, "output_config": None, "max_tokens": 3000, **SAMPLING}, {**budget(1500), **gone(SAMPLING)}, [*SAMPLING]),
        ("claude-haiku-4-5", {**CODE, "max_tokens": 500}, {"thinking": {"type": "disabled"}, "output_config": None}, ["thinking"]),
        ("claude-haiku-4-5", {**CODE, "messages": [*ASK, *OPEN_LOOP]}, {"thinking": {"type": "disabled"}, "output_config": None}, ["thinking"]),
        ("claude-haiku-4-5", {**CODE, "thinking": None}, {"output_config": None}, ["output_config.effort"]),
        ("claude-haiku-4-5", {**CODE, **BUDGET, "output_config": None}, {}, []),
        *[("claude-sonnet-4-6", {**CODE, **BUDGET, **fields}, {}, []) for fields in ({}, {"output_config": None})],
        (NEWEST, {**CODE, **BUDGET, "output_config": None}, {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}}, []),
        (NEWEST, {**CODE, **SAMPLING}, gone(SAMPLING), [*SAMPLING]),
        *[(name, {**CODE, **FORCED}, {}, []) for name in ("claude-opus-5", "claude-haiku-5-5", "claude")],
        (NEWEST, {**CODE, **FORCED}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ["tool_choice.tool"]),
        (NEWEST, {**CODE, **FORCED, "tool_choice": {"type": "any"}}, {"tool_choice": {"type": "auto"}}, ["tool_choice.any"]),
        *[(name, PREFILLED, {}, []) for name in ("claude-opus-4-5", "claude", "qwen")],
        ("claude-sonnet-4-6", PREFILLED, {"messages": [*PREFILLED["messages"], {"role": "user", "content": "."}]}, ["prefill"]),
        (NEWEST, {**CODE, "messages": PAUSED}, {}, []),
    ],
)
def test_a_request_of_anthropics_own_dialect_gets_what_its_model_takes(
    model: str, asked: dict[str, Any], changed: dict[str, Any], dropped: list[str]
) -> None:
    asked = {name: value for name, value in asked.items() if value is not None}
    converted = convert_request("messages", "messages", asked, claude_model=model)
    assert converted.body == {name: value for name, value in {**asked, **changed}.items() if value is not None}
    assert converted.dropped == dropped


def test_thinking_is_not_cleared_where_it_is_switched_off() -> None:
    other = {"type": "clear_tool_uses_20250919"}
    asked = {**CODE, "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, other]}}
    assert convert_request("messages", "messages", asked, claude_model="claude-haiku-4-5").body["context_management"] == asked["context_management"]
    for switched_off in ({**asked, "messages": [*ASK, *OPEN_LOOP]}, {**asked, "thinking": {"type": "disabled"}}):
        converted = convert_request("messages", "messages", switched_off, claude_model="claude-haiku-4-5")
        assert converted.body["context_management"] == {"edits": [other]}
        assert "context_management.edits" in converted.dropped


def test_the_request_s_schema_and_the_effort_go_together() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    shape = {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}}
    asked = {"messages": ASK, "response_format": form}
    assert for_newest("chat", "messages", {**asked, "reasoning_effort": "high"}).body["output_config"] == {"effort": "high", **shape}
    for parameters in ({"reasoning_effort": "high"}, {"output_config": {"effort": "high"}}):
        assert for_newest("chat", "messages", asked, parameters=parameters).body["output_config"] == {"effort": "high", **shape}
        own = {"messages": ASK, "max_tokens": 3000, "output_config": shape}
        assert for_newest("messages", "messages", own, parameters=parameters).body["output_config"] == {"effort": "high", **shape}


def test_an_output_config_of_the_wrong_form_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="output_config must be an object, not 'high'"):
        convert_request("messages", "messages", {"messages": ASK, "output_config": "high"})


def test_an_effort_among_the_candidate_s_parameters_goes_before_a_converted_one() -> None:
    asked = {"messages": ASK, "reasoning_effort": "low"}
    budget = {"thinking": {"type": "enabled", "budget_tokens": 16_384}}
    for parameters in ({"reasoning_effort": "high"}, {"output_config": {"effort": "high"}}, budget):
        converted = for_newest("chat", "messages", asked, parameters=parameters)
        assert (converted.body["output_config"], converted.dropped) == ({"effort": "high"}, ["reasoning_effort"])


def test_a_prefilled_answer_of_the_newest_models_keeps_its_text_and_is_named() -> None:
    converted = for_newest("chat", "messages", {"messages": [*ASK, {"role": "assistant", "content": "The answer is"}]})
    assert converted.body["messages"][1:] == [{"role": "assistant", "content": "The answer is"}, {"role": "user", "content": "."}]
    assert converted.dropped == ["prefill"]
    assert claude_complaint(converted.body) == ""


def test_a_tool_loop_without_its_thinking_goes_on_thinking() -> None:
    body = for_newest("chat", "messages", {"messages": LOOP, "tools": TOOLS, "reasoning_effort": "low"}).body
    assert body["thinking"] == ADAPTIVE
    assert claude_complaint(body) == ""
    assert without_foreign_state("messages", body)["thinking"] == ADAPTIVE


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-opus-5", "claude-opus-4-7"])
def test_a_forced_tool_that_a_model_accepts_goes_without_the_thinking_that_is_refused_beside_it(model: str) -> None:
    asked = {"messages": ASK, "tools": TOOLS, "tool_choice": "required", "reasoning_effort": "low"}
    converted = convert_request("chat", "messages", asked, claude_model=model)
    assert ("thinking" in converted.body, converted.body["tool_choice"], converted.dropped) == (False, {"type": "any"}, [])
    assert converted.body["output_config"] == {"effort": "low"}
    candidate = ModelSpec(model, parameters={"thinking": ADAPTIVE})
    converted = convert_request("chat", "messages", asked, parameters=candidate.parameters, claude_model=model)
    assert "thinking" not in sent_body(candidate, converted.body)


def test_models_that_do_not_think_by_default_are_asked_for_no_thinking_by_no_field() -> None:
    converted = convert_request("chat", "messages", {"messages": ASK, "reasoning_effort": "none"}, claude_model="claude-opus-4-8")
    assert ({"thinking", "output_config"}.isdisjoint(converted.body), converted.dropped) == (True, [])


@pytest.mark.parametrize(("model", "sent"), [("claude-opus-4-5", {"temperature": 0.2}), ("claude-opus-5-5", {})])
def test_sampling_among_the_candidate_s_parameters_goes_where_it_is_accepted_else_it_is_named(model: str, sent: dict[str, Any]) -> None:
    candidate = ModelSpec("m", parameters={"temperature": 0.2}, endpoint={"provider": "anthropic", "model": model})
    for source in ("chat", "messages"):
        converted = convert_request(source, "messages", {"messages": ASK, "max_tokens": 9}, parameters=candidate.parameters, claude_model=model)
        assert converted.dropped == ([] if sent else ["temperature"])
        assert sent_body(candidate, converted.body) == {"model": "m", "messages": ASK, "max_tokens": 9, **sent}


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-opus-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1500}}),
        ("claude-opus-5-5", {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
    ],
)
def test_an_effort_among_the_candidate_s_parameters_is_sent_in_anthropic_s_words(model: str, sent: dict[str, Any]) -> None:
    candidate = ModelSpec(model, parameters={"reasoning_effort": "high"})
    for source in ("chat", "messages"):
        asked = {"messages": ASK, "max_tokens": 3000}
        converted = convert_request(source, "messages", asked, parameters=candidate.parameters, claude_model=model)
        assert converted.dropped == []
        assert sent_body(candidate, converted.body) == {"model": model, **asked, **sent}


@pytest.mark.parametrize("source", ["chat", "messages"])
@pytest.mark.parametrize(
    ("thinking", "fields", "sent", "dropped"),
    [
        ({"type": "enabled", "budget_tokens": 4096}, {}, {"thinking": ADAPTIVE}, []),
        ({"type": "enabled", "budget_tokens": 4096, "display": "no"}, {"max_tokens": 1000}, {"thinking": {**ADAPTIVE, "display": "no"}}, []),
        ({"type": "enabled"}, {}, {"thinking": ADAPTIVE}, []),
        ({"type": "disabled"}, {}, {}, ["thinking"]),
    ],
)
def test_thinking_among_the_candidate_s_parameters_is_sent_as_the_newest_models_accept_it(
    source: str, thinking: dict[str, Any], fields: dict[str, Any], sent: dict[str, Any], dropped: list[str]
) -> None:
    candidate, asked = ModelSpec(NEWEST, parameters={"thinking": thinking}), {"messages": ASK, "max_tokens": 9000, **fields}
    converted = for_newest(source, "messages", asked, parameters=candidate.parameters)
    effort = {"output_config": {"effort": "medium"}} if "budget_tokens" in thinking else {}
    assert converted.dropped == dropped
    assert sent_body(candidate, converted.body) == {"model": NEWEST, **asked, **effort, **sent}


def test_models_of_adaptive_thinking_that_do_not_think_by_default_take_disabled_thinking() -> None:
    candidate = ModelSpec("claude-opus-4-7", parameters={"thinking": {"type": "disabled"}})
    assert sent_body(candidate, {"messages": ASK})["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize(("parameters", "options"), [({"top_p": 0.9}, {"temperature": 0.2}), ({"temperature": 0.2}, {"top_p": 0.9})])
def test_complete_sends_what_its_warning_says(stub: StubServer, parameters: dict[str, Any], options: dict[str, Any]) -> None:
    assert complete(stub, parameters, options, claude_model="claude-opus-4-5") == {"temperature": 0.2}


@pytest.mark.parametrize(
    ("parameters", "options", "sent"),
    [
        ({}, {"temperature": 0}, {}),
        ({"temperature": 0}, {"top_p": 0.5}, {}),
        ({"temperature": 0}, {"system": "Be brief."}, {"system": "Be brief."}),
        ({"reasoning_effort": "high"}, {}, {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "low"}, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ({"reasoning_effort": "high"}, {"system": "Be brief."}, {"system": "Be brief.", "thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
    ],
)
def test_complete_asks_the_newest_models_for_what_they_accept(
    stub: StubServer, parameters: dict[str, Any], options: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert complete(stub, parameters, options, claude_model=NEWEST) == sent


@pytest.mark.parametrize("name", ["newest", "claude-opus", "4.5"])
def test_a_claude_model_without_a_version_is_refused(provider: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"such as claude-opus-4-5, not {name!r}"):
        provider("anthropic", claude_model=name)


def sent_body(candidate: ModelSpec, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RequestBody(candidate, WireRequest(api="messages", body=body)).data("") or b"")
    return found


def complete(stub: StubServer, parameters: dict[str, Any], options: dict[str, Any], **endpoint: Any) -> dict[str, Any]:
    """The fields that a call of a candidate sends, besides those of every call."""
    spec = ModelSpec("m", endpoint={"provider": "anthropic", "base_url": stub.url, "api_key_env": "", **endpoint}, parameters=parameters)
    stub.default = Script(newest_claude=endpoint["claude_model"] == NEWEST)
    with MetaController.build(router="random", pool=Pool([spec])) as controller:
        assert controller.complete("Where?", options=options).text
    return {name: value for name, value in stub.requests[-1].body.items() if name not in ("max_tokens", "messages", "model")}
