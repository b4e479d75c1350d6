"""The stickiness of conversations: the candidate that one belongs to, and whether it must stay there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import attrs
from aamc_models.dialects import last_call

from aamc_gateway.access.callers import Refused
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.requests.object_owners import ObjectOwners
from aamc_gateway.requests.sessions import Answered, Sessions
from aamc_gateway.server.gateway import Gateway
from aamc_sdk.errors import StoreAwayError
from aamc_sdk.messages import one_of

UNMOVABLE = frozenset(("previous_response_id", "item_reference", "container"))
"""State that is a part of the conversation: without it, another candidate would miss a part of the conversation."""


@attrs.frozen
class Origin:
    """The candidate that a conversation was with, and whether it must stay there.

    Attributes:
        candidate: The candidate that answered last; None if unknown.
        is_cached: Whether it is expected to hold the prompt in its cache.
        is_sticky: Whether the conversation stays on it.
        movable: Whether another candidate may continue the conversation.
        mixed: Whether another candidate has answered before it.
    """

    candidate: str | None = None
    is_cached: bool = False
    is_sticky: bool = False
    movable: bool = True
    mixed: bool = False


UNKNOWN = Origin()


def _call_key(session: str, call_id: str) -> str:
    """Return the key of the answer in a conversation whose last tool call has an id."""
    return f"{session}/call/{call_id}"


async def find_origin(gateway: Gateway, request: ClientRequest, names: Collection[str]) -> Origin:
    """Return the origin of a conversation.

    Raises:
        Refused: The request continues an answer that the gateway does not know, or another tenant's.
        StoreAwayError: Only one candidate can continue it, and the other workers cannot be asked for it.
    """
    fixed = bool(request.foreign_state & UNMOVABLE)
    keys: list[tuple[Sessions | ObjectOwners, str]] = []
    if request.dialect == "responses":
        await gateway.owners.check(request.caller, request.body)
        previous = request.body.get("previous_response_id")
        keys += [(gateway.owners, previous)] if isinstance(previous, str) and previous else []
    if request.session_key is not None:
        entries = request.body.get("input" if request.dialect == "responses" else "messages")
        call_id = last_call(request.dialect, entries) if "open_tool_calls" in request.foreign_state and isinstance(entries, list) else None
        keys += [*([] if call_id is None else [(gateway.calls, _call_key(request.session_key, call_id))]), (gateway.sessions, request.session_key)]
    answered = None
    for place, key in keys:
        try:
            answered = answered or await place.find(key)
        except StoreAwayError:
            if fixed:
                raise
    able = [name for name in gateway.upstreams if not fixed or request.api in gateway.upstreams[name].apis]
    if answered is not None and answered.candidate not in able:
        answered = None  # the pool has changed since, or another conversation began alike
    if fixed and request.mode == "model" and request.dialect == "responses" and answered is not None and answered.candidate != request.model:
        answered = None  # its client says whose server has the state
    if answered is None:
        if not fixed:
            return UNKNOWN
        native = [name for name in names if name in able]
        if request.mode != "model" and len(native) != 1:
            others = set(names).difference(native)
            without = f" (models whose endpoints lack {request.api!r} in apis: {one_of(others)})" if others else ""
            advice = "send the whole conversation" + (", or name its model" if native else "")
            raise Refused(f"the request continues an answer that this gateway does not know{without}: {advice}")
        answered = Answered(request.model if request.mode == "model" else native[0], 0.0)
    if answered.candidate not in able:
        advice = "send the whole conversation, and store: false if your client replaces earlier items by references"
        raise Refused(f"{answered.candidate!r} keeps no earlier answers (its endpoint lacks {request.api!r} in apis): {advice}")
    cached = time.time() - answered.at < gateway.settings.sessions.cache_s
    return Origin(answered.candidate, cached, fixed or bool(request.foreign_state & gateway.ties), not fixed, answered.mixed)


async def remember_answer(gateway: Gateway, request: ClientRequest, origin: Origin, name: str, call_id: str | None = None) -> None:
    """Remember the candidate that answered a conversation of an origin, and the id of its last tool call.

    Call it before the answer ends: its client may go on at another worker at once. Conversations that begin alike, such as those of several agents,
    differ in the ids of their calls.
    """
    mixed = origin.mixed or origin.candidate not in (None, name)
    keys = []
    if request.session_key is not None and not request.side_request:  # a title is not a turn of the conversation whose id it has
        keys.append((gateway.sessions, request.session_key))
        if call_id is not None:
            keys.append((gateway.calls, _call_key(request.session_key, call_id)))
    notes = [sessions.note(key, name, mixed) for sessions, key in keys]
    if len(notes) == 1:  # a task takes several times as long as the note in this worker's memory
        await notes[0]
    else:
        await asyncio.gather(*notes)
