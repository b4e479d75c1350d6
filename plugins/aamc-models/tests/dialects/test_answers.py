"""Answers of servers with habits of their own, in another dialect."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from aamc_models.dialects import (
    KnownTools,
    StreamConverter,
    StreamMonitor,
    answer_events,
    answer_to_chat,
    convert_answer,
    convert_request,
    finish_reason,
    from_chat,
    plain_answer,
)
from aamc_models.dialects.events import data_of, event_of

from aamc_sdk.errors import DataError


def chat(message: dict[str, Any], reason: str = "stop", **choice: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": reason, **choice}]}


def streamed(target: str, *deltas: dict[str, Any], reason: str = "stop", source: str = "chat") -> list[dict[str, Any]]:
    converter = StreamConverter(source, target)
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    events = [f"data: {json.dumps({'id': 'chatcmpl-1', 'choices': [choice]})}\n\n".encode() for choice in choices]
    written = [event for one in [*events, b"data: [DONE]\n\n"] for event in converter.feed(one)]
    return [json.loads(event.partition(b"data: ")[2]) for event in written]


def call(identity: str, arguments: Any, index: int | None = 0) -> dict[str, Any]:
    return {**({} if index is None else {"index": index}), "id": identity, "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("model_length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
        ("eos", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_a_finish_reason_has_its_word_in_each_dialect(finish: Any, stop: str) -> None:
    assert stop == convert_answer("chat", "messages", chat({"content": "a"}, finish))["stop_reason"]
    response = convert_answer("chat", "responses", chat({"content": "a"}, finish))
    expected = {"length": "max_output_tokens", "model_length": "max_output_tokens", "content_filter": "content_filter"}.get(finish)
    assert (("incomplete", {"reason": expected}) if expected else ("completed", None)) == (response["status"], response["incomplete_details"])


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_the_finish_reason_of_an_answer_is_the_same_in_each_dialect(dialect: str, reason: str) -> None:
    calls = {"tool_calls": [call("a", "{}")]} if reason == "tool_calls" else {}
    answer = chat({"content": "a", **calls}, reason)
    assert reason == finish_reason(dialect, answer if dialect == "chat" else convert_answer("chat", dialect, answer))


@pytest.mark.parametrize("answer", [{}, {"choices": None}, {"choices": [1]}, {"choices": [{"finish_reason": 1}]}])
def test_an_answer_may_say_no_finish_reason(answer: Any) -> None:
    assert finish_reason("chat", answer) == finish_reason("messages", answer) == ""


def test_an_answer_with_calls_stops_for_them_whatever_the_server_says() -> None:
    assert convert_answer("chat", "messages", chat({"content": None, "tool_calls": [call("a", "{}")]}, "stop"))["stop_reason"] == "tool_use"


def test_a_stop_sequence_is_named() -> None:
    answer = convert_answer("chat", "messages", chat({"content": "a"}, "stop", stop_reason="END"))
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "END")
    back = answer_to_chat("messages", answer)["choices"][0]
    assert (back["finish_reason"], back["stop_reason"]) == ("stop", "END")


def test_a_refusal_after_some_text_is_kept_in_whole_answers_and_in_history_as_in_streams() -> None:
    message = {"role": "assistant", "content": "First. ", "refusal": "No more."}
    words = "First. No more."
    assert convert_answer("chat", "messages", chat(message))["content"] == [{"type": "text", "text": words}]
    sent = convert_request("chat", "responses", {"model": "m", "messages": [{"role": "user", "content": "x"}, message]}).body
    assert sent["input"][1]["content"] == [{"type": "output_text", "text": words}]


def test_a_refusal_is_text_for_anthropic_and_a_part_of_its_own_for_responses() -> None:
    refused = chat({"content": None, "refusal": "No."})
    assert convert_answer("chat", "messages", refused)["content"] == [{"type": "text", "text": "No."}]
    response = convert_answer("chat", "responses", refused)
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert answer_to_chat("responses", response)["choices"][0]["message"]["refusal"] == "No."
    assert response["output"] == streamed("responses", {"refusal": "N"}, {"refusal": "o."})[-1]["response"]["output"]


def test_arguments_that_are_no_json_stay_readable() -> None:
    for arguments in ('{"a": ', "[1]", "text"):
        block = convert_answer("chat", "messages", chat({"tool_calls": [call("a", arguments)]}, "tool_calls"))["content"][0]
        assert list(block["input"]) == ["arguments"]
    assert convert_answer("chat", "messages", chat({"tool_calls": [call("a", "")]}, "tool_calls"))["content"][0]["input"] == {}


@pytest.mark.parametrize("spelt", [None, [97]])
def test_logprobs_cross_to_responses_and_back_whole_and_streamed(spelt: list[int] | None) -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": spelt, "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": [98]}]}
    whole = convert_answer("chat", "responses", chat({"content": "a"}, logprobs={"content": [token], "refusal": None}))
    part = whole["output"][0]["content"][0]
    assert {**token, "bytes": spelt or []} == part["logprobs"][0]
    assert answer_to_chat("responses", whole)["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5


@pytest.mark.parametrize("target", ["messages", "responses"])
@pytest.mark.parametrize("index", [0, None])
def test_parallel_calls_with_one_index_are_told_apart_by_their_ids(target: str, index: int | None) -> None:
    deltas = [{"tool_calls": [call(identity, f'{{"n": "{identity}"}}', index)]} for identity in ("a", "b", "c")]
    events = streamed(target, *deltas, reason="tool_calls")
    if target == "responses":
        calls = [(item["call_id"], json.loads(item["arguments"])) for item in events[-1]["response"]["output"]]
    else:
        blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        pieces = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
        calls = [(block["id"], json.loads(piece)) for block, piece in zip(blocks, pieces, strict=True)]
    assert [(identity, {"n": identity}) for identity in ("a", "b", "c")] == calls


def id_and_arguments(target: str, events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The id and the arguments of each call in a stream."""
    if target == "responses":
        return [(item["call_id"], item["arguments"]) for item in events[-1]["response"]["output"]]
    blocks = {event["index"]: event["content_block"]["id"] for event in events if event["type"] == "content_block_start"}
    pieces = [(event["index"], event["delta"]["partial_json"]) for event in events if event["type"] == "content_block_delta"]
    return [(call_id, "".join(piece for index, piece in pieces if index == place)) for place, call_id in blocks.items()]


@pytest.mark.parametrize("target", ["messages", "responses"])
@pytest.mark.parametrize("missing", [{"id": ""}, {"id": None}, {}], ids=["empty", "null", "absent"])
def test_calls_without_ids_get_some(target: str, missing: dict[str, Any]) -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}, **missing} for n in (1, 2)]
    whole = convert_answer("chat", target, chat({"content": None, "tool_calls": calls}, "tool_calls"))
    whole_ids = [each.get("call_id") or each["id"] for each in whole["output" if target == "responses" else "content"]]
    together = streamed(target, {"tool_calls": [{**call, "index": 0} for call in calls]}, reason="tool_calls")
    pieces = [{**calls[0], "function": {"name": "f", "arguments": ""}}, {"function": {"arguments": '{"n":1}'}}, calls[1]]
    apart = streamed(target, *({"tool_calls": [{**piece, "index": 0}]} for piece in pieces), reason="tool_calls")
    for events in (together, apart):
        ids, arguments = zip(*id_and_arguments(target, events), strict=True)
        assert arguments == ('{"n":1}', '{"n":2}')
        whole_ids += ids
    assert len(set(whole_ids)) == 6
    assert all(re.fullmatch("call_[a-z0-9]{24}", call_id) for call_id in whole_ids)


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ([("f", '{"n":1}'), ("f", "")], ['{"n":1}']),
        ([("f", '{"n":1}'), ("f", "\n")], ['{"n":1}\n']),
        ([("f", '{"n"'), ("f", ":1}")], ['{"n":1}']),
        ([("f", '{"n":1}'), ("f", '{"n":2}')], ['{"n":1}', '{"n":2}']),
        ([("f", '{"n":1}'), ("f", ""), ("", '{"n"'), ("", ":2}")], ['{"n":1}', '{"n":2}']),
        ([("f", '{"n":1}'), ("g", ""), ("", "{}")], ['{"n":1}', "{}"]),
    ],
)
def test_without_ids_more_arguments_or_another_name_begin_a_call(pieces: list[tuple[str, str]], arguments: list[str]) -> None:
    deltas = [{"tool_calls": [{"index": 0, "function": {"name": name, "arguments": words}}]} for name, words in pieces]
    called = id_and_arguments("responses", streamed("responses", *deltas, reason="tool_calls"))
    assert [words for _, words in called] == arguments


@pytest.mark.parametrize("target", ["messages", "responses"])
def test_a_number_as_the_id_of_a_call_is_named(target: str) -> None:
    call_5 = {"id": 5, "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "S"}}}
    with pytest.raises(DataError, match=r"choices\[0\]\.message\.tool_calls\[0\]\.id must be a string, not 5"):
        convert_answer("chat", target, chat({"content": None, "tool_calls": [call_5]}, "tool_calls"))


def test_an_id_that_is_repeated_with_every_piece_is_one_call() -> None:
    events = streamed("messages", {"tool_calls": [call("a", '{"n"')]}, {"tool_calls": [call("a", ": 1}")]}, reason="tool_calls")
    assert sum(event["type"] == "content_block_start" for event in events) == 1


def test_arguments_as_an_object_are_written_as_text() -> None:
    events = streamed("responses", {"tool_calls": [call("a", {"n": 1})]}, reason="tool_calls")
    assert events[-1]["response"]["output"][0]["arguments"] == '{"n":1}'


def test_signed_thinking_in_pieces_becomes_one_block() -> None:
    blocks = [{"type": "thinking", "thinking": "ab", "signature": None}, {"type": "thinking", "thinking": "", "signature": "sig"}]
    events = streamed("messages", {"reasoning_content": "ab", "thinking_blocks": blocks[:1]}, {"thinking_blocks": blocks[1:]}, {"content": "c"})
    starts = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    deltas = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]
    assert (starts, deltas) == (["thinking", "text"], ["thinking_delta", "signature_delta", "text_delta"])


@pytest.mark.parametrize("target", ["messages", "responses"])
def test_content_in_parts_crosses_whole_and_streamed(target: str) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}  # as Mistral's models that reason give it
    parts = [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}]
    deltas = [event.get("delta") for event in streamed(target, {"content": [thought]}, {"content": parts}, {"content": "b"})]
    words = [delta.get("thinking", delta.get("text")) if isinstance(delta, dict) else delta for delta in deltas]
    assert [piece for piece in words if piece] == ["hm", "a", "b"]
    whole = json.dumps(convert_answer("chat", target, chat({"content": [thought, *parts]})))
    assert (whole.count('"hm"'), whole.count('"a"')) == (1, 1)


def test_signatures_cross_in_streams_between_messages_and_responses() -> None:
    deltas = [{"reasoning_content": "hm"}, {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}]}, {"content": "a"}]
    reasoning = streamed("responses", *deltas)[-1]["response"]["output"][0]
    assert (reasoning["summary"], reasoning["encrypted_content"]) == ([{"type": "summary_text", "text": "hm"}], "sig")


@pytest.mark.parametrize(("kind", "expected"), [("overloaded_error", "overloaded_error"), ("server_error", "api_error")])
def test_only_an_error_of_an_overloaded_server_is_one_in_a_stream_of_messages(kind: str, expected: str) -> None:
    converter = StreamConverter("chat", "messages")
    (written,) = converter.feed(event_of({"error": {"type": kind, "message": "Later."}}))
    assert json.loads(data_of(written))["error"] == {"type": expected, "message": "Later."}


def test_the_text_with_which_a_block_of_messages_begins_is_part_of_it() -> None:
    converter = StreamConverter("messages", "chat")
    events = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Par"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "is"}},
    ]
    written = [json.loads(data_of(made)) for event in events for made in converter.feed(event_of(event))]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in written] == ["Par", "is"]


def test_a_part_of_a_streamed_response_ends_before_the_next_one_begins() -> None:
    kinds = [event["type"].removeprefix("response.") for event in streamed("responses", {"content": "a"}, {"refusal": "No."})]
    ends = ["output_text.done", "content_part.done", "content_part.added", "refusal.delta", "refusal.done", "content_part.done"]
    begin = kinds.index("output_text.done")
    assert ends == kinds[begin : begin + len(ends)]


def test_a_cut_stream_is_not_closed() -> None:
    for target in ("chat", "messages", "responses", "completions"):
        converter = StreamConverter("chat", target)
        converter.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n')
        assert converter.feed(b"data: [DONE]\n\n") == []
        assert converter.end() == []


def test_a_stream_without_its_done_is_closed_at_the_end() -> None:
    converter = StreamConverter("chat", "messages")
    converter.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n')
    assert converter.end()[-1].startswith(b"event: message_stop")
    assert converter.end() == []


@pytest.mark.parametrize("index", ["null", '"0"', "0.0", "true", "[]"])
@pytest.mark.parametrize("target", ["messages", "responses"])
def test_a_choice_whose_index_is_no_whole_number_is_the_first_one(target: str, index: str) -> None:
    event = f'data: {{"choices": [{{"index": {index}, "delta": {{"content": "a"}}, "finish_reason": "stop"}}]}}\n\n'.encode()
    converter, monitor = StreamConverter("chat", target), StreamMonitor("chat")
    events = converter.feed(event)
    monitor.feed(event)
    assert monitor.finished
    assert any(b'"a"' in each for each in events)
    assert converter.end()


def test_the_models_name_and_a_reported_cost_are_kept() -> None:
    answer = {**chat({"content": "a"}), "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.25}}
    for target in ("chat", "messages", "responses", "completions"):
        converted = convert_answer("chat", target, answer, "aamc/auto")
        assert (converted["model"], converted["usage"]["cost"]) == ("aamc/auto", 0.25)


@pytest.mark.parametrize("usage", [[1], "str", 5])
def test_a_usage_that_is_no_object_is_none(usage: object) -> None:
    answer, without = {**chat({"content": "a"}), "usage": usage}, chat({"content": "a"})
    for target in ("messages", "responses"):
        assert convert_answer("chat", target, answer)["usage"] == convert_answer("chat", target, without)["usage"]
        assert b'"a"' in answer_events(answer, target, "m", shows_usage=True)
    completion = {**convert_answer("chat", "completions", without), "usage": usage}
    assert answer_to_chat("completions", completion)["usage"] == {}


def test_choices_cross_to_completions() -> None:
    answer = chat({"content": "a"})
    answer["choices"].append({"index": 1, "message": {"content": "b"}, "finish_reason": "length"})
    completion = convert_answer("chat", "completions", answer)
    assert [(choice["text"], choice["index"]) for choice in completion["choices"]] == [("a", 0), ("b", 1)]
    completion["choices"][0]["finish_reason"] = None
    for crossed in (completion, answer_to_chat("completions", completion)):
        assert crossed["choices"][1]["finish_reason"] == "length"
    assert crossed["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("created", [None, "now", 0, -1, 1e300])
def test_an_answer_without_a_possible_time_gets_the_present_one(created: object) -> None:
    answer = {**chat({"content": "a"}), "created": created}
    before = int(time.time())
    assert before <= convert_answer("chat", "completions", answer)["created"] <= time.time()
    assert before <= convert_answer("chat", "responses", answer)["created_at"] <= time.time()


def test_blocks_of_thinking_are_numbered_in_a_stream_and_lose_the_number_on_the_way_back() -> None:
    reader, blocks = StreamConverter("messages", "chat"), []
    for index, block in enumerate(({"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"})):
        for kind, fields in (("content_block_start", {"content_block": block}), ("content_block_stop", {})):
            for written in reader.feed(f"data: {json.dumps({'type': kind, 'index': index, **fields})}\n\n".encode()):
                blocks += json.loads(written[5:])["choices"][0]["delta"].get("thinking_blocks", [])
    assert [block["index"] for block in blocks] == [0, 1]
    body = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thinking_blocks": blocks}]}
    sent = from_chat("messages", body).body["messages"][1]["content"]
    assert sent[:2] == [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]


def piece(identity: str = "", name: str = "", arguments: str = "", index: int = 0) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **({"id": identity} if identity else {}), "function": {"name": name, "arguments": arguments}}]}


CALLS = {
    "the name after the id": ([piece("c1"), piece(name="look"), piece(arguments="{}")], ["look"]),
    "a name in pieces": ([piece("c1", "lo"), piece(name="ok"), piece(arguments="{}")], ["look"]),
    "the name in each piece": ([piece("c1", "look"), piece(name="look", arguments="{"), piece(name="look", arguments="}")], ["look"]),
    "no arguments": ([piece("c1", "look")], ["look"]),
    "two calls": ([piece("c1"), piece(name="look"), piece("c2", "se", index=1), piece(name="e", arguments="{}", index=1)], ["look", "see"]),
    "an old call": ([{"function_call": {"name": "look", "arguments": ""}}, {"function_call": {"arguments": "{}"}}], ["look"]),
}


@pytest.mark.parametrize("form", CALLS)
def test_a_streamed_call_has_its_whole_name(form: str) -> None:
    deltas, names = CALLS[form]
    events = streamed("messages", *deltas, reason="tool_calls")
    assert [event["content_block"]["name"] for event in events if event["type"] == "content_block_start"] == names
    output = streamed("responses", *deltas, reason="tool_calls")[-1]["response"]["output"]
    assert [item["name"] for item in output] == names


def test_reasoning_while_a_tool_call_is_open_follows_it_in_a_messages_stream() -> None:
    deltas = [piece("c1", "look", "{"), {"reasoning_content": "hm"}, piece(arguments="}"), {"content": "a"}]
    events = streamed("messages", *deltas, reason="tool_calls")
    assert [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"] == ["tool_use", "thinking", "text"]
    deltas_of = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("partial_json", "") for delta in deltas_of) == "{}"
    assert {"type": "thinking_delta", "thinking": "hm"} in deltas_of


@pytest.mark.parametrize("target", ["messages", "responses"])
def test_a_call_without_arguments_that_comes_after_the_finish_is_kept(target: str) -> None:
    converter = StreamConverter("chat", target)
    choices = [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}, {"index": 0, "delta": {"tool_calls": [call("c", "")]}}]
    events = [f"data: {json.dumps({'id': 'chatcmpl-1', 'choices': [choice]})}\n\n".encode() for choice in choices]
    written = b"".join(event for one in [*events, b"data: [DONE]\n\n"] for event in converter.feed(one))
    assert b'"name":"f"' in written


def test_a_call_without_arguments_has_an_empty_object_in_responses_whole_and_streamed() -> None:
    whole = convert_answer("chat", "responses", chat({"tool_calls": [call("a", "")]}, "tool_calls"))
    events = streamed("responses", {"tool_calls": [call("a", "")]}, reason="tool_calls")
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert [done["arguments"], *(each["output"][0]["arguments"] for each in (whole, events[-1]["response"]))] == ["{}"] * 3


@pytest.mark.parametrize("arguments", ["", '{"a'])
def test_a_call_that_is_cut_at_the_limit_is_incomplete_in_responses_whole_and_streamed(arguments: str) -> None:
    calls = [call("a", "{}"), call("b", arguments, 1)]
    whole = convert_answer("chat", "responses", chat({"content": "I call.", "tool_calls": calls}, "length"))
    *events, end = streamed("responses", {"content": "I call."}, {"tool_calls": calls}, reason="length")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    for output in (whole["output"], done, end["response"]["output"]):
        found = [(item["status"], item.get("arguments")) for item in output]
        assert found == [("completed", None), ("completed", "{}"), ("incomplete", arguments)]


def test_a_text_that_is_cut_at_the_limit_is_incomplete_in_responses_whole_and_streamed() -> None:
    whole = convert_answer("chat", "responses", chat({"content": "Once"}, "length"))
    end = streamed("responses", {"content": "Once"}, reason="length")[-1]
    assert [each["output"][0]["status"] for each in (whole, end["response"])] == ["incomplete"] * 2


@pytest.mark.parametrize("target", ["chat", "messages"])
@pytest.mark.parametrize("status", ["cancelled", "in_progress", "queued", "failed"])
def test_a_response_that_has_not_ended_well_is_no_answer(status: str, target: str) -> None:
    with pytest.raises(DataError, match=f"status must be completed or incomplete, not '{status}'"):
        convert_answer("responses", target, {"status": status, "output": []})


def test_a_response_that_is_cut_at_its_limit_says_so() -> None:
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}]
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": output}
    assert convert_answer("responses", "chat", cut)["choices"][0]["finish_reason"] == "length"
    assert convert_answer("responses", "messages", cut)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("source", ["chat", "messages", "completions"])
def test_a_converted_response_says_that_no_server_keeps_it(source: str) -> None:
    answer = convert_answer("chat", source, chat({"content": "a"}))
    assert convert_answer(source, "responses", answer)["store"] is False
    events = streamed("responses", {"content": "a"})
    assert [event["response"]["store"] for event in events if "response" in event] == [False, False, False]


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    {"type": "text", "text": "a"},
    {"type": "reference", "reference_ids": [1]},
]


def test_an_answer_in_parts_becomes_text_and_thinking() -> None:
    answer = {**chat({"content": PARTS}), "usage": {"total_tokens": 5}}
    expected = {"content": "a", "reasoning_content": "Hm."}
    assert plain_answer(answer) == {**answer, "choices": [{**answer["choices"][0], "message": expected}]}


@pytest.mark.parametrize("content", ["a", None, [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}, {"type": "text", "text": "a"}]])
def test_an_answer_keeps_what_is_no_text(content: Any) -> None:
    answer = chat({"content": content})
    assert plain_answer(answer) == answer


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": PARTS}, True),
        ({"tool_calls": [call("a", "{}", None)]}, True),
        ({"content": "a"}, False),
        ({"tool_calls": [call("a", "{}")]}, False),
    ],
)
def test_a_stream_in_a_servers_own_form_is_noticed(delta: dict[str, Any], expected: bool) -> None:
    monitor = StreamMonitor("chat")
    for each in (delta, {"content": "a"}):
        monitor.feed(event_of({"choices": [{"index": 0, "delta": each}]}))
    assert monitor.deviates is expected


@pytest.mark.parametrize("target", ["messages", "responses", "completions"])
@pytest.mark.parametrize("missing", [{"id": ""}, {}])
def test_an_answer_without_an_id_gets_one_of_its_own(target: str, missing: dict[str, str]) -> None:
    """Azure's first chunk, with its filters' results, has an empty id. Clients tell messages apart by their ids."""
    whole = {"model": "m", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}], **missing}
    chunks: list[dict[str, Any]] = [
        {**missing, "choices": []},
        *({"choices": [{"index": 0, "delta": {"content": each}, "finish_reason": None}]} for each in "ab"),
    ]

    def ids() -> list[str]:
        converter = StreamConverter("chat", target)
        events = [json.loads(data_of(event)) for chunk in chunks for event in converter.feed(event_of(chunk))]
        found = [each.get("message", each.get("response", each)).get("id") for each in events]
        return [convert_answer("chat", target, whole)["id"], *dict.fromkeys(filter(None, found))]

    assert len({*ids(), *ids()}) == 4


def test_a_call_has_no_id_of_an_earlier_one_in_messages() -> None:
    """Some servers count the calls of each answer; Claude Code, which knows calls by their ids alone, then asked for the same one for ever."""
    used = [{"type": "tool_use", "id": each, "name": "f", "input": {}} for each in ("call_0", "call_0_2", "f_1")]
    tools = KnownTools.of({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": used}]}, "messages")
    calls = [call(identity, "{}", index) for index, identity in enumerate(("call_0", "f:1", "call_1"))]
    whole = convert_answer("chat", "messages", chat({"tool_calls": calls}, "tool_calls"), tools=tools)
    converter = StreamConverter("chat", "messages", tools=tools)
    deltas: list[dict[str, Any]] = [
        {"tool_calls": [{**each, "function": {"name": "f", "arguments": piece}}]} for each in calls for piece in ("{", "}")
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas] + [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    ]
    events = [json.loads(data_of(event)) for chunk in chunks for event in converter.feed(event_of(chunk))] + list(
        map(json.loads, map(data_of, converter.end()))
    )
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [block["id"] for block in whole["content"]] == [block["id"] for block in blocks] == ["call_0_3", "f_1_2", "call_1"]
