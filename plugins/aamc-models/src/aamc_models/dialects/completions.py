"""OpenAI's older completions, and chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aamc_models.dialects.chat import ChatReader, ChatWriter, chat_answer
from aamc_models.dialects.content import check_sendable, choice_number, chosen, creation_time, identity, is_set, lookup, text_of
from aamc_models.dialects.error_bodies import BROKEN_OFF_REASONS, error_in
from aamc_models.dialects.events import event_of
from aamc_models.dialects.fields import JSON, mapping, objects, optional_text, wrong
from aamc_models.dialects.token_usage import reported_usage

_SAME = (
    *("model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "logit_bias"),
)
_SPEAKERS = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant", "tool": "Tool", "function": "Tool"}


def request_to_chat(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a request for completions as canonical chat."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise wrong("prompt", "one text, as only that can be sent to a chat model", prompt)
    return {**chosen(body, *_SAME), "messages": [{"role": "user", "content": prompt}]}


def request_from_chat(body: JSON, dropped: set[str]) -> dict[str, Any]:
    """Return a canonical request as one for completions: a single message as the prompt, a conversation as a transcript."""
    lines = []
    for field, message in objects(body.get("messages"), "messages"):
        role, content = message.get("role"), message.get("content")
        if (speaker := lookup(_SPEAKERS, role)) is None:
            raise wrong(f"{field}.role", "system, developer, user, assistant or tool", role)
        words = text_of(content, f"{field}.content", "\n")
        if role == "user":
            check_sendable(words, content, field)
        lines.append((speaker, words))
    sent = chosen(body, *_SAME)
    if body.get("max_completion_tokens") is not None:
        sent["max_tokens"] = body["max_completion_tokens"]
    if len(lines) == 1 and lines[0][0] == "User":
        return {**sent, "prompt": lines[0][1]}
    transcript = "\n\n".join(f"{speaker}: {words}" for speaker, words in lines)
    return {**sent, "prompt": f"{transcript}\n\nAssistant:"}


def answer_to_chat(answer: JSON) -> dict[str, Any]:
    """Return a completion as a chat completion."""
    choices = [
        {
            "index": choice.get("index", 0),
            "message": {"role": "assistant", "content": optional_text(choice.get("text"), f"{field}.text")},
            "logprobs": None,
            "finish_reason": choice.get("finish_reason") or "stop",
        }
        for field, choice in objects(answer.get("choices"), "choices")
    ]
    return chat_answer(answer, choices, reported_usage(answer))


def answer_from_chat(answer: JSON, model: str) -> dict[str, Any]:
    """Return a chat completion as a completion."""
    choices = []
    for field, choice in objects(answer.get("choices"), "choices"):
        message = mapping(choice.get("message"), f"{field}.message")
        words = text_of(message.get("content"), f"{field}.message.content")
        choices.append({"text": words, "index": choice.get("index", 0), "logprobs": None, "finish_reason": _finish(choice.get("finish_reason"))})
    return _completion(answer, model, choices)


def _completion(source: JSON, model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a completion, or an event of one, for a chat completion or a chunk."""
    return {
        "id": identity(source.get("id"), "cmpl-"),
        "object": "text_completion",
        "created": creation_time(source),
        "model": model or optional_text(source.get("model"), "model"),
        "choices": choices,
        **chosen(source, "usage"),
    }


def _finish(reason: object) -> str:
    return reason if isinstance(reason, str) and reason in ("length", "content_filter", *BROKEN_OFF_REASONS) else "stop"


class CompletionsReader(ChatReader):
    """Reads the events of completions as chunks of chat."""

    dialect = "completions"

    def __init__(self) -> None:
        super().__init__()
        self._begun: set[object] = set()

    def read(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunks that an event becomes."""
        if (error := error_in(event)) is not None:
            yield {"error": error}
            return
        if not self._begun:
            self._begin(event)
        for field, choice in objects(event.get("choices"), "choices"):
            index = choice_number(choice)
            words = optional_text(choice.get("text"), f"{field}.text")
            if words or index not in self._begun:
                yield self._delta({**({} if index in self._begun else {"role": "assistant"}), "content": words}, index=index)
                self._begun.add(index)
            if choice.get("finish_reason"):
                yield self._end(_finish(choice["finish_reason"]), index)
        if self.usage.note(event):
            yield self._counted(event["usage"])


class CompletionsWriter(ChatWriter):
    """Writes chunks of chat as the events of completions."""

    dialect = "completions"
    _id = ""

    def _events(self, chunk: JSON) -> list[bytes]:
        self._id = self._id or identity(chunk.get("id"), "cmpl-")
        choices = []
        for field, choice in objects(chunk.get("choices"), "choices"):
            delta = mapping(choice.get("delta") or {}, f"{field}.delta")
            words = text_of(delta.get("content"), f"{field}.delta.content")
            reason = _finish(choice["finish_reason"]) if choice.get("finish_reason") else None
            self._finish = choice if reason else self._finish
            if words or reason:
                choices.append({"text": words, "index": choice.get("index", 0), "logprobs": None, "finish_reason": reason})
        return [event_of(_completion({**chunk, "id": self._id}, self._model, choices))] if choices or is_set(chunk.get("usage")) else []
