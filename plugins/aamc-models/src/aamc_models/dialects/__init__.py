"""Conversions between the dialects of model APIs, as pure functions and small classes without I/O.

The dialects are ``chat`` (OpenAI's chat completions), ``messages`` (Anthropic's), ``responses`` (OpenAI's) and ``completions`` (OpenAI's older
one). ``chat`` is the canonical form: every other conversion goes through it. Bodies are JSON objects. A field of a wrong type or
value raises a :class:`aamc_sdk.errors.DataError` that names it, and nothing else.
"""

from __future__ import annotations

from aamc_models.dialects.chat import PlainChat, plain_answer
from aamc_models.dialects.chat_events import ChatEvents, answer_events, chat_completion, chat_head
from aamc_models.dialects.content import text_of
from aamc_models.dialects.conversations.conversation import IMAGE_TYPES, Conversation, conversation_of, new_messages, transcript_of
from aamc_models.dialects.conversations.foreign_state import FOREIGN_STATE, foreign_state, last_call, without_foreign_state
from aamc_models.dialects.conversions import (
    DEFAULT_MAX_TOKENS,
    OUTPUT_LIMITS,
    Converted,
    StreamConverter,
    answer_to_chat,
    convert_answer,
    convert_request,
    finish_reason,
    from_chat,
    to_chat,
)
from aamc_models.dialects.error_bodies import broken_off, broken_off_error, error_body, error_event
from aamc_models.dialects.events import DONE, event_of, last_events, object_of
from aamc_models.dialects.fields import DIALECTS, json_object
from aamc_models.dialects.known_tools import KnownTools, has_only_server_tools
from aamc_models.dialects.messages.claude_rules import claude_model
from aamc_models.dialects.messages.thinking import thinking_budget
from aamc_models.dialects.stream_monitor import Seen, StreamMonitor, answer_bytes, reasoning_bytes
from aamc_models.dialects.token_usage import reported_cost, usage_object, usage_of, wants_usage, with_usage, without_usage

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "DIALECTS",
    "DONE",
    "FOREIGN_STATE",
    "IMAGE_TYPES",
    "OUTPUT_LIMITS",
    "ChatEvents",
    "Conversation",
    "Converted",
    "KnownTools",
    "PlainChat",
    "Seen",
    "StreamConverter",
    "StreamMonitor",
    "answer_bytes",
    "answer_events",
    "answer_to_chat",
    "broken_off",
    "broken_off_error",
    "chat_completion",
    "chat_head",
    "claude_model",
    "conversation_of",
    "convert_answer",
    "convert_request",
    "error_body",
    "error_event",
    "event_of",
    "finish_reason",
    "foreign_state",
    "from_chat",
    "has_only_server_tools",
    "json_object",
    "last_call",
    "last_events",
    "new_messages",
    "object_of",
    "plain_answer",
    "reasoning_bytes",
    "reported_cost",
    "text_of",
    "thinking_budget",
    "to_chat",
    "transcript_of",
    "usage_object",
    "usage_of",
    "wants_usage",
    "with_usage",
    "without_foreign_state",
    "without_usage",
]
