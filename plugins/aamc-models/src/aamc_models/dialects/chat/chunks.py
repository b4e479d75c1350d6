"""Chunks of streamed chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects.content import arguments_text, creation_time, identity
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text


class ChunkFrame:
    """Makes the chunks of one streamed chat completion."""

    def __init__(self) -> None:
        self._id, self._model, self._created = "chatcmpl-0", "", 0

    def begin(self, source: JSON) -> None:
        """Take the id, the model and the time of an answer in another dialect."""
        self._id = identity(source.get("id"), "chatcmpl-")
        self._model = optional_text(source.get("model"), "model")
        self._created = creation_time(source)

    def delta(self, delta: dict[str, Any], logprobs: object = None, index: int = 0) -> dict[str, Any]:
        """Return a chunk with a piece of the answer."""
        return self._chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}])

    def finish(self, reason: str, extra: dict[str, Any] | None = None, index: int = 0) -> dict[str, Any]:
        """Return the chunk that says why the answer ended."""
        return self._chunk([{"index": index, "delta": {}, "logprobs": None, "finish_reason": reason, **(extra or {})}])

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Return the chunk with the usage."""
        return {**self._chunk([]), "usage": usage}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model, "choices": choices}


def choice_zero(chunk: JSON) -> dict[str, Any]:
    """Return a chunk's first choice, the only one that messages and responses have; an empty object without."""
    for _, choice in objects(chunk.get("choices"), "choices"):
        if choice.get("index") in (0, None):
            return choice
    return {}


class ToolCallPieces:
    """Reads the pieces of tool calls in the deltas of a stream."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[int, str]] = {}
        self._count = 0

    def read(self, delta: JSON) -> Iterator[dict[str, Any]]:
        """Yield the pieces in a delta: the call's number, and id, name and arguments, ``""`` where they are missing.

        Some servers, such as Gemini's, give all parallel calls the index 0: a new id begins a new call.
        """
        for position, (field, call) in enumerate(objects(delta.get("tool_calls"), "delta.tool_calls")):
            function = mapping(call.get("function") or {}, f"{field}.function")
            given, identity = call.get("index"), optional_text(call.get("id"), f"{field}.id")
            index = given if isinstance(given, int) else position
            number, known = self._calls.get(index, (-1, ""))
            if number < 0 or (identity and known and identity != known):
                number, self._count = self._count, self._count + 1
            self._calls[index] = number, identity or known
            arguments = function.get("arguments")
            yield {
                "number": number,
                "id": identity,
                "name": optional_text(function.get("name"), f"{field}.function.name"),
                "arguments": "" if arguments is None else arguments_text(arguments, f"{field}.function.arguments"),
            }


def error_of(chunk: JSON) -> tuple[str, str, int | None]:
    """Return the message, the kind and the status of the error in a chunk."""
    error = chunk["error"]
    message = error.get("message") if isinstance(error, dict) else error
    words = message if isinstance(message, str) and message else "the server reported an error without a message"
    named = " ".join(name for name in (error.get("type"), error.get("code")) if isinstance(name, str)) if isinstance(error, dict) else ""
    if "overloaded" in named:
        return words, "server", 529
    return words, "rate_limit" if "rate_limit" in named or "429" in named else "server", None
