"""Tokens and costs that answers report."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from aamc_models.dialects import reported_cost, usage_of, wants_usage, with_usage, without_usage
from aamc_models.dialects.conversions import reader_of
from aamc_models.dialects.token_usage import StreamedUsage, usage_object

from aamc_sdk.interfaces import Usage


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_the_same_tokens_are_read_from_every_dialect(dialect: str, answers: dict[str, Any]) -> None:
    expected = Usage(prompt_tokens=100, cached_tokens=40, cache_write_tokens=10, output_tokens=20, reasoning_tokens=5)
    assert expected == usage_of(dialect, answers[dialect])


@pytest.mark.parametrize("cached", [0, 40])
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_an_answer_in_another_dialect_reports_the_same_tokens(dialect: str, cached: int) -> None:
    usage = Usage(prompt_tokens=100, cached_tokens=cached, cache_write_tokens=cached // 4, output_tokens=20, reasoning_tokens=cached // 8)
    written = usage_object(dialect, usage)
    assert usage == usage_of(dialect, {"usage": written})
    assert written.get("total_tokens", 120) == 120


def test_tokens_that_a_cache_keeps_for_an_hour_are_part_of_those_written() -> None:
    counts = {"input_tokens": 10, "cache_creation_input_tokens": 600, "output_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 400}}
    usage = usage_of("messages", {"usage": counts})
    assert (usage.prompt_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (610, 600, 400)


COMPACTION = {
    "type": "compaction",
    "input_tokens": 180,
    "output_tokens": 35,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_1h_input_tokens": 2},
}


@pytest.mark.parametrize(
    ("kind", "billed", "at_list_prices"),
    [("message", False, True), ("compaction", True, True), ("advisor_message", True, False), ("fallback_message", False, False)],
)
def test_anthropics_totals_leave_out_compaction_and_advice(kind: str, billed: bool, at_list_prices: bool) -> None:
    counts = {"input_tokens": 23, "output_tokens": 10, "iterations": [{**COMPACTION, "type": kind}, {"type": "message", "input_tokens": 23}]}
    own = Usage(prompt_tokens=23, output_tokens=10, at_list_prices=at_list_prices)
    beside = {"prompt_tokens": 210, "cached_tokens": 4, "cache_write_tokens": 3, "cache_write_1h_tokens": 2, "output_tokens": 45}
    expected = attrs.evolve(own, **beside) if billed else own
    streamed = StreamedUsage("messages")
    streamed.note({"usage": {"input_tokens": 23, "output_tokens": 1}})
    streamed.note({"usage": {"output_tokens": 10, "iterations": counts["iterations"]}})
    assert expected == usage_of("messages", {"usage": counts}) == streamed.tokens


@pytest.mark.parametrize("count", [-1, True, 1.5, math.inf, math.nan, 1e300, "7", 10**9, None, [7]])
def test_a_count_that_is_none_is_unknown(count: object) -> None:
    assert Usage() == usage_of("chat", {"usage": {"prompt_tokens": count, "total_tokens": 9}})


@pytest.mark.parametrize(("cached", "written"), [(101, 0), (0, 101), (60, 60), (10**7, 0)])
def test_cached_tokens_beyond_the_prompt_are_unknown(cached: int, written: int) -> None:
    details = {"cached_tokens": cached, "cache_write_tokens": written, "cache_write_tokens_details": {"ttl_12h_tokens": written}}
    counts = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details}
    assert Usage(prompt_tokens=100, output_tokens=5) == usage_of("chat", {"usage": counts})


def test_names_and_habits_of_other_servers() -> None:
    assert usage_of("chat", {"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 7}}).cached_tokens == 7
    assert usage_of("chat", {"usage": {"prompt_tokens": 9.0}}).prompt_tokens == 9
    assert usage_of("chat", {"usage": {"prompt_tokens": 9, "cached_tokens": 7}}).cached_tokens == 7
    qwen = {"cached_tokens": 0, "cache_creation_input_tokens": 7, "cache_creation": {"ephemeral_5m_input_tokens": 7}}
    assert usage_of("chat", {"usage": {"prompt_tokens": 9, "prompt_tokens_details": qwen}}).cache_write_tokens == 7
    litellm = {"cache_creation_tokens": 7, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 6}}
    usage = usage_of("chat", {"usage": {"prompt_tokens": 9, "cache_creation_input_tokens": 7, "prompt_tokens_details": litellm}})
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (7, 6)
    openai = {"cache_write_tokens": 7, "cache_write_tokens_details": {"ttl_30m_tokens": 2, "ttl_12h_tokens": 5}}
    assert usage_of("responses", {"usage": {"input_tokens": 9, "input_tokens_details": openai}}).cache_write_1h_tokens == 5


@pytest.mark.parametrize("prompt", [5, 3005])
def test_cached_tokens_that_only_the_total_counts_are_part_of_the_prompt(prompt: int) -> None:
    counts = {"prompt_tokens": prompt, "completion_tokens": 100, "total_tokens": 3105}
    portkey = {"cache_read_input_tokens": 2000, "cache_creation_input_tokens": 1000}
    expected = Usage(prompt_tokens=3005, cached_tokens=2000, cache_write_tokens=1000, output_tokens=100)
    assert expected == usage_of("chat", {"usage": {**counts, **portkey}})


@pytest.mark.parametrize(
    ("counts", "output", "reasoning"),
    [
        ({"completion_tokens": 4, "total_tokens": 33, "completion_tokens_details": {"reasoning_tokens": 20}}, 24, 20),
        ({"completion_tokens": 3, "total_tokens": 105}, 96, 93),
        ({"total_tokens": 105}, 96, 96),
        ({"completion_tokens": "96", "total_tokens": 105}, 96, None),
        ({"completion_tokens": 3, "total_tokens": 12}, 3, None),
        ({"completion_tokens": 3, "total_tokens": 105, "prompt_audio_seconds": 7}, 3, None),
        ({"completion_tokens": 3, "total_tokens": 0}, 3, None),
        ({"completion_tokens": 3, "total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 2}}, 3, 2),
    ],
    ids=["xAI", "Gemini", "Gemini, thinking only", "unreadable", "without reasoning", "Mistral, audio in the prompt", "wrong total", "OpenAI"],
)
def test_reasoning_that_only_the_total_counts_is_part_of_the_answer(counts: dict[str, Any], output: int, reasoning: int | None) -> None:
    usage = usage_of("chat", {"usage": {"prompt_tokens": 9, **counts}})
    assert (usage.output_tokens, usage.reasoning_tokens) == (output, reasoning)


@pytest.mark.parametrize(
    ("dialect", "fields", "counts", "expected"),
    [
        ("chat", {"service_tier": "default"}, {}, True),
        ("chat", {"service_tier": "on_demand"}, {}, True),
        ("chat", {"service_tier": None}, {}, True),
        ("chat", {"service_tier": ""}, {}, True),
        ("chat", {"service_tier": "Default"}, {}, True),
        ("chat", {"service_tier": "priority"}, {}, False),
        ("responses", {"service_tier": "flex"}, {}, False),
        ("responses", {"output": [{"type": "function_call"}, {"type": "message"}]}, {}, True),
        *(
            ("responses", {"output": [{"type": kind}]}, {}, False)
            for kind in ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
        ),
        ("messages", {}, {"service_tier": "standard", "speed": "standard", "inference_geo": "global", "server_tool_use": None}, True),
        ("messages", {}, {"service_tier": "STANDARD", "speed": ""}, True),
        ("messages", {}, {"service_tier": "priority"}, False),
        ("messages", {}, {"speed": "fast"}, False),
        ("messages", {}, {"inference_geo": "us"}, False),
        ("messages", {}, {"fallback_credit": {"status": {"type": "not_applied"}}}, True),
        ("messages", {}, {"fallback_credit": {"status": {"type": "redeemed"}}}, False),
        ("messages", {}, {"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 3}}, True),
        ("messages", {}, {"server_tool_use": {"web_search_requests": 2}}, False),
        ("chat", {}, {"prompt_tokens_details": {"audio_tokens": 0, "image_tokens": 9}, "completion_tokens_details": {"audio_tokens": 0}}, True),
        ("chat", {}, {"prompt_tokens_details": {"audio_tokens": 900}}, False),
        ("chat", {}, {"completion_tokens_details": {"audio_tokens": 950}}, False),
        ("chat", {}, {"completion_tokens_details": {"image_tokens": 1290}}, False),
        ("responses", {}, {"input_token_details": {"text_tokens": 0, "audio_tokens": 140}}, False),
        ("chat", {}, {"num_sources_used": 0, "prompt_audio_seconds": 0}, True),
        ("chat", {}, {"prompt_audio_seconds": 7}, False),
        *(("chat", {}, {name: 7}, False) for name in ("num_sources_used", "num_search_queries", "num_server_side_tools_used")),
        ("chat", {"choices": [{"message": {"content": "Hi", "annotations": []}}]}, {}, True),
        ("chat", {"choices": [{"message": {"content": "Hi", "annotations": [{"type": "url_citation"}]}}]}, {}, False),
        ("chat", {"choices": [{"message": {"content": "Hi", "annotations": [{"type": "file"}]}}]}, {}, True),
        ("responses", {}, {"input_tokens_details": {"image_tokens": 0}, "output_tokens_details": {"image_tokens": 1056}}, True),  # images API
        ("responses", {}, {"input_tokens_details": {"image_tokens": 388, "text_tokens": 9}}, False),  # an edit of images
        ("chat", {"model": "gpt-4o-mini-search-preview-2025-03-11"}, {}, False),
        ("chat", {"model": "gpt-4o-mini"}, {}, True),
        ("chat", {"choices": [{"message": {"content": "Hi", "executed_tools": [{"type": "search"}]}}]}, {}, False),
    ],
)
def test_another_tier_or_speed_and_billed_tools_are_not_at_list_prices(dialect: str, fields: Any, counts: Any, expected: bool) -> None:
    assert usage_of(dialect, {**fields, "usage": counts}).at_list_prices is expected
    for usage_first in (False, True):
        streamed = StreamedUsage(dialect)
        if usage_first:
            streamed.note({**fields, "choices": [], "usage": counts})
        for choice in fields.get("choices", []):
            streamed.note_delta(choice["message"])
        if not usage_first:
            streamed.note({**fields, "usage": counts})
        assert streamed.tokens.at_list_prices is expected


def test_a_later_event_without_a_cost_keeps_the_cost() -> None:
    streamed = StreamedUsage("chat")
    streamed.note({"usage": {"prompt_tokens": 1, "cost": 0.5}})
    streamed.note({"usage": {"prompt_tokens": 1}})
    assert streamed.cost_usd == 0.5


def test_parts_of_an_unknown_prompt_make_no_negative_count() -> None:
    found = usage_object("messages", Usage(cached_tokens=5, cache_write_1h_tokens=7))
    assert found["input_tokens"] == 0
    assert found["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}


def test_a_tool_of_the_server_in_the_event_of_the_usage_counts() -> None:
    reader, delta = reader_of("chat"), {"content": "Hi", "annotations": [{"type": "url_citation"}]}
    list(reader.read({"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}))
    assert not reader.usage.tokens.at_list_prices


@pytest.mark.parametrize(
    ("answer", "headers", "cost"),
    [
        ({"usage": {"cost": 0.5}}, {}, 0.5),
        ({"usage": {"cost": 0.1, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.4}}}, {}, 0.5),
        ({"usage": {"cost": 0.5, "is_byok": True, "cost_details": {}}}, {}, 0.5),
        ({"usage": {"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.4}}}, {}, 0.5),
        ({"usage": {"cost": {"total_cost": 0.5}}}, {}, 0.5),
        ({"usage": {"cost_in_usd_ticks": 5_000_000_000}}, {}, 0.5),
        ({"aamc": {"cost_usd": 0.5}}, {}, 0.5),
        ({}, {"x-litellm-response-cost": "0.5"}, 0.5),
        ({"usage": {"cost": 0.5}}, {"x-aamc-cost-usd": "9"}, 0.5),
        ({}, {"x-litellm-response-cost": "9", "x-aamc-cost-usd": "0.5"}, 0.5),
    ],
)
def test_a_servers_own_cost_is_read(answer: dict[str, Any], headers: dict[str, str], cost: float) -> None:
    assert cost == reported_cost(answer, headers)


@pytest.mark.parametrize("cost", [None, "much", -1, math.inf, 10**400, True, [], 1e9])
def test_a_cost_that_is_none_is_unknown(cost: object) -> None:
    assert math.isnan(reported_cost({"usage": {"cost": cost}}))
    assert math.isnan(reported_cost({}, {"x-litellm-response-cost": str(cost)}))


def test_usage_is_asked_for_in_streams_only() -> None:
    assert with_usage("chat", {"stream": True}) == {"stream": True, "stream_options": {"include_usage": True}}
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    assert asked == with_usage("chat", asked)
    assert with_usage("chat", {"a": 1}) == {"a": 1}
    assert with_usage("responses", {"stream": True}) == {"stream": True}


def test_usage_is_taken_out_of_a_chunk_and_a_chunk_of_usage_goes() -> None:
    assert without_usage(b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n') == b""
    assert without_usage(b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":1}}\n\n') == b'data: {"choices":[{"index":0}]}\n\n'
    assert without_usage(b'data: {"error":{"message":"no"},"usage":{"prompt_tokens":1}}\n\n') == b'data: {"error":{"message":"no"}}\n\n'
    assert without_usage(b'data: {"choices":[],"usage":null}\n\n') == b'data: {"choices":[]}\n\n'
    for event in (b"data: [DONE]\n\n", b": ping\n\n", b'data: {"choices":[]}\n\n', b'data: {"usage" broken\n\n'):
        assert event == without_usage(event)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": 1}, [], "yes"])
def test_a_request_wants_usage_only_if_it_says_so(options: object) -> None:
    assert not wants_usage({"stream": True, "stream_options": options})
    assert wants_usage({"stream_options": {"include_usage": True}})
