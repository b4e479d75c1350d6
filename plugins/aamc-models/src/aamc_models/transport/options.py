"""The options that endpoints over HTTP share."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import attrs

from aamc_sdk import option
from aamc_sdk.errors import ConfigError

_VARIABLE = re.compile(r"(?!(?:sk|gsk|hf|xai|pplx|AIza)[_A-Z0-9]*[a-z0-9]{8})[A-Za-z_][A-Za-z0-9_]*")
"""Names of variables; not the forms of known providers' keys."""
_MAY_BE_SECRET = re.compile(r"(?<=//)[^/]*@|(?<=[?#]).+", re.DOTALL)
"""A user's name and password, and a query, which may have a key."""
_HEADER_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@attrs.frozen(kw_only=True)
class DeploymentOptions:
    """One deployment of a model: a server, or another key of the same server. What it leaves out is the endpoint's."""

    base_url: str = option("", "Address of the server.")
    model: str = option("", "The model's name on the server.")
    api_key_env: str = option("", "Environment variable with the API key.")
    weight: float = option(1.0, "Share of the calls, relative to the other deployments.", above=0.0)
    requests_per_minute: int | None = option(None, "Maximum requests in any minute.", at_least=1)
    tokens_per_minute: int | None = option(None, "Maximum tokens in any minute, of prompts and answers.", at_least=1)

    def __attrs_post_init__(self) -> None:
        if self.base_url:
            check_address(self.base_url)
        check_variable(self.api_key_env)


@attrs.frozen(kw_only=True)
class EndpointOptions:
    """The options of an endpoint over HTTP."""

    base_url: str = option("", "Address of the server.")
    model: str = option("", "The model's name on the server (default: the candidate's name).")
    api_key_env: str = option("", "Environment variable with the API key; without the variable no key is sent.")
    headers: Mapping[str, str] = option({}, "Further headers of each request; a value such as $MY_SECRET is that of the environment variable.")
    deployments: Sequence[DeploymentOptions] = option([], "Deployments that share the calls by load and weight (default: one, of the options above).")
    requests_per_minute: int | None = option(None, "Maximum requests in any minute to each deployment (default: no limit).", at_least=1)
    tokens_per_minute: int | None = option(None, "Maximum tokens in any minute of each deployment (default: no limit).", at_least=1)
    connect_timeout_s: float = option(10.0, "Maximum seconds until a connection is open.", above=0.0)
    first_token_timeout_s: float = option(60.0, "Maximum seconds until the first event of a streamed answer.", above=0.0)
    idle_timeout_s: float = option(60.0, "Maximum seconds without a byte once an answer has begun.", above=0.0)
    timeout_seconds: float = option(600.0, "Maximum seconds of one attempt, until the answer's end.", above=0.0)
    retries: int = option(2, "Number of retries after a lost connection, a timeout, or status 408, 409, 429 or 5xx.", at_least=0)
    max_pause_s: float = option(8.0, "Maximum seconds of a pause before another attempt; a longer Retry-After ends the attempts.", at_least=0.0)
    breaker_failures: int = option(
        5, "Consecutive failures after which a deployment gets no calls; 10 failures of the last 20 calls have the same effect.", at_least=1
    )
    breaker_rest_s: float = option(10.0, "Seconds without calls, until one call tests the deployment again.", above=0.0)
    max_answer_bytes: int = option(256 * 2**20, "Maximum bytes of a whole answer, or of one event of a streamed one.", at_least=1)
    apis: Sequence[str] = option([], "The server's APIs, such as [chat, responses] (default: by its address).")

    def __attrs_post_init__(self) -> None:
        check_address(self.base_url)
        check_variable(self.api_key_env)
        check_headers(self.headers)


def check_address(base_url: str) -> None:
    """Raise ConfigError unless a text is the HTTP address of a server, which the paths of its APIs can follow."""
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not {"?", "#"} & set(base_url)
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(f"base_url must be an address such as http://localhost:8000/v1, not {shown_address(base_url)!r}")


def shown_address(base_url: str) -> str:
    """Return a server's address for messages, without a user's name and password, and without the content of a query."""
    return _MAY_BE_SECRET.sub("", base_url)


def check_variable(name: str, option: str = "api_key_env", example: str = "OPENAI_API_KEY") -> None:
    """Check the name of an environment variable with a key, given by an option; ``""`` is none.

    Raises:
        ConfigError: It is not such a name. The message does not show it, as it may be the key.
    """
    if name and not _VARIABLE.fullmatch(name):
        raise ConfigError(f"{option} must be the name of an environment variable, such as {example}; put the key into that variable")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ConfigError if the name or the value of a header cannot be sent."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"headers: {name!r:.80} must be the name of a header, and its value one line of text")


def header_variables(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Map each header whose value is ``$NAME`` to the name of the environment variable."""
    return {header: found[1] for header, value in headers.items() if (found := _HEADER_VARIABLE.fullmatch(value))}


def header_values(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to send, with the values of environment variables; those whose variable is not set are left out."""
    values = {header: os.environ.get(name, "").strip() for header, name in header_variables(headers).items()}
    return {header: value for header, value in {**headers, **values}.items() if value or header not in values}
