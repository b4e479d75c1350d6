"""Names and ids of tools' calls that an answer of chat cannot give to a client of Anthropic's dialect as they are.

Its names may be longer than OpenAI's servers accept, as those of MCP servers in Claude Code, and its clients know a call in the whole conversation by
its id, while some servers count the calls of each answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import chain, count
from typing import Any

import attrs

from aamc_models.dialects.content import safe_id
from aamc_models.dialects.fields import JSON, object_or_empty, objects_or_empty

MAX_NAME = 64
"""Maximum characters of a name for OpenAI."""


@attrs.frozen
class KnownTools:
    """What a request of Anthropic's dialect says of tools, for the conversion of its answer.

    Attributes:
        names: The names that its conversion shortens, by the short ones.
        ids: The ids of the calls in its conversation.
    """

    names: Mapping[str, str] = attrs.field(factory=dict)
    ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, body: JSON) -> KnownTools:
        """Return those of a request."""
        names = [tool.get("name") for tool in objects_or_empty(body.get("tools"))]
        long = {short_name(name): name for name in names if isinstance(name, str) and len(name) > MAX_NAME}
        return cls(long, frozenset(_call_ids(body)))

    def adapt(self, chat: JSON) -> JSON:
        """Return a chat completion, or a chunk of one, whose calls have the client's names, and ids that are not taken."""
        if not (self.names or self.ids):
            return chat
        choices = []
        for choice in objects_or_empty(chat.get("choices")):
            holders = {key: self._adapted(choice[key]) for key in ("message", "delta") if object_or_empty(choice.get(key)).get("tool_calls")}
            choices.append({**choice, **holders})
        return {**chat, "choices": choices} if choices else chat

    def _adapted(self, message: JSON) -> dict[str, Any]:
        calls = []
        for call in objects_or_empty(message["tool_calls"]):
            own, function = dict(call), object_or_empty(call.get("function"))
            if isinstance(name := function.get("name"), str) and name in self.names:
                own["function"] = {**function, "name": self.names[name]}
            if isinstance(given := call.get("id"), str) and safe_id(given) in self.ids:
                own["id"] = next(each for each in (f"{given}_{n}" for n in count(2)) if safe_id(each) not in self.ids)
            calls.append(own)
        return {**message, "tool_calls": calls}


def short_name(name: str) -> str:
    """Return a name as OpenAI accepts it: the end of a longer one is a hash."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}_{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def _call_ids(body: JSON) -> Iterator[str]:
    messages = objects_or_empty(body.get("messages"))
    blocks = chain.from_iterable(objects_or_empty(message.get("content")) for message in messages if message.get("role") == "assistant")
    return (block["id"] for block in blocks if block.get("type") == "tool_use" and isinstance(block.get("id"), str))
