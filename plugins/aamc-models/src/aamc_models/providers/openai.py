"""Provider ``openai``: servers with OpenAI's API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import attrs

from aamc_models.providers.chat import ChatProvider
from aamc_models.providers.server_quirks import LIMIT_FIELDS, OPENAI_HOST, ServerQuirks, are_at, quirks_of
from aamc_models.transport.http import HttpProvider
from aamc_models.transport.options import EndpointOptions
from aamc_sdk import Candidate, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT, WireRequest


@attrs.frozen(kw_only=True)
class OpenAIOptions(EndpointOptions):
    """The options of an endpoint of the provider ``openai``."""

    base_url: str = option("https://api.openai.com/v1", "Address of the server, with /v1 if it has that.")
    api_key_env: str = option("OPENAI_API_KEY", "Environment variable with the API key; without the variable no key is sent.")
    limit_field: str = option("auto", "Field with the maximum tokens of an answer; auto: by address and model.", choices=("auto", *LIMIT_FIELDS))
    omit_fields: Sequence[str] = option([], "Fields of requests that the server refuses, such as [user]; they are left out and reported.")
    requires_reasoning: bool = option(
        False, "The server refuses tool loops without reasoning_content, as DeepSeek's and Moonshot's do; known by address, but not behind a proxy."
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if limits := sorted(set(ANY_OUTPUT_LIMIT).intersection(self.omit_fields)):
            raise ConfigError(f"omit_fields must not have {limits[0]}, on which budgets rely; name the server's own field with limit_field")


class OpenAI(ChatProvider, HttpProvider):
    """Calls a server with OpenAI's API."""

    Config = OpenAIOptions
    config: OpenAIOptions
    paths: ClassVar[Mapping[str, str]] = {
        "chat": "/chat/completions",
        "responses": "/responses",
        "completions": "/completions",
        "embeddings": "/embeddings",
    }

    def default_apis(self, addresses: Collection[str]) -> frozenset[str]:
        """Return all APIs for OpenAI's own server; few other servers have ``responses``."""
        return frozenset(self.paths) if are_at(addresses, OPENAI_HOST) else frozenset(self.paths) - {"responses"}

    def dropped(self, candidate: Candidate, request: WireRequest) -> Sequence[str]:
        """Return the fields that the server may refuse, and those that the options name; that of the usage in a stream is not the client's own."""
        body = request.body if isinstance(request.body, Mapping) else {}
        refused = self._quirks(candidate).refused_fields if request.api == "chat" and request.is_converted else ()
        names = dict.fromkeys((*self._omitted, *refused))
        return [name for name in names if body.get(name) is not None and name != "stream_options"]

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header that carries a key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    @property
    def _omitted(self) -> Collection[str]:
        return self.config.omit_fields

    def _adapted(self, candidate: Candidate, request: WireRequest) -> WireRequest:
        """Return a request of chat in the words that the server knows, and without fields that it may refuse."""
        body = request.body
        if request.api != "chat" or isinstance(body, bytes):
            return request
        quirks = self._quirks(candidate)
        left_out = (*LIMIT_FIELDS, *(quirks.refused_fields if request.is_converted else ()))
        adapted = {name: value for name, value in body.items() if name not in left_out}
        parameters = candidate.parameters
        limits = [source[name] for source in (body, parameters) for name in LIMIT_FIELDS if source.get(name) is not None]
        if limits:
            own = LIMIT_FIELDS[0] if quirks.is_openai or LIMIT_FIELDS[0] in parameters else LIMIT_FIELDS[1]
            adapted[own if self.config.limit_field == "auto" else self.config.limit_field] = limits[0]
        if "messages" in body:
            adapted["messages"] = quirks.adapted(body["messages"], is_converted=request.is_converted)
        return attrs.evolve(request, body=adapted)

    def _quirks(self, candidate: Candidate) -> ServerQuirks:
        deployments = self._deployments.all
        addresses, models = [each.base_url for each in deployments], [each.model or candidate.name for each in deployments]
        return quirks_of(tuple(addresses), tuple(models), self.config.requires_reasoning)
