"""Provider ``openai``: servers with OpenAI's API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import ClassVar
from urllib.parse import urlsplit

import attrs

from aamc_models.providers.chat import ChatProvider
from aamc_models.transport.http import HttpProvider
from aamc_models.transport.options import EndpointOptions
from aamc_sdk import Candidate, ModelSpec, option
from aamc_sdk.interfaces import WireRequest

OPENAI_ADDRESS = "https://api.openai.com/v1"


@attrs.frozen(kw_only=True)
class OpenAIOptions(EndpointOptions):
    """The options of an endpoint of the provider ``openai``."""

    base_url: str = option(OPENAI_ADDRESS, "Address of the server, with /v1 if it has that.")
    api_key_env: str = option("OPENAI_API_KEY", "Environment variable with the API key; without the variable no key is sent.")


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
        return frozenset(self.paths) if _are_openai(addresses) else frozenset(self.paths) - {"responses"}

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header that carries a key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def _limited(self, candidate: Candidate, request: WireRequest) -> WireRequest:
        """Return a request whose limit has the name that all of OpenAI's own models know; other servers know ``max_tokens``."""
        body = request.body
        if request.api != "chat" or isinstance(body, bytes) or not self._is_openai:
            return request
        given = candidate.parameters if isinstance(candidate, ModelSpec) and "max_completion_tokens" not in body else {}
        limit = body.get("max_tokens", given.get("max_tokens"))
        if limit is None:
            return request
        renamed = {name: value for name, value in body.items() if name != "max_tokens"}
        return attrs.evolve(request, body={"max_completion_tokens": limit, **renamed})

    @cached_property
    def _is_openai(self) -> bool:
        return _are_openai(deployment.base_url for deployment in self._deployments.all)


def _are_openai(addresses: Iterable[str]) -> bool:
    return all(urlsplit(address).hostname == "api.openai.com" for address in addresses)
