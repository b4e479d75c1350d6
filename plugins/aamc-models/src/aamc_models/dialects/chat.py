"""Chat, OpenAI's chat completions: the canonical form of requests, answers and streams."""

from __future__ import annotations

import abc
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from aamc_models.dialects.carried_state import CALL_STATE, add_details, carried_signature, details_of, restored_state
from aamc_models.dialects.content import ITEM, OLD_CALL, arguments_text, choice_number, chosen, creation_time, identity, is_set, made_id, text_of
from aamc_models.dialects.error_bodies import error_event, error_in, error_message, kind_of
from aamc_models.dialects.events import DONE, event_of, object_of
from aamc_models.dialects.fields import JSON, items, mapping, object_or_empty, objects, objects_or_empty, optional_text, text, wrong
from aamc_models.dialects.token_usage import StreamedUsage, reported_cost

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_STOPS = 4
"""OpenAI accepts no more stop sequences."""
_TEXT_ROLES = ("system", "developer", "tool")
"""Roles whose content many servers take as a string only."""
_CALLS = ("tool_calls", "function_call")
_PLAIN_PARTS = ("text", "thinking", "reference")
"""Types of the parts of Mistral's answers, whose text and thinking can be told in OpenAI's form."""
_THOUGHTS = ("reasoning_content", "reasoning", "thinking_blocks")


def check_request(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a request whose messages have the right form; one with ``functions`` asks for a single call, as its client reads one."""
    for field, message in objects(body.get("messages"), "messages"):
        if message.get("role") not in ROLES:
            raise wrong(f"{field}.role", ", ".join(ROLES[:-1]), message.get("role"))
        if isinstance(message.get("content"), list):
            for place, part in objects(message["content"], f"{field}.content"):
                text(part.get("type"), f"{place}.type")
    return {**body, "parallel_tool_calls": False} if is_set(body.get("functions")) else dict(body)


def plain_request(body: JSON, dropped: set[str], model: str) -> dict[str, Any]:
    """Return a canonical request without extensions: cache marks, thinking and ``top_k``.

    State that thinking carries for the candidate, ``model``, returns to the fields where its server wrote it.
    """
    plain = {name: value for name, value in body.items() if name != "top_k"}
    if is_set(body.get("top_k")):
        dropped.add("top_k")
    plain["messages"] = [_plain_message(message, field, dropped, model) for field, message in objects(body.get("messages"), "messages")]
    if body.get("tools") is not None:
        plain["tools"] = [_unmarked(tool, dropped) for _, tool in objects(body["tools"], "tools")]
    if isinstance(body.get("stop"), list) and len(body["stop"]) > MAX_STOPS:
        plain["stop"] = items(body["stop"], "stop")[:MAX_STOPS]
        dropped.add("stop")
    return plain


def _plain_message(message: JSON, field: str, dropped: set[str], model: str) -> dict[str, Any]:
    plain = {name: value for name, value in _unmarked(message, dropped).items() if name not in _THOUGHTS}
    if any(is_set(message.get(name)) for name in _THOUGHTS):
        restored, is_complete = restored_state(message, model)
        plain.update(restored)
        if not is_complete:
            dropped.add("content.thinking")
    if isinstance(message.get("content"), list):
        parts = [_unmarked(part, dropped) for _, part in objects(message["content"], f"{field}.content")]
        plain["content"] = parts
        if plain.get("role") in _TEXT_ROLES and all(part.get("type") == "text" for part in parts):
            plain["content"] = "\n\n".join(text(part.get("text"), f"{field}.content.text") for part in parts)
    return plain


def _unmarked(value: JSON, dropped: set[str]) -> dict[str, Any]:
    if "cache_control" in value:
        dropped.add("cache_control")
    return {name: entry for name, entry in value.items() if name != "cache_control"}


def chat_answer(source: JSON, choices: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion with the id, the model, the time and the reported cost of an answer in another dialect."""
    cost = reported_cost(source)
    return {
        "id": identity(source.get("id"), "chatcmpl-"),
        "object": "chat.completion",
        "created": creation_time(source),
        "model": optional_text(source.get("model"), "model"),
        "choices": choices,
        "usage": usage if cost != cost else {**usage, "cost": cost},
    }


def first_choice(answer: JSON) -> dict[str, Any]:
    """Return the first choice of a chat completion, whose tool calls have ids."""
    choices = items(answer.get("choices"), "choices")
    choice = mapping(choices[0] if choices else None, "choices[0]")
    message = mapping(choice.get("message"), "choices[0].message")
    calls = objects(message.get("tool_calls"), "choices[0].message.tool_calls")
    known = [{**call, "id": made_id(optional_text(call.get("id"), f"{field}.id"))} for field, call in calls]
    return {**choice, "message": {**message, "tool_calls": known}}


def reasoning_of(message: JSON) -> str:
    """Return the reasoning of a chat message or delta, by the names that servers give it; Mistral's is among the parts of the content."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join([text_of(part.get("thinking"), "content.thinking") for part in objects_or_empty(content)])
    for name in ("reasoning_content", "reasoning"):
        if message.get(name) is not None:
            return optional_text(message[name], name)
    return ""


def named_answer(answer: JSON, model: str = "") -> dict[str, Any]:
    """Return a chat completion with another model's name, unless that is empty."""
    for field, choice in objects(answer.get("choices"), "choices"):
        mapping(choice.get("message"), f"{field}.message")
    return {**answer, **({"model": model} if model else {})}


def deviates(message: JSON) -> bool:
    """Return whether an answer's message or delta is not in OpenAI's form: its text or thinking is in parts, or a piece of a call has no number."""
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, dict) and part.get("type") in _PLAIN_PARTS for part in content)
    return any(type(call.get("index")) is not int for call in objects_or_empty(message.get("tool_calls")))


def plain_answer(answer: JSON) -> JSON:
    """Return a chat completion with its text as a string and its thinking as ``reasoning_content``; the same one if it is in this form."""
    choices = [choice for _, choice in objects(answer.get("choices"), "choices")]
    messages = [mapping(choice.get("message"), "message") for choice in choices]
    if not any(isinstance(message.get("content"), list) for message in messages):
        return answer
    return {**answer, "choices": [{**choice, "message": _plain(message)} for choice, message in zip(choices, messages, strict=True)]}


def _plain(message: JSON) -> dict[str, Any]:
    if not (isinstance(message.get("content"), list) and deviates(message)):
        return dict(message)
    reasoning = reasoning_of(message)
    return {**message, "content": text_of(message["content"], "content"), **({"reasoning_content": reasoning} if reasoning else {})}


class ChatReader:
    """Reads the events of chat; the base class of other dialects' readers, which make chunks of chat of their events.

    Attributes:
        usage: The tokens and the cost that the stream has reported so far.
        finished: Whether the last event of the stream has come; the dialects that end with ``[DONE]`` have none.
    """

    dialect = "chat"

    def __init__(self) -> None:
        self.usage = StreamedUsage(self.dialect)
        self.finished = False
        self._thoughts = 0
        self._head: dict[str, Any] = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": ""}

    def read(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunks that an event becomes."""
        for choice in objects_or_empty(event.get("choices")):
            self.usage.note_delta(object_or_empty(choice.get("delta")))
        self.usage.note(event)
        yield event if (error := error_in(event)) is None else {**event, "error": error}

    def _begin(self, source: JSON) -> None:
        """Take the id, the model and the time of an answer in another dialect."""
        name = optional_text(source.get("model"), "model")
        self._head |= {"id": identity(source.get("id"), "chatcmpl-"), "created": creation_time(source), "model": name}

    def _delta(self, delta: dict[str, Any], logprobs: object = None, index: int = 0) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}]}

    def _thinking(self, block: JSON) -> dict[str, Any]:
        """Return a chunk with a block of thinking, numbered as the stream helpers of OpenAI's clients require of lists."""
        self._thoughts += 1
        return self._delta({"thinking_blocks": [{"index": self._thoughts - 1, **block}]})

    def _end(self, reason: str, index: int = 0, **more: Any) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": index, "delta": {}, "logprobs": None, "finish_reason": reason, **more}]}

    def _counted(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage}


class ToolCallPieces:
    """Reads the pieces of tool calls in the deltas of a stream. The first piece of a call has its id and its whole name."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[int, str, str, str]] = {}
        self._count = 0
        self._held: dict[str, Any] | None = None
        self._begun: set[int] = set()

    def read(self, delta: JSON) -> Iterator[dict[str, Any]]:
        """Yield the pieces in a delta: the call's number, and id, name and arguments, ``""`` where they are missing.

        A call is held until its first arguments or the next call, since its name may come after its id or in pieces.
        """
        for piece in self.pieces(delta):
            number = piece["number"]
            if self._held is not None and self._held["number"] != number:
                yield from self.rest()
            if number in self._begun:
                yield {**piece, "name": ""}
                continue
            held = self._held or {**piece, "name": ""}
            name = held["name"] if piece["name"] == held["name"] else held["name"] + piece["name"]  # some servers repeat the whole name
            self._held = {**held, **piece, "id": held["id"] or piece["id"], "name": name}
            if piece["arguments"]:
                yield from self.rest()

    def rest(self) -> Iterator[dict[str, Any]]:
        """Yield the call that is held, if any."""
        if self._held is not None:
            held, self._held = self._held, None
            self._begun.add(held["number"])
            yield {**held, "id": made_id(held["id"])}

    def pieces(self, delta: JSON) -> Iterator[dict[str, Any]]:
        """Yield the pieces as they come; ``function_call`` is how old servers name one.

        Some servers, such as Gemini's, give all parallel calls the index 0: a new id begins a new call. So do, without ids, a name in the same
        delta and, after complete arguments, further ones or another name.
        """
        calls = list(objects(delta.get("tool_calls"), "delta.tool_calls"))
        if delta.get("function_call") is not None:
            calls.append(("delta.function_call", {"index": -1, "id": OLD_CALL, "function": delta["function_call"]}))
        seen: set[int] = set()
        for position, (field, call) in enumerate(calls):
            function = mapping(call.get("function") or {}, f"{field}.function")
            given, identity = call.get("index"), optional_text(call.get("id"), f"{field}.id")
            index = given if isinstance(given, int) else position
            name, arguments = optional_text(function.get("name"), f"{field}.function.name"), function.get("arguments")
            arguments = "" if arguments is None else arguments_text(arguments, f"{field}.function.arguments")
            number, known, called, earlier = self._calls.get(index, (-1, "", "", ""))
            if identity or known:
                is_other = bool(identity and known) and identity != known
            elif name and index in seen:
                is_other = True
            else:  # some servers repeat the name
                is_other = (bool(arguments.strip()) or name not in ("", called)) and _is_object(earlier)
            name = name or (called if is_other else "")
            if number < 0 or is_other:
                number, earlier, self._count = self._count, "", self._count + 1
            seen.add(index)
            self._calls[index] = number, identity or known, name or called, "" if identity or known else earlier + arguments
            yield {
                "number": number,
                "id": identity or known,
                "name": name,
                "arguments": arguments,
                **chosen(call, *CALL_STATE, ITEM),
            }


class PlainChat:
    """Brings the events of a stream of chat into OpenAI's form: text as a string, thinking as ``reasoning_content``, a number for each tool call."""

    def __init__(self) -> None:
        self._pieces = defaultdict[int, ToolCallPieces](ToolCallPieces)

    def feed(self, event: bytes) -> bytes:
        """Return an event in this form."""
        chunk = object_of(event)
        if chunk is None or not chunk.get("choices"):
            return event
        return event_of({**chunk, "choices": [{**choice, "delta": self._delta(choice)} for _, choice in objects(chunk["choices"], "choices")]})

    def _delta(self, choice: JSON) -> dict[str, Any]:
        delta = _plain(mapping(choice.get("delta") or {}, "delta"))
        if delta.get("tool_calls"):
            pieces = self._pieces[choice_number(choice)].pieces({"tool_calls": delta["tool_calls"]})
            delta["tool_calls"] = [{**call, "index": piece["number"]} for call, piece in zip(delta["tool_calls"], pieces, strict=True)]
        return delta


def _is_object(written: str) -> bool:
    """Return whether the arguments of a call are complete."""
    try:
        return written.rstrip().endswith("}") and isinstance(orjson.loads(written), dict)
    except ValueError:
        return False


def error_of(chunk: JSON) -> tuple[str, str, int | None]:
    """Return the message, the kind and the status of the error in a chunk."""
    error = chunk["error"]
    overloaded = isinstance(error, dict) and "overloaded" in f"{error.get('type')} {error.get('code')}"
    return error_message(error), kind_of(error), 529 if overloaded else None


class ChatWriter:
    """Writes the events of chat; the base class of other dialects' writers.

    Args:
        model: The model's name in the events; that of the source when empty.
    """

    dialect = "chat"
    _number = 0
    """The number of the next event, which those of ``responses`` have."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._finish: JSON | None = None
        self._ended = False

    def write(self, chunk: JSON) -> list[bytes]:
        """Return the events for a chunk."""
        return [error_event(self.dialect, *error_of(chunk), self._number)] if chunk.get("error") else self._events(chunk)

    def end(self) -> list[bytes]:
        """Return the closing events; none if no chunk said that the answer has ended, or they were returned before."""
        if self._finish is None or self._ended:
            return []
        self._ended = True
        return self._closing(self._finish)

    def _events(self, chunk: JSON) -> list[bytes]:
        for _, choice in objects(chunk.get("choices"), "choices"):
            self._finish = choice if is_set(choice.get("finish_reason")) else self._finish
        return [event_of({**chunk, "model": self._model} if self._model else dict(chunk))]

    def _closing(self, finish: JSON) -> list[bytes]:
        """Return the closing events after the choice that said why the answer has ended."""
        return [DONE]


class SingleAnswerWriter(ChatWriter, abc.ABC):
    """Writes chunks of chat as the events of a dialect whose answer is one message."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._candidate = model
        self._carries_reasoning = False
        self._details: list[dict[str, Any]] = []
        self._begun = False
        self._usage = StreamedUsage("chat")
        self._pieces = ToolCallPieces()

    def _events(self, chunk: JSON) -> list[bytes]:
        self._usage.note(chunk)
        events = [] if self._begun else self._start(chunk)
        self._begun = True
        choice = next((choice for _, choice in objects(chunk.get("choices"), "choices") if choice_number(choice) == 0), {})
        delta = mapping(choice.get("delta") or {}, "choices[0].delta")
        blocks = [block for _, block in objects(delta.get("thinking_blocks"), "delta.thinking_blocks")]
        events += self._reasoning(reasoning_of(delta), blocks)
        self._carries_reasoning = not blocks and (self._carries_reasoning or is_set(delta.get("reasoning_content")))
        add_details(self._details, details_of(delta))
        words = text_of(delta.get("content"), "delta.content")
        if words or any(delta.get(name) for name in _CALLS) or choice.get("finish_reason"):
            events += self._carrier(carried_signature(self._candidate, reasoning=self._carries_reasoning, details=self._details))
            self._carries_reasoning, self._details = False, []
        if words:
            events += self._words(words, choice.get("logprobs"))
        if refusal := optional_text(delta.get("refusal"), "delta.refusal"):
            events += self._refusal(refusal)
        calls = list(self._pieces.read(delta))
        if choice.get("finish_reason"):
            text(choice["finish_reason"], "choices[0].finish_reason")
            self._finish = choice
        if self._finish is not None:
            calls += self._pieces.rest()
        for call in calls:
            events += [*self._carrier(carried_signature(self._candidate, calls=[call])), *self._call(call)]
        return events

    def _carrier(self, signature: str) -> list[bytes]:
        """Return the events that sign the open block of thinking, or an empty one; none without a signature."""
        return self._reasoning("", [{"type": "thinking", "thinking": "", "signature": signature}]) if signature else []

    @abc.abstractmethod
    def _start(self, chunk: JSON) -> list[bytes]: ...

    @abc.abstractmethod
    def _reasoning(self, piece: str, blocks: list[dict[str, Any]]) -> list[bytes]: ...

    @abc.abstractmethod
    def _words(self, words: str, logprobs: object) -> list[bytes]: ...

    @abc.abstractmethod
    def _refusal(self, words: str) -> list[bytes]: ...

    @abc.abstractmethod
    def _call(self, call: dict[str, Any]) -> list[bytes]: ...
