"""Differences between servers of chat, by their addresses and the names of their models. Other differences are options of the endpoint."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

import attrs

from aamc_models.dialects.carried_state import CALL_STATE
from aamc_models.dialects.conversations.reminders import with_reminders

LIMIT_FIELDS = ("max_completion_tokens", "max_tokens")
"""Names of the limit of an answer's tokens: OpenAI's newer models refuse the second, and most other servers refuse or ignore the first."""
_OPENAI_FIELDS = ("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity")
"""Fields of OpenAI's own models, which some other servers refuse."""
OPENAI_HOST = r"(?:.+\.)?api\.openai\.com"
_AZURE_HOST = r".+\.(?:openai|cognitiveservices)\.azure\.\w+"
_OPENAI_MODEL = re.compile(r"(?:.*\b(?:openai|azure)/(?:.*/)?)?(?:ft:)?(?:gpt-(?:[3-9]|[1-9][0-9])(?:[.o-]|$)|chatgpt-|o[1-9](?:-|$))", re.IGNORECASE)
"""The beginning of the names of OpenAI's models, which may be behind a proxy. A wrong match may lift the limit on which a budget relies."""
_MISTRAL = re.compile(r"[sx]tral(?!i)", re.IGNORECASE)
"""A part of the names of Mistral's models, such as devstral and mixtral, and of its address."""
_GEMINI = re.compile(r"gemini-(?![12](?:\D|$))", re.IGNORECASE)
"""A part of the names of Gemini's models from version 3 on."""
_UNSIGNED = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
"""The state of a tool call without a signature: Google documents this value for conversations that lack the signature of a call."""
_THINKING_HOSTS = r"(?:.+\.)?(?:deepseek\.com|moonshot\.(?:ai|cn))"
"""The servers that demand reasoning back. Others have the same models, and some of these refuse the field."""
_NO_REASONING = {"reasoning_content": " "}
"""Stands for reasoning that a client has lost; the servers refuse an empty text."""
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_OPENAI_ID = re.compile(r".{0,40}", re.DOTALL)
"""Ids of tool calls that OpenAI's models accept; those of vLLM are longer."""


@attrs.frozen
class ServerQuirks:
    """Differences of servers.

    Attributes:
        is_openai: Whether OpenAI's own models answer.
        needs_short_ids: Whether ids of tool calls must be nine letters and digits, as Mistral's models demand.
        needs_signatures: Whether the first tool call of a message must have a signature, as Gemini's models demand.
        needs_reasoning: Whether the model's messages must have their reasoning in a conversation with tool calls, as DeepSeek's server demands.
    """

    is_openai: bool
    needs_short_ids: bool
    needs_signatures: bool
    needs_reasoning: bool

    @property
    def refused_fields(self) -> Sequence[str]:
        """Fields that the servers may refuse."""
        return () if self.is_openai else _OPENAI_FIELDS

    def adapted(self, messages: object, *, is_converted: bool = False) -> Any:
        """Return messages, which may be converted from another dialect, in the words that the servers know; those in a wrong form as they are."""
        if not isinstance(messages, list):
            return messages
        reasons = self.needs_reasoning and any(isinstance(each, dict) and each.get("tool_calls") for each in messages)
        adapted = [self._message(each, reasons) if isinstance(each, dict) else each for each in messages]
        return _with_one_system_prompt(adapted) if is_converted and not self.is_openai else adapted

    def _message(self, message: dict[str, Any], reasons: bool) -> dict[str, Any]:
        """Return a message; in place of state that its client has lost, as most clients of chat do, it has what the server accepts."""
        changed: dict[str, Any] = {}
        if message.get("role") == "developer" and not self.is_openai:
            changed["role"] = "system"
        if self.needs_short_ids:
            message = {name: value for name, value in message.items() if name != "reasoning_content"}  # Mistral's servers refuse it
        if form := _SHORT_ID if self.needs_short_ids else _OPENAI_ID if self.is_openai else None:
            changed.update(_with_short_id(message, "tool_call_id", form))
            if isinstance(calls := message.get("tool_calls"), list):
                changed["tool_calls"] = [{**call, **_with_short_id(call, "id", form)} if isinstance(call, dict) else call for call in calls]
        if reasons and message.get("role") == "assistant" and not message.get("reasoning_content"):
            changed.update(_NO_REASONING)
        calls = {**message, **changed}.get("tool_calls")
        if self.needs_signatures and not message.get("reasoning_details") and isinstance(calls, list) and _lacks_signature(calls):
            changed["tool_calls"] = [{**calls[0], **_UNSIGNED}, *calls[1:]]
        return {**message, **changed} if changed else message


@lru_cache(maxsize=1024)  # each request asks for those of its candidate
def quirks_of(addresses: tuple[str, ...], models: tuple[str, ...], requires_reasoning: bool = False) -> ServerQuirks:
    """Return the differences of servers by their addresses and the names of their models, and whether they are known to demand reasoning back."""
    is_openai = are_at(addresses, f"{OPENAI_HOST}|{_AZURE_HOST}") or all(map(_OPENAI_MODEL.match, models))
    return ServerQuirks(
        is_openai,
        needs_short_ids=any(map(_MISTRAL.search, (*addresses, *models))),
        needs_signatures=any(map(_GEMINI.search, models)),
        needs_reasoning=requires_reasoning or are_at(addresses, _THINKING_HOSTS),
    )


def are_at(addresses: Collection[str], hosts: str) -> bool:
    """Return whether the hosts of all addresses match a pattern."""
    return all(re.fullmatch(hosts, urlsplit(address).hostname or "") for address in addresses)


def _with_one_system_prompt(messages: list[Any]) -> list[Any]:
    """Return converted messages with those of the system at their start as one: many templates of open models refuse a second one.

    Codex sends several. Later ones, which Claude Code sends in each conversation, become reminders.
    """
    first = list(takewhile(lambda each: isinstance(each, dict) and each.keys() == {"role", "content"} and each["role"] == "system", messages))
    count, texts = len(first), [each["content"] for each in first if isinstance(each["content"], str)]
    if count > 1 and len(texts) == count:
        first = [{"role": "system", "content": "\n\n".join(texts)}]
    return [*first, *with_reminders(messages[count:])]


def _lacks_signature(calls: Sequence[Any]) -> bool:
    return bool(calls) and isinstance(calls[0], dict) and not any(map(calls[0].get, CALL_STATE))


def _with_short_id(value: Mapping[str, Any], field: str, form: re.Pattern[str]) -> dict[str, str]:
    """Return a field with a short id; nothing where it holds one of the accepted form, or none."""
    call_id = value.get(field)
    if not isinstance(call_id, str) or form.fullmatch(call_id):
        return {}
    return {field: blake2b(call_id.encode(errors="surrogatepass"), digest_size=5).hexdigest()[:9]}
