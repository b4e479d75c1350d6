"""The base class of providers that call servers over HTTP."""

from __future__ import annotations

import abc
import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

import aiohttp
import attrs
from yarl import URL

from aamc_models.dialects import StreamMonitor, reported_cost, usage_of
from aamc_models.dialects.error_bodies import error_in_event
from aamc_models.dialects.events import data_of, strict_event
from aamc_models.dialects.fields import DIALECTS, json_object, strict_json
from aamc_models.transport.answers import EventStream, checked_answer, reported, whole_answer
from aamc_models.transport.deployments import LONGEST_PAUSE_S, Deployment, Deployments, DeploymentTurn
from aamc_models.transport.failures import ELSEWHERE, RETRIED, Failure, asked_model, failure_of, provider_error, redacted, without_key
from aamc_models.transport.options import EndpointOptions, header_values, header_variables, shown_address
from aamc_models.transport.request_body import RequestBody
from aamc_models.transport.retries import may_repeat, pause_s
from aamc_models.transport.sessions import HttpSessions, forget_addresses, proxy_of
from aamc_sdk import Candidate, Services
from aamc_sdk.errors import ConfigError, ProviderError
from aamc_sdk.interfaces import Chunk, EndpointState, WireProvider, WireReply, WireRequest

T = TypeVar("T")
_LONG_ANSWER = 2**20
"""Bytes of a list of embeddings from which it is not read: that would block the event loop for milliseconds."""
_JSON_APIS = frozenset((*DIALECTS, "embeddings", "count_tokens"))
"""The APIs whose answers are JSON objects."""
_LAST_EVENTS = 16
"""Number of events at the end of a stream among which its finish is, before the usage and the last one: to read all of them would cost 5 us each."""
_HELD_S = 1.0
"""Time in seconds: a caller that needs more than this for the events, and more than half of the stream's time, keeps the server waiting."""
_RESERVED = frozenset({"accept-encoding", "api-key", "authorization", "connection", "content-length", "host", "transfer-encoding", "x-api-key"})
"""Headers of a request that a caller cannot set."""
_ERRORS = (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError)
"""Errors of the HTTP library."""


class HttpProvider(WireProvider):
    """Calls servers over HTTP, with the options of :class:`aamc_models.transport.options.EndpointOptions`.

    A failed call is tried again: at another deployment at once, at the same one after a pause; one whose error reports a usage is not, as each
    attempt would be billed. The connection of a cancelled call is closed, which ends it at the server too. Derived classes say how the dialect's
    requests look.

    Attributes:
        paths: The paths of the APIs below ``base_url``, by their names.
    """

    config: EndpointOptions
    paths: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: EndpointOptions, services: Services) -> None:
        super().__init__(config, services)
        self._deployments = Deployments(config)
        deployments = self._deployments.all
        self._sessions = HttpSessions()
        self._proxies = {deployment.base_url: proxy_of(deployment.base_url) for deployment in deployments}
        self._given = {name.lower(): value for name, value in header_values(config.headers).items()}
        self._headers = {"accept-encoding": "identity", "content-type": "application/json", **self._given}
        named = {name.lower() for name in config.headers}
        self._key_headers = {  # headers of the options have priority
            each: {name: value for name, value in self.key_headers(each.api_key).items() if name not in named} for each in deployments
        }
        for deployment in deployments:
            if URL(deployment.base_url).user is not None and "authorization" in {**self._given, **self._key_headers[deployment]}:
                address = shown_address(deployment.base_url)
                raise ConfigError(
                    f"base_url {address} has a user's name, so no API key can be sent there: remove the name, or the key (api_key_env: '')"
                )
        self._timeout = aiohttp.ClientTimeout(total=config.timeout_seconds, sock_connect=config.connect_timeout_s)
        self._limits_tokens = any(deployment.tokens is not None for deployment in deployments)
        self._apis = frozenset(config.apis) or self.default_apis([deployment.base_url for deployment in deployments])

    def default_apis(self, addresses: Collection[str]) -> frozenset[str]:
        """Return the APIs of servers by their addresses, when the options name none; by default, those in ``paths``."""
        return frozenset(self.paths)

    @abc.abstractmethod
    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry a key; without one, ``key`` is ``""``."""

    def address(self, base_url: str, api: str) -> str:
        """Return the address of an API; an unknown one is a Failure."""
        path = self.paths.get(api, api)
        if not path.startswith("/") or ".." in path:
            raise Failure(f"has no API {api!r}", "request")
        return base_url + path

    def _adapted(self, candidate: Candidate, request: WireRequest) -> WireRequest:
        """Return a request in the words that the server knows."""
        return request

    @property
    def _omitted(self) -> Collection[str]:
        """The fields that the server refuses, also among the candidate's parameters."""
        return ()

    def unset_keys(self) -> Sequence[str]:
        """Return the unset variables of its deployments; the default one counts at the default address only, as other servers may need no key."""
        headers = [name for header, name in header_variables(self.config.headers).items() if header.lower() not in self._given]
        if {name.lower() for name in self.config.headers} & {"authorization", "x-api-key"}:
            return headers
        default = attrs.fields_dict(type(self.config))
        unset = [
            deployment.api_key_env
            for deployment in self._deployments.all
            if deployment.api_key_env
            and not deployment.api_key
            and (deployment.api_key_env != default["api_key_env"].default or deployment.base_url == default["base_url"].default)
        ]
        return list(dict.fromkeys((*headers, *unset)))

    @property
    def apis(self) -> Collection[str]:
        """The names of the APIs that the endpoint offers."""
        return self._apis

    def state(self) -> EndpointState:
        """Return the endpoint's present state: unavailable while the circuit breakers of all deployments are open."""
        return self._deployments.state()

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._sessions.close()

    async def send(self, candidate: Candidate, request: WireRequest) -> WireReply:
        """Send a request and return the whole answer; in JSON, null takes the place of NaN and infinities.

        Raises:
            ProviderError: No attempt was answered; the error is the last one's.
        """
        body = RequestBody(candidate, self._adapted(candidate, request), self._omitted)

        async def attempt(turn: DeploymentTurn) -> WireReply:
            status, headers, content = await whole_answer(await self._begin(turn.deployment, body), self.config.max_answer_bytes)
            answer = None
            if request.api in _JSON_APIS and (request.api != "embeddings" or len(content) <= _LONG_ANSWER):
                answer = checked_answer(content, api=request.api)
                if turn.counts_tokens:
                    turn.count(usage_of(request.api, answer))
            turn.succeed()
            return WireReply(status=status, headers=headers, body=content if answer is None else strict_json(content), answer=answer)

        return await self._attempts(body, attempt)

    async def events(self, candidate: Candidate, request: WireRequest) -> AsyncGenerator[bytes, None]:
        """Send a request with ``"stream": true`` and yield each server-sent event as it came.

        Comments before the first one are left out, and NaN and infinities become null.

        Raises:
            ProviderError: No attempt was answered, or the connection was lost.
        """
        body = RequestBody(candidate, self._adapted(candidate, request), self._omitted, stream=True)

        async def attempt(turn: DeploymentTurn) -> tuple[EventStream, DeploymentTurn]:
            stream = await EventStream.open(self._begin(turn.deployment, body), self.config)
            turn.answering()
            return stream, turn

        stream, turn = await self._attempts(body, attempt)
        dialect = request.api if request.api in DIALECTS else None
        monitor = StreamMonitor(dialect) if turn.counts_tokens and dialect is not None else None
        last: deque[bytes] = deque(maxlen=_LAST_EVENTS)
        began, held_s = time.monotonic(), 0.0
        try:
            events = stream.first
            while events:
                for event in events:
                    if monitor is not None:
                        monitor.feed(event)
                    last.append(event)
                    if b'"error"' in event:
                        event = without_key(event, turn.deployment.api_key)
                        if (error := error_in_event(json_object(data_of(event)) or {})) is not None:
                            _end_turn(turn, reported(error, event))
                    elif b"[DONE]" in event and data_of(event) == b"[DONE]":
                        _judge(turn, dialect, last)  # callers read nothing after it
                    given = time.monotonic()
                    yield strict_event(event)
                    held_s += time.monotonic() - given
                events = await stream.more()
            _judge(turn, dialect, last)
        except (*_ERRORS, Failure) as raised:
            failure = redacted(raised if isinstance(raised, Failure) else failure_of(raised, self.config), turn.deployment.api_key)
            if held_s > max(_HELD_S, (time.monotonic() - began) / 2):  # the caller, such as a slow client, used the time up
                failure = attrs.evolve(failure, text=f"was read too slowly and {failure.text}", kind="cancelled")
            else:
                turn.fail(failure.text)
            raise self._error(body, turn.deployment, failure) from raised
        finally:
            turn.drop()
            stream.close()
            if monitor is not None:
                turn.count(monitor.usage)

    async def _attempts(self, body: RequestBody, attempt: Callable[[DeploymentTurn], Awaitable[T]]) -> T:
        """Return the result of the first attempt that succeeds."""
        config, deployments = self.config, self._deployments
        tokens = body.estimated_tokens if self._limits_tokens else 0.0
        tried: set[Deployment] = set()
        last: tuple[Deployment, Failure] | None = None
        paused, waited_s = 0, 0.0
        body.request.on_sent(False)
        while True:
            turn = deployments.turn(tokens, tried)
            if not isinstance(turn, DeploymentTurn):
                waited_s += turn
                if waited_s > config.max_pause_s:
                    raise self._error(body, *(last or self._busy(turn)))
                await asyncio.sleep(turn)
                continue
            if last is not None and not await _permitted(turn, last[1]):
                raise self._error(body, *last)
            try:
                return await attempt(turn)
            except (*_ERRORS, Failure) as error:
                failure = asked_model(error, body.request) if isinstance(error, Failure) else failure_of(error, config)
                failure = redacted(failure, turn.deployment.api_key)
                failure = failure.with_traceback(None)  # it has this frame, which has the failure: a cycle that keeps the request and its answer
                body.attempts.fail(failure)
                _end_turn(turn, failure)
            except BaseException:
                turn.drop()
                raise
            last = turn.deployment, failure
            tried.add(turn.deployment)
            is_final = failure.kind not in (*RETRIED, "authentication") and failure.status not in ELSEWHERE
            if is_final or _used(body.request.api, failure) is not None:
                raise self._error(body, *last) from failure
            others_free = deployments.others_free(tokens, tried)
            ends = paused == config.retries or failure.kind not in RETRIED
            if failure.kind == "rate_limit" and failure.retry_after_s is None and (others_free or ends or turn.deployment.pause_s):
                failure, ends = attrs.evolve(failure, retry_after_s=deployments.pause(turn.deployment)), True
                last = turn.deployment, failure
            if others_free:
                continue
            if ends:
                raise self._error(body, *last) from failure
            paused += 1
            if (failure.retry_after_s or 0.0) <= config.max_pause_s:
                await asyncio.sleep(pause_s(paused - 1, failure.retry_after_s, config.max_pause_s))
            elif failure.kind != "rate_limit":  # else the deployment is paused, and the next turn is another one's, or too late
                raise self._error(body, *last) from failure

    def _busy(self, wait_s: float) -> tuple[Deployment, Failure]:
        """Return the failure of a call for which no deployment is free."""
        stopped = next((deployment for deployment in self._deployments.all if deployment.breaker.is_open), None)
        if stopped is not None:
            text = f"is not called for {wait_s:.3g} s after failures, of which the last was: {stopped.breaker.failure}"
            return stopped, Failure(text, "server", retry_after_s=wait_s)
        paused = min(self._deployments.all, key=lambda deployment: deployment.paused_until)
        if paused.paused_until >= time.monotonic() + wait_s * 0.999:
            return paused, Failure(f"gets no request for {wait_s:.3g} s after its answer 429", "rate_limit", retry_after_s=wait_s)
        text = f"has no request or token left of its limits per minute for {wait_s:.3g} s"
        return self._deployments.all[0], Failure(text, "rate_limit", retry_after_s=wait_s)

    def _error(self, body: RequestBody, deployment: Deployment, failure: Failure) -> ProviderError:
        place = f"at {shown_address(deployment.base_url)}"
        error = provider_error(failure, body.candidate.name, place, deployment.api_key_env, bool(deployment.api_key))
        error.reported = _used(body.request.api, failure)
        return error

    async def _begin(self, deployment: Deployment, body: RequestBody) -> aiohttp.ClientResponse:
        """Send a request and return the answer's head; from then on, silence is limited."""
        request = body.request
        headers = self._headers.copy()
        headers |= {lowered: value for name, value in request.headers.items() if (lowered := name.lower()) not in _RESERVED}
        headers |= self._key_headers[deployment]
        session = await self._sessions.session()
        try:
            response = await session.request(
                request.method,
                URL(self.address(deployment.base_url, request.api), encoded=True),
                data=body.payload(deployment.model),
                headers=headers,
                proxy=self._proxies[deployment.base_url],
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            forget_addresses(session)
            raise
        connection = response.connection
        if connection is not None and connection.protocol is not None:  # None: the whole answer is already here
            connection.protocol.read_timeout = self.config.idle_timeout_s
            connection.protocol.start_timeout()
        return response


def _used(api: str, failure: Failure) -> Chunk | None:
    """Return the usage and cost that an error reports, as OpenRouter's may with status 200; None if it reports none, or zero."""
    answer = json_object(failure.body) or {}
    usage, cost_usd = usage_of(api, answer), reported_cost(answer)
    return Chunk(usage=usage, cost_usd=cost_usd) if usage.prompt_tokens or usage.output_tokens or cost_usd > 0 else None


async def _permitted(turn: DeploymentTurn, failure: Failure) -> bool:
    """Return whether another attempt may be made after a failure; without permission the turn is over."""
    permitted = False
    try:
        permitted = await may_repeat(failure)
    finally:
        if not permitted:
            turn.drop()
    return permitted


def _end_turn(turn: DeploymentTurn, failure: Failure) -> None:
    """End a turn by its failure: a server that refuses the request itself works."""
    if failure.kind == "rate_limit":
        turn.drop(min(failure.retry_after_s or 0.0, LONGEST_PAUSE_S))
    elif failure.kind != "request":
        turn.fail(failure.text)
    else:
        turn.succeed()


def _judge(turn: DeploymentTurn, dialect: str | None, events: Iterable[bytes]) -> None:
    """End the turn of a stream that has ended by its last events: they have its finish, unless the server cut the answer."""
    if dialect is not None:
        monitor = StreamMonitor(dialect)
        for event in events:
            monitor.feed(event)
        if not monitor.finished:
            turn.fail("cut its answer: its stream ended before the answer did")
    turn.succeed()  # nothing, if it has failed
