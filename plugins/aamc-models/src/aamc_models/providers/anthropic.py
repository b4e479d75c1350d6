"""Provider ``anthropic``: servers with Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from aamc_models.dialects import DEFAULT_MAX_TOKENS, claude_model, convert_request, from_chat
from aamc_models.dialects.content import has_block
from aamc_models.dialects.conversations.reminders import with_reminders
from aamc_models.dialects.messages.claude_rules import claude_rules, has_version
from aamc_models.dialects.messages.thinking import sampling_names, thinking_budget
from aamc_models.providers.chat import ChatProvider
from aamc_models.transport.http import HttpProvider
from aamc_models.transport.options import EndpointOptions
from aamc_sdk import Candidate, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Message, WireRequest

_VERSION = "2023-06-01"
"""The version of the API, see https://docs.anthropic.com/en/api/versioning; that of the client's library would refuse parameters of the candidate."""
_BLOCKS = frozenset({"document", "image", "redacted_thinking", "thinking", "tool_result", "tool_use"})
"""Types of blocks that only Anthropic's dialect has."""
_OPTIONS = frozenset({"stop_sequences", "system", "thinking"})
"""Options that only Anthropic's dialect has."""


@attrs.frozen(kw_only=True)
class AnthropicOptions(EndpointOptions):
    """The options of an endpoint of the provider ``anthropic``."""

    base_url: str = option("https://api.anthropic.com", "Address of the server, with or without /v1.")
    api_key_env: str = option("ANTHROPIC_API_KEY", "Environment variable with the API key; without the variable no key is sent.")
    max_output_tokens: int = option(
        DEFAULT_MAX_TOKENS, "Maximum tokens of an answer whose request does not limit them; the API requires a limit.", at_least=1
    )
    claude_model: str = option(
        "",
        "Claude model whose rules requests follow, such as claude-opus-4-5, for a model whose name lacks the version (default: by the model's name).",
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.claude_model and not has_version(self.claude_model):
            raise ConfigError(f"claude_model must be the name of a Claude model with its version, such as claude-opus-4-5, not {self.claude_model!r}")


class Anthropic(ChatProvider, HttpProvider):
    """Calls a server with Anthropic's Messages API.

    ``send`` and ``events`` pass Anthropic's dialect on as it is. ``complete`` and ``stream`` take messages and options of OpenAI's dialect too, as
    routers, judges and agents use them, and answer in it.
    """

    Config = AnthropicOptions
    config: AnthropicOptions
    api = "messages"
    dialect = "anthropic"
    paths: ClassVar[Mapping[str, str]] = {"messages": "/messages", "count_tokens": "/messages/count_tokens"}

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry a key and the version."""
        return {"anthropic-version": _VERSION, **({"x-api-key": key} if key else {})}

    def address(self, base_url: str, api: str) -> str:
        """Return the address of an API; Anthropic's own clients leave ``/v1`` out of the server's address."""
        return super().address(base_url if base_url.endswith("/v1") else f"{base_url}/v1", api)

    def _adapted(self, candidate: Candidate, request: WireRequest) -> WireRequest:
        """Return a request whose messages of the system are reminders of the user, for a model that refuses them."""
        body = request.body
        if isinstance(body, bytes) or not isinstance(body.get("messages"), list) or claude_rules(claude_model(candidate)).system_messages:
            return request
        return attrs.evolve(request, body={**body, "messages": with_reminders(body["messages"])})

    def _body(self, candidate: Candidate, messages: Sequence[Message], options: Mapping[str, Any]) -> Mapping[str, Any]:
        thinking = candidate.parameters.get("thinking")
        own = {} if thinking is None else {"thinking": thinking}
        limit, body = self.config.max_output_tokens, {**options, "messages": list(messages)}
        if own and body.get("thinking") == thinking:
            del body["thinking"]  # a controller adds the candidate's parameters
        if not _is_anthropic(messages, body):
            converted = from_chat("messages", body, max_tokens=limit, parameters=own, claude_model=claude_model(candidate))
        else:
            own["reasoning_effort"] = body.pop("reasoning_effort", None)
            if claude_rules(claude_model(candidate)).is_adaptive:
                own |= {name: body.pop(name) for name in sampling_names(body)}  # which are left out and reported
            body = {"max_tokens": limit + thinking_budget({**own, **body}), **body}
            converted = convert_request("messages", "messages", body, parameters=own, claude_model=claude_model(candidate))
        self._warn(candidate, tuple(converted.dropped))
        return converted.body


def _is_anthropic(messages: Sequence[Message], options: Mapping[str, Any]) -> bool:
    """Whether a request is of Anthropic's dialect; plain messages are the same in both, and then it does not matter."""
    if _OPTIONS & options.keys() or any("input_schema" in tool for tool in options.get("tools") or [] if isinstance(tool, Mapping)):
        return True
    return any(has_block(message, *_BLOCKS) for message in messages)
