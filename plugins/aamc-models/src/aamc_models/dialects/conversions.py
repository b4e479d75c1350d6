"""Conversions of requests, whole answers and streamed ones, by the table of the dialects."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from aamc_models.dialects import chat, completions
from aamc_models.dialects.content import calls_of, result_id
from aamc_models.dialects.conversations.foreign_state import last_call
from aamc_models.dialects.events import data_of, object_of
from aamc_models.dialects.fields import JSON, check_dialect, mapping, objects, objects_or_empty
from aamc_models.dialects.known_tools import KnownTools
from aamc_models.dialects.messages import answers as messages_answers
from aamc_models.dialects.messages.claude_rules import claude_rules, has_version, leave_out_force
from aamc_models.dialects.messages.from_chat import request_from_chat as messages_from_chat
from aamc_models.dialects.messages.thinking import add_thinking, fit_thinking, leave_out_clearing, sampling_names, settle_sampling
from aamc_models.dialects.messages.to_chat import request_to_chat as messages_to_chat
from aamc_models.dialects.responses import answers as responses_answers
from aamc_models.dialects.responses.from_chat import request_from_chat as responses_from_chat
from aamc_models.dialects.responses.stream import ResponsesReader, ResponsesWriter
from aamc_models.dialects.responses.to_chat import request_to_chat as responses_to_chat
from aamc_models.dialects.tracked_object import TrackedObject
from aamc_sdk.errors import DataError

OUTPUT_LIMITS: Mapping[str, Sequence[str]] = {
    "chat": ("max_tokens", "max_completion_tokens"),
    "messages": ("max_tokens",),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
"""The fields that limit the tokens of an answer, by dialect."""
DEFAULT_MAX_TOKENS = 8192
"""The maximum tokens of an answer if nothing else limits them and the dialect requires a limit."""
_EFFORTS = ("reasoning_effort", "reasoning", "thinking")
"""Parameters that say how much a candidate thinks: a pool may hold the same model at two efforts, and the router has chosen one."""
_RESULTS = ("tool", "function")
"""The roles of messages with a tool's result."""
_NO_TOOLS = KnownTools()


class _Dialect(NamedTuple):
    """The conversions of one dialect from and to chat."""

    request_to_chat: Callable[[JSON, set[str]], dict[str, Any]]
    request_from_chat: Callable[..., dict[str, Any]]
    answer_to_chat: Callable[[JSON], dict[str, Any]]
    answer_from_chat: Callable[[JSON, str], dict[str, Any]]
    reader: type[chat.ChatReader]
    writer: type[chat.ChatWriter]


_DIALECTS = {
    "chat": _Dialect(chat.check_request, chat.plain_request, chat.named_answer, chat.named_answer, chat.ChatReader, chat.ChatWriter),
    "messages": _Dialect(
        messages_to_chat,
        messages_from_chat,
        messages_answers.answer_to_chat,
        messages_answers.answer_from_chat,
        messages_answers.MessagesReader,
        messages_answers.MessagesWriter,
    ),
    "responses": _Dialect(
        responses_to_chat,
        responses_from_chat,
        responses_answers.answer_to_chat,
        responses_answers.answer_from_chat,
        ResponsesReader,
        ResponsesWriter,
    ),
    "completions": _Dialect(
        completions.request_to_chat,
        completions.request_from_chat,
        completions.answer_to_chat,
        completions.answer_from_chat,
        completions.CompletionsReader,
        completions.CompletionsWriter,
    ),
}


def _dialect(name: str) -> _Dialect:
    check_dialect(name)
    return _DIALECTS[name]


@attrs.frozen
class Converted:
    """A request in another dialect.

    Attributes:
        body: The request.
        dropped: The fields that the other dialect cannot express, such as ``"logit_bias"``, in alphabetical order: those that the conversion has
            not read, and those that it has read and that have no equivalent.
    """

    body: dict[str, Any]
    dropped: list[str] = attrs.field(factory=list)


def to_chat(dialect: str, body: Mapping[str, Any]) -> Converted:
    """Return a request as OpenAI chat, with the extensions that :func:`from_chat` understands (``thinking_blocks``, ``cache_control``)."""
    conversions, given, dropped = _dialect(dialect), mapping(body, "the body"), set[str]()
    if dialect == "chat":  # nothing is left out
        return Converted(chat.check_request(given, dropped))
    tracked = TrackedObject(given)
    converted = conversions.request_to_chat(tracked, dropped)
    return Converted(converted, sorted(dropped.union(tracked.unread())))


def from_chat(
    dialect: str,
    body: Mapping[str, Any],
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    parameters: Mapping[str, Any] | None = None,
    reasons: bool = True,
    claude_model: str = "",
    model: str = "",
) -> Converted:
    """Return a canonical request in a dialect; for ``"chat"``, without the extensions.

    Args:
        dialect: The dialect to return.
        body: The canonical request.
        max_tokens: The maximum tokens of the answer if nothing else limits them and the dialect requires a limit, as ``messages`` does; the
            budget of the candidate's thinking is added.
        parameters: The candidate's parameters, in the dialect to return, which a provider adds where the body has none. An effort among them
            has priority over that of the body; thinking that the API would refuse, as in the middle of tool calls, is switched off.
        reasons: Whether the model reasons; without it, a ``reasoning_effort`` is left out, since servers refuse it for other models.
        claude_model: The model whose rules a request of ``messages`` follows, see :func:`aamc_models.dialects.messages.claude_rules.claude_rules`.
        model: The candidate, as :func:`convert_answer` names it; state that its server demands back, and clients of other dialects return, is for it.
    """
    conversions, dropped, own = _dialect(dialect), set[str](), parameters or {}
    mapping(body, "the body")
    if dialect != "completions":  # a transcript may hold anything
        body = _with_results_after_calls(body)
    has_effort = any(name in own for name in _EFFORTS) or "effort" in (own.get("output_config") or {})
    if body.get("reasoning_effort") is not None and (has_effort or not reasons):
        body = {name: value for name, value in body.items() if name != "reasoning_effort"}
        dropped.add("reasoning_effort")
    tracked = TrackedObject(body)
    more = {"chat": (model,), "messages": (max_tokens, own, claude_model)}.get(dialect, ())
    converted = conversions.request_from_chat(tracked, dropped, *more)
    return Converted(converted, sorted(dropped.union(tracked.unread())))


def _with_results_after_calls(body: JSON) -> JSON:
    """Return a canonical request with each tool result directly after the message of its call, as servers of chat and messages want them.

    Responses may have other messages in between.

    Raises:
        DataError: A result has no call, or a call has no result: every server refuses that in its own words.
    """
    messages = list(objects(body.get("messages"), "messages"))
    results: defaultdict[str, deque[JSON]] = defaultdict(deque)  # an id may be used again, such as that of a function_call
    for field, message in messages:
        if message.get("role") in _RESULTS:
            results[result_id(message, field)].append(message)
    ordered: list[Any] = []
    called: set[str] = set()
    for field, message in messages:
        if message.get("role") in _RESULTS:
            continue
        ordered.append(message)
        for call in calls_of(message, field) if message.get("role") == "assistant" else ():
            if not results[call.id]:
                raise DataError(f"the tool call {call.id!r:.80} has no result; add it after the assistant's message, or leave out the call")
            ordered.append(results[call.id].popleft())
            called.add(call.id)
    if alone := [call_id for call_id, left in results.items() if left]:
        if alone[0] in called:
            raise DataError(f"the tool call {alone[0]!r:.80} has more than one result; leave out the others")
        raise DataError(f"the tool result {alone[0]!r:.80} answers no tool call; add the assistant's message with the call before it")
    return {**body, "messages": ordered} if results else body


def convert_request(
    source: str,
    target: str,
    body: Mapping[str, Any],
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    parameters: Mapping[str, Any] | None = None,
    reasons: bool = True,
    claude_model: str = "",
    model: str = "",
) -> Converted:
    """Return a request in another dialect, as :func:`to_chat` and :func:`from_chat` do; the same body if the dialects are the same.

    Even then, a request of ``messages`` is fitted to its model and to the candidate's parameters.
    """
    check_dialect(target)
    if source == target:
        same, dropped, own = dict(mapping(body, "the body")), set[str](), parameters or {}
        if target == "messages":
            rules = claude_rules(claude_model)
            if has_version(claude_model):  # else the client's fields may be right
                leave_out_force(same, dropped, rules)
                fit_thinking(same, dropped, rules)
            if rules.is_adaptive:
                dropped.update(sampling_names(own) - same.keys())  # the provider leaves them out
            else:
                settle_sampling(same, own, dropped)
            if "thinking" not in same:
                add_thinking(same, own.get("reasoning_effort"), own, dropped, rules)
            leave_out_clearing(same, dropped)
        return Converted(same, sorted(dropped))
    canonical = to_chat(source, body)
    converted = from_chat(
        target, canonical.body, max_tokens=max_tokens, parameters=parameters, reasons=reasons, claude_model=claude_model, model=model
    )
    return Converted(converted.body, sorted({*canonical.dropped, *converted.dropped}))


def answer_to_chat(dialect: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole answer as an OpenAI chat completion."""
    return _dialect(dialect).answer_to_chat(mapping(answer, "the answer"))


def finish_reason(dialect: str, answer: Mapping[str, Any]) -> str:
    """Return why a whole answer has ended, in the words of ``chat`` and by its first choice; ``""`` if it does not say."""
    if dialect == "messages":
        return messages_answers.finish_reason_of(answer["stop_reason"]) if answer.get("stop_reason") else ""
    if dialect == "responses":
        return responses_answers.finish_reason_of(answer, last_call(dialect, answer.get("output")) is not None)
    first = next(iter(objects_or_empty(answer.get("choices"))), {})
    reason = first.get("finish_reason")
    return reason if isinstance(reason, str) else ""


def convert_answer(source: str, target: str, answer: Mapping[str, Any], model: str = "", tools: KnownTools = _NO_TOOLS) -> dict[str, Any]:
    """Return a whole answer in another dialect, or in the same one, with the model's name unless that is empty.

    ``tools`` are those of the request.
    """
    conversions = _dialect(target)
    if source == target:
        return {**mapping(answer, "the answer"), **({"model": model} if model else {})}
    return conversions.answer_from_chat(tools.adapt(answer_to_chat(source, answer)), model)


def reader_of(dialect: str) -> chat.ChatReader:
    """Return a reader of a stream's events, as chunks of chat."""
    return _dialect(dialect).reader()


def writer_of(dialect: str, model: str) -> chat.ChatWriter:
    """Return a writer of chunks of chat as events with a model's name; that of the chunks when empty."""
    return _dialect(dialect).writer(model)


class StreamConverter:
    """Converts the server-sent events of a streamed answer to another dialect.

    Args:
        source: The dialect of the events that come in.
        target: The dialect of the events that go out.
        model: The model's name in the events that go out; that of the source when empty.
        tools: The tools of the request, see :func:`convert_answer`.

    Raises:
        DataError: A dialect is unknown.
    """

    def __init__(self, source: str, target: str, model: str = "", tools: KnownTools = _NO_TOOLS) -> None:
        self._reader, self._writer, self._tools = reader_of(source), writer_of(target, model), tools

    def feed(self, event: bytes) -> list[bytes]:
        """Return the events that one event becomes; each ends with an empty line.

        Raises:
            DataError: The event is not of the source's dialect.
        """
        data = object_of(event)
        if data is None:
            return self._writer.end() if data_of(event) == b"[DONE]" else []
        events = [written for chunk in self._reader.read(data) for written in self._writer.write(self._tools.adapt(chunk))]
        return [*events, *self._writer.end()] if self._reader.finished else events

    def end(self) -> list[bytes]:
        """Return the closing events that have not come yet once the source has ended; none if it was cut before its finish."""
        return self._writer.end()
