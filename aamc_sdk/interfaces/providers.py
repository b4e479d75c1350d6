"""Providers, which call the endpoints of candidates."""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import attrs

from aamc_sdk.interfaces.components import BaseComponent
from aamc_sdk.interfaces.models import Chunk, Completion, Message
from aamc_sdk.messages import check_type
from aamc_sdk.types import Candidate


@attrs.frozen(kw_only=True)
class EndpointState:
    """The present state of an endpoint.

    Attributes:
        available: Whether it can be called; False while its circuit breaker is open.
        remaining: Requests that its rate limits still allow; None without a limit.
        retry_after_s: Time in seconds after which it can be called, where it cannot be now; None if unknown.

    Raises:
        TypeError: A value is of another type.
    """

    available: bool = True
    remaining: float | None = None
    retry_after_s: float | None = None

    def __attrs_post_init__(self) -> None:
        check_type(self.available, bool, "an endpoint is available or not, True or False")
        check_type(self.remaining, Real | None, "an endpoint's remaining must be a number, or None")
        check_type(self.retry_after_s, Real | None, "an endpoint's retry_after_s must be a number, or None")


class Provider(BaseComponent):
    """Calls the endpoints of one wire dialect. Its ``Config`` holds the options of an ``endpoint``.

    Attributes:
        dialect: The dialect of messages and options, which are passed on unchanged: ``"openai"`` or ``"anthropic"``.
    """

    dialect: ClassVar[str] = "openai"

    @abc.abstractmethod
    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the whole answer to a conversation; ``options`` are parameters of the request, such as ``temperature``.

        Raises:
            ProviderError: The call failed.
        """

    @abc.abstractmethod
    def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece; arguments and errors as for :meth:`complete`."""

    def unset_keys(self) -> Sequence[str]:
        """Return the environment variables for API keys that the endpoint's options name and that are not set."""
        return ()

    def state(self) -> EndpointState:
        """Return the endpoint's present state; called from any thread, for each decision."""
        return _AVAILABLE

    async def close(self) -> None:
        """Close connections, within five seconds; called on the event loop that the provider was used on."""


_AVAILABLE = EndpointState()


def _ignore(may_be_billed: bool) -> None:
    """Do nothing with the progress of a request."""


@attrs.frozen(kw_only=True, slots=False)  # without slots, construction takes a third less time
class WireRequest:
    """A request in a provider's own dialect.

    Attributes:
        api: The API that is called: ``"chat"``, ``"responses"``, ``"completions"``, ``"embeddings"``, ``"messages"``, ``"count_tokens"``,
            or the path of another one, such as ``"/images/generations"``.
        body: The JSON object to send, or bytes with their ``content-type`` among the headers. The provider sets the model's name on the server
            and adds the candidate's parameters; an own value of the body has priority.
        headers: Further headers, such as ``anthropic-beta``.
        method: The HTTP method.
        is_converted: Whether the body was converted from another dialect; any other one is the client's own, and passes as untouched as possible.
        on_sent: Called with whether the server may bill the call: False at the beginning, True as soon as the request is sent, and False again if the
            server refuses it, unless it may bill an earlier attempt of the call. A provider may ignore this; the server is then assumed to bill a
            call that is cancelled, times out or breaks off.
    """

    api: str
    body: Mapping[str, Any] | bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)
    method: str = "POST"
    is_converted: bool = False
    on_sent: Callable[[bool], None] = attrs.field(default=_ignore, eq=False, repr=False)


@attrs.frozen(kw_only=True, slots=False)  # quicker to construct
class WireReply:
    """A server's whole answer.

    Attributes:
        status: The HTTP status, from 200 to 299.
        headers: Its headers, with names in lower case.
        body: Its body.
        answer: The body as a JSON object; None if it is something else, or too long to be read without need.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    answer: Mapping[str, Any] | None = None


class WireProvider(Provider):
    """A provider whose requests and answers can be passed through as they are, as a gateway does. It retries and balances by itself."""

    @property
    @abc.abstractmethod
    def apis(self) -> Collection[str]:
        """The names of the APIs that the endpoint offers, see :class:`WireRequest`."""

    @abc.abstractmethod
    async def send(self, candidate: Candidate, request: WireRequest) -> WireReply:
        """Send a request and return the whole answer.

        Raises:
            ProviderError: The call failed, or the status is not from 200 to 299.
        """

    @abc.abstractmethod
    def events(self, candidate: Candidate, request: WireRequest) -> AsyncGenerator[bytes, None]:
        """Send a request with ``"stream": true`` and yield each server-sent event as it came, with the empty line that ends it.

        Closing the generator ends the call at the server. Retries happen before the first event only.

        Raises:
            ProviderError: The call failed, or the connection was lost. An end without the dialect's last event is for the caller to notice.
        """

    def dropped(self, candidate: Candidate, request: WireRequest) -> Sequence[str]:
        """Return the names of a request's fields that do not reach the server, as far as they are known before the call."""
        return ()
