"""Provider ``openai``: servers with OpenAI's API."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

import attrs

from aamc_models.providers.chat import ChatProvider
from aamc_models.transport.http import HttpProvider
from aamc_models.transport.options import EndpointOptions
from aamc_sdk import Candidate, ModelSpec, option
from aamc_sdk.interfaces import WireRequest

OPENAI_ADDRESS = "https://api.openai.com/v1"
_OPENAI = r"(?:.+\.)?api\.openai\.com"
_AZURE = r".+\.(?:openai|cognitiveservices)\.azure\.\w+"
"""Names of the servers of OpenAI's models."""
_OPENAIS = re.compile(r"(?:.*/)?(?:gpt-(?!oss)|o\d)")
"""The beginning of the names of OpenAI's models, which may be behind a proxy."""
_LIMITS = ("max_completion_tokens", "max_tokens")
"""Names of the limit of an answer's tokens: OpenAI's newer models refuse the second, and most other servers refuse or ignore the first."""


@attrs.frozen(kw_only=True)
class OpenAIOptions(EndpointOptions):
    """The options of an endpoint of the provider ``openai``."""

    base_url: str = option(OPENAI_ADDRESS, "Address of the server, with /v1 if it has that.")
    api_key_env: str = option("OPENAI_API_KEY", "Environment variable with the API key; without the variable no key is sent.")
    limit_field: str = option(
        "", "Field with the maximum tokens of an answer: max_tokens or max_completion_tokens (default: by address and model).", choices=("", *_LIMITS)
    )
    omit_fields: Sequence[str] = option([], "Fields of requests that the server refuses, such as [user]; they are left out and reported.")


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
        return frozenset(self.paths) if _are_at(addresses, _OPENAI) else frozenset(self.paths) - {"responses"}

    def dropped(self, candidate: Candidate, request: WireRequest) -> Sequence[str]:
        """Return the fields that the endpoint's options leave out; that of the usage in a stream is not the client's own."""
        body = request.body if isinstance(request.body, Mapping) else {}
        return [name for name in self.config.omit_fields if body.get(name) is not None and name != "stream_options"]

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header that carries a key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def _adapted(self, candidate: Candidate, request: WireRequest) -> WireRequest:
        """Return a request in the words that the server knows: its name of the limit, only OpenAI's servers know developers, and no refused field."""
        body = request.body
        if isinstance(body, bytes):
            return request
        adapted = {name: value for name, value in body.items() if name not in self.config.omit_fields}
        if request.api == "chat":
            parameters = candidate.parameters if isinstance(candidate, ModelSpec) else {}
            limits = [source[name] for source in (body, parameters) for name in _LIMITS if source.get(name) is not None]
            if limits:
                names = [deployment.model or candidate.name for deployment in self._deployments.all]
                own = _LIMITS[0] if self._is_openai or _LIMITS[0] in parameters or all(map(_OPENAIS.match, names)) else _LIMITS[1]
                adapted = {name: value for name, value in adapted.items() if name not in _LIMITS}
                adapted[self.config.limit_field or own] = limits[0]
            if not self._is_openai and isinstance(messages := body.get("messages"), list):
                adapted["messages"] = list(map(_with_known_role, messages))
        return attrs.evolve(request, body=adapted)

    @cached_property
    def _is_openai(self) -> bool:
        return _are_at((deployment.base_url for deployment in self._deployments.all), f"{_OPENAI}|{_AZURE}")


def _are_at(addresses: Iterable[str], hosts: str) -> bool:
    return all(re.fullmatch(hosts, urlsplit(address).hostname or "") for address in addresses)


def _with_known_role(message: Any) -> Any:
    return {**message, "role": "system"} if isinstance(message, dict) and message.get("role") == "developer" else message
