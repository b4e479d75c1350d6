"""The exact cache: the same request of the same tenant gets the same answer again, at no cost."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import attrs
import orjson
from aamc_models.dialects import answer_events, convert_answer, last_events, wants_usage

from aamc_gateway.access.callers import hashed_name
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.settings import CacheSettings
from aamc_gateway.access.shared import SharedState
from aamc_gateway.forwarding.answers.event_sender import KEEP_ALIVE
from aamc_gateway.requests.client_request import ClientRequest
from aamc_sdk.errors import AamcError
from aamc_sdk.types import Candidate, Record

APIS = ("chat", "messages", "responses", "completions", "embeddings")
"""The APIs whose answers are cached."""
_MAX_REQUEST = 256_000
"""Maximum bytes of a request whose answer is cached: hashing a larger one would delay other requests."""
_GROUP = "cache"
_MAX_SHARE = 0.1
"""Share of the cache that one answer may take."""
_WITHOUT_EFFECT = frozenset(("stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "service_tier"))
"""Fields without effect on the answer."""
_HEADERS = ("anthropic-beta", "anthropic-version", "openai-beta")
"""Headers that may change the answer; others, such as ``traceparent``, differ in each request."""
_SIDE_STATE = (
    *("tools", "functions", "mcp_servers", "container", "web_search_options", "previous_response_id", "conversation", "background", "prompt"),
    *("item_reference", "modalities", "audio"),
)
"""Fields that use tools or state outside the body."""


@attrs.frozen
class CachedAnswer:
    """An answer that was given before.

    Attributes:
        candidate: The candidate that gave it.
        cost_usd: What it cost then, which is saved now; NaN if unknown.
        decision_id: The decision that it was given for, for feedback; None if another user asks again, whose feedback must not count for it.
        user: A hash of the user who got it, see :func:`user_hash`.
        content: The JSON of a whole answer, or the server-sent events of a stream.
    """

    candidate: str
    cost_usd: float
    decision_id: str | None
    user: str | None
    content: bytes

    def to_bytes(self) -> bytes:
        """Return it with its facts in the first line."""
        return orjson.dumps([self.candidate, self.cost_usd, self.decision_id, self.user]) + b"\n" + self.content  # NaN becomes null

    @classmethod
    def for_request(cls, value: bytes, request: ClientRequest) -> CachedAnswer:
        """Return the answer of :meth:`to_bytes` as the user of a request gets it."""
        facts, _, content = value.partition(b"\n")
        candidate, cost_usd, decision_id, user = orjson.loads(facts)
        return cls(candidate, math.nan if cost_usd is None else cost_usd, decision_id if user == user_hash(request) else None, user, content)


class AnswerCache:
    """Keeps answers, which are found as long as the candidates have the same endpoints and parameters.

    Attributes:
        max_answer: Maximum size of an answer to keep, in bytes.
    """

    def __init__(self, settings: CacheSettings, shared: SharedState, erasable: ErasableValues, candidates: Collection[Candidate]) -> None:
        self._settings, self._shared, self._erasable = settings, shared, erasable
        servers = repr([(each.name, each.endpoint, each.parameters) for each in candidates])
        self._servers = hashlib.sha256(servers.encode(errors="replace")).hexdigest()
        self._prices = repr([each.prices for each in candidates])
        self._max_bytes = round(1e6 * settings.max_mb)
        self.max_answer = round(_MAX_SHARE * self._max_bytes)

    def key(self, request: ClientRequest) -> str | None:
        """Return the key of a request; None if its answer must not be cached.

        That is the case where tools or state outside the request take part, and, unless the settings allow it, where the answer may differ each time,
        as without temperature 0.
        """
        if not self._settings.enabled or request.api not in APIS or request.mode not in ("route", "model") or request.body_bytes > _MAX_REQUEST:
            return None
        body = request.body
        is_fixed = request.api == "embeddings" or self._settings.any_temperature or (body.get("temperature") == 0 and body.get("n") in (None, 1))
        side_state = [name for name in _SIDE_STATE if body.get(name) and not (name == "prompt" and request.api == "completions")]
        if not is_fixed or side_state or request.foreign_state:
            return None
        plain = {name: value for name, value in body.items() if name not in _WITHOUT_EFFECT}
        routing = [request.mode, request.model, request.preference, request.quality_floor, request.budget_usd, sorted(request.caller.models)]
        routing += [request.headers.get(name) for name in _HEADERS]
        if request.api == "embeddings":
            routing.append(self._prices)  # they choose the model
        try:
            text = orjson.dumps([self._servers, request.api, request.dialect, plain, routing], default=str, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # such as a number beyond 64 bits
            return None
        return f"{request.caller.group(_GROUP)}/{hashlib.sha256(text).hexdigest()}"

    async def find(self, key: str, request: ClientRequest) -> CachedAnswer | None:
        """Return the answer of a key, as events if the request asks for a stream; None for none or a damaged one, or if the shared state is away."""
        try:
            value = await self._shared.get(_place(key, request))
            if value is not None:
                found = CachedAnswer.for_request(value, request)
                return attrs.evolve(found, content=_with_document(found.content, request.dialect, _document(found))) if request.stream else found
            whole = await self._shared.get(f"{key}/whole") if request.stream else None
            if whole is None:
                return None
            found = CachedAnswer.for_request(whole, request)
            events = _events_of(request.dialect, orjson.loads(found.content), found.candidate, _document(found), usage=wants_usage(request.body))
        except (AamcError, AttributeError, KeyError, TypeError, ValueError):  # away, or a value that is damaged or of another version
            return None
        return None if events is None else attrs.evolve(found, content=events)

    async def keep(self, key: str, request: ClientRequest, answer: CachedAnswer, record: Record) -> None:
        """Keep an answer of at most ``max_answer`` bytes, unless its tenant has too many, or the shared state is away.

        The answer is whole, or all events of a stream if the request asked for one. It is deleted when the user of its decision is forgotten.
        """
        with suppress(AamcError):
            place = _place(key, request)
            if await self._erasable.note(place, record, self._settings.ttl_s):
                group = request.caller.group(_GROUP)
                await self._shared.put(place, answer.to_bytes(), self._settings.ttl_s, group=group, max_bytes=self._max_bytes)


def user_hash(request: ClientRequest) -> str | None:
    """Return a hash of a request's user, so that no kept value contains the name; None without a user."""
    user = request.query.user
    return None if user is None else hashed_name(user)


def _place(key: str, request: ClientRequest) -> str:
    """Return the cache key of the form of an answer that a request asks for."""
    if not request.stream:
        return f"{key}/whole"
    return f"{key}/events+usage" if wants_usage(request.body) else f"{key}/events"


def _document(answer: CachedAnswer) -> dict[str, Any]:
    """Return the ``aamc`` object of a cached stream."""
    return {"decision_id": answer.decision_id, "model": answer.candidate, "cost_usd": 0.0, "cost_source": "priced", "cache": "hit"}


def _events_of(dialect: str, answer: Mapping[str, Any], model: str, document: Mapping[str, Any], *, usage: bool) -> bytes | None:
    """Return a whole answer as the events of a stream; None if it has more than text."""
    if not _is_plain(dialect, answer):
        return None
    chat = answer if dialect == "chat" else convert_answer(dialect, "chat", answer)
    return answer_events(chat, dialect, chat.get("model") or model, document, shows_usage=usage)


def _with_document(events: bytes, dialect: str, document: Mapping[str, Any]) -> bytes:
    """Return the events of a stream with another ``aamc`` object; keep-alives are left out."""
    plain = events.replace(KEEP_ALIVE, b"").replace(b"\r\n", b"\n")  # data in JSON has no line ends of its own
    parts = [part + b"\n\n" for part in plain.split(b"\n\n") if part]
    return last_events(parts, dialect, document)


def _is_plain(dialect: str, answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is one text and nothing else."""
    if dialect == "messages":
        return _are_of(answer.get("content"), "text")
    if dialect == "responses":
        output = answer.get("output") or []
        return len(output) == 1 and _are_of(output, "message") and _are_of(output[0].get("content"), "output_text")
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or choices[0].get("logprobs"):
        return False
    if dialect == "completions":
        return isinstance(choices[0].get("text"), str)
    message = choices[0].get("message", {})
    return isinstance(message.get("content"), str) and not any(value for name, value in message.items() if name not in ("role", "content"))


def _are_of(parts: Any, kind: str) -> bool:
    return isinstance(parts, list) and bool(parts) and all(isinstance(part, dict) and part.get("type") == kind for part in parts)
