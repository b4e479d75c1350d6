"""Chat completions that a server makes itself, and their events in the client's dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from aamc_models.dialects.conversions import writer_of
from aamc_models.dialects.events import last_events
from aamc_models.dialects.token_usage import reported_usage
from aamc_sdk.types import new_ids

_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def chat_completion(model: str, text: str, reasoning: str, usage: Mapping[str, int] | None) -> dict[str, Any]:
    """Return an answer as a chat completion."""
    message = {"role": "assistant", "content": text, **({"reasoning_content": reasoning} if reasoning else {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {**chat_head(model, "chat.completion"), "choices": [choice], "usage": dict(usage or _NO_USAGE)}


class ChatEvents:
    """Makes the events of a chat stream, in the client's dialect.

    Args:
        dialect: The client's dialect.
        model: The model's name in the events.
        shows_usage: Whether the client asked for the usage.
    """

    def __init__(self, dialect: str, model: str, *, shows_usage: bool) -> None:
        self._writer = writer_of(dialect, model)
        self._head, self._shows_usage = chat_head(model, "chat.completion.chunk"), shows_usage or dialect in ("messages", "responses")
        self._dialect = dialect

    def delta(self, delta: Mapping[str, Any], index: int = 0, usage: Mapping[str, int] | None = None) -> bytes:
        """Return the events of a piece of the answer, with the usage if it is known before the end: ``messages`` begin with the prompt's tokens."""
        choices = [{"index": index, "delta": dict(delta), "finish_reason": None}]
        return b"".join(self._events(choices, usage if self._dialect == "messages" else None))

    def end(self, finishes: Sequence[str], usage: Mapping[str, int] | None, document: Mapping[str, Any] | None = None) -> bytes:
        """Return the last events, with the finish reason of each choice, the usage if it is known, and the ``aamc`` object if one is given."""
        found = self._events([{"index": n, "delta": {}, "finish_reason": finish} for n, finish in enumerate(finishes)])
        if self._shows_usage:
            found += self._events([], usage or _NO_USAGE)
        return last_events([*found, *self._writer.end()], self._dialect, document)

    def _events(self, choices: list[dict[str, Any]], usage: Mapping[str, int] | None = None) -> list[bytes]:
        return self._writer.write({**self._head, "choices": choices, **({} if usage is None else {"usage": dict(usage)})})


def answer_events(answer: Mapping[str, Any], dialect: str, model: str, document: Mapping[str, Any] | None = None, *, shows_usage: bool) -> bytes:
    """Return a whole chat completion as the events of a stream."""
    events, out, finishes = ChatEvents(dialect, model, shows_usage=shows_usage), [], []
    for choice in answer.get("choices") or ():
        message = dict(choice.get("message") or {})
        calls = message.pop("tool_calls", None)
        delta = {name: value for name, value in message.items() if value is not None}
        if calls:
            delta["tool_calls"] = [{**call, "index": n} for n, call in enumerate(calls)]
        out.append(events.delta({"role": "assistant", **delta}, choice.get("index") or 0, reported_usage(answer)))
        finishes.append(choice.get("finish_reason") or "stop")
    return b"".join([*out, events.end(finishes, reported_usage(answer), document)])


def chat_head(model: str, kind: str) -> dict[str, Any]:
    """Return the first fields of a chat completion or of a chunk of it."""
    return {"id": f"chatcmpl-{new_ids(1)[0]}", "object": kind, "created": int(time.time()), "model": model}
