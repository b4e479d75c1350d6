"""Codecs: how the protocol travels in a chat API.

Every codec reads the policy's answer as one text with tags, so that what follows is the same for all of them. ``TagsCodec`` is the published
form. ``ToolsCodec`` is for models trained on tool calls: the tools ``search`` and ``answer`` stand for the tags of these names.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aamc_router_r1.protocol.prompt import TOOLS
from aamc_router_r1.protocol.transcript import Segment
from aamc_router_r1.protocol.turns import ANSWER, SEARCH, TAG, THINK, ModelNames, elements, parse_turn
from aamc_sdk.interfaces import Completion, Message


class Codec(abc.ABC):
    """Turns transcripts into messages of OpenAI's dialect, and answers into text with tags."""

    @abc.abstractmethod
    def messages(self, prompt: str, transcript: Sequence[Segment]) -> list[Message]:
        """Return the conversation so far, for the policy's next turn."""

    @abc.abstractmethod
    def options(self, calls: int, may_route: bool) -> dict[str, Any]:
        """Return the parameters of the request for a turn that consults at most ``calls`` models, or none unless it ``may_route``."""

    @abc.abstractmethod
    def text(self, completion: Completion) -> str:
        """Return the policy's answer as text with tags; a stop sequence that the server has removed is put back."""


class TagsCodec(Codec):
    """The published form: tags in the text.

    Args:
        continues: Whether the policy's turns and the informations form one message, which the server continues, as in training. vLLM does so
            with the parameters that are then sent. Otherwise each turn is a message of its own, which every server understands.
    """

    def __init__(self, continues: bool = False) -> None:
        self.continues = continues

    def messages(self, prompt: str, transcript: Sequence[Segment]) -> list[Message]:
        """Return the conversation so far."""
        asked: list[Message] = [{"role": "user", "content": prompt}]
        if self.continues:
            said = "".join(segment.text for segment in transcript)
            return [*asked, {"role": "assistant", "content": said}] if said else asked
        turns = [("assistant", segment.text) if segment.by_policy else ("user", segment.text.strip()) for segment in transcript]
        return [*asked, *({"role": role, "content": text} for role, text in turns)]

    def options(self, calls: int, may_route: bool) -> dict[str, Any]:
        """Return the stop sequences; with several calls in a turn, its end is known only afterwards."""
        stop = {"stop": ["</search>", "</answer>"] if calls == 1 else ["</answer>", "<information>"]}
        return {**stop, "continue_final_message": True, "add_generation_prompt": False} if self.continues else stop

    def text(self, completion: Completion) -> str:
        """Return the text, with reasoning that the server has separated in front of it."""
        text = completion.text
        if f"<{THINK}>" not in text:
            text = _thought(_reasoning(completion.message)) + text
        return _closed(text) if completion.finish_reason == "stop" else text


class ToolsCodec(Codec):
    """Tool calls in place of the tags."""

    def __init__(self, names: ModelNames) -> None:
        self._names = names

    def messages(self, prompt: str, transcript: Sequence[Segment]) -> list[Message]:
        """Return the conversation so far; a turn that breaks the protocol is a plain message, and so is the reply to it."""
        messages: list[Message] = [{"role": "user", "content": prompt}]
        waiting: list[str] = []
        for number, segment in enumerate(transcript):
            if segment.by_policy:
                message = self._turn(segment.text, number)
                waiting = [call["id"] for call in message.get("tool_calls", ())]
                messages.append(message)
            else:
                replies = [element.text for element in elements(segment.text)]
                if waiting:
                    messages += [{"role": "tool", "tool_call_id": call, "content": reply} for call, reply in zip(waiting, replies, strict=True)]
                else:
                    messages.append({"role": "user", "content": "\n".join(replies)})
                waiting = []
        return messages

    def _turn(self, text: str, number: int) -> dict[str, Any]:
        turn = parse_turn(text, self._names)
        if turn.blocked is not None:
            return {"role": "assistant", "content": text}
        thinking = "\n".join(element.text for element in elements(text) if element.tag not in (SEARCH, ANSWER))
        tools = [
            {
                "id": f"call_{number}_{n}",
                "type": "function",
                "function": {"name": SEARCH, "arguments": json.dumps({"model": call.model, "question": call.question})},
            }
            for n, call in enumerate(turn.calls)
        ]
        return {"role": "assistant", "content": thinking, **({"tool_calls": tools} if tools else {})}

    def options(self, calls: int, may_route: bool) -> dict[str, Any]:
        """Return the tools."""
        search = _tool(SEARCH, "Ask a model of the pool a question.", model=list(self._names.names), question=None)
        answer = _tool(ANSWER, "Give the final answer, without explanation.", answer=None)
        return {"tools": [search, answer] if may_route else [answer], "tool_choice": "auto"}

    def text(self, completion: Completion) -> str:
        """Return thinking and tool calls as text with tags."""
        reasoning, content = _reasoning(completion.message), str(completion.message.get("content") or "").strip()
        thought = content if not reasoning and content.startswith(f"<{THINK}>") else _thought(reasoning or content)
        return thought + "".join(_tags(completion.message.get("tool_calls")))


def codec_of(name: str, names: ModelNames, continues: bool) -> Codec:
    """Return the codec ``tags`` or ``tools``."""
    return ToolsCodec(names) if name == TOOLS else TagsCodec(continues)


def _reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning that a server has separated from the answer."""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return reasoning.strip() if isinstance(reasoning, str) else ""


def _thought(text: str) -> str:
    """Return the tag think around a text, in which no other tag can stand: models repeat the tags of the prompt when they reason."""
    return f"<{THINK}>{_without_tags(text)}</{THINK}>" if text else ""


def _without_tags(text: str) -> str:
    return TAG.sub(lambda tag: tag[0].replace("<", "&lt;"), text)


def _closed(text: str) -> str:
    """Return a text whose last tag is closed if it is an action: a server removes the stop sequence that ended it."""
    tags = list(TAG.finditer(text))
    last = tags[-1] if tags else None
    return f"{text}</{last[2]}>" if last is not None and not last[1] and last[2] in (SEARCH, ANSWER) else text


def _tags(calls: Any) -> Iterator[str]:
    """Yield the tags that tool calls stand for; arguments that cannot be read are kept as text, which the parser then refuses."""
    for call in calls if isinstance(calls, Sequence) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            continue
        given = function.get("arguments")
        arguments = _read(given)
        if function.get("name") == SEARCH:
            known = {"model", "question"} <= arguments.keys()
            yield _tag(SEARCH, f"{arguments['model']}: {arguments['question']}" if known else str(given).replace(":", "="))
        elif function.get("name") == ANSWER:
            yield _tag(ANSWER, str(arguments.get(ANSWER, "")))


def _read(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    try:
        read = json.loads(str(given))
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, Mapping) else {}


def _tag(name: str, text: str) -> str:
    """Return a tag around an argument, in which no other tag can stand."""
    return f"<{name}> {_without_tags(text).strip()} </{name}>"


def _tool(name: str, description: str, **parameters: list[str] | None) -> dict[str, Any]:
    properties = {key: {"type": "string", **({"enum": values} if values else {})} for key, values in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
