"""``POST /v1/feedback``, and ``/admin/feedback`` for the dashboard: feedback of clients, such as thumbs, which is in the log before the answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.max_cost import maximum_prices
from aamc_gateway.requests.bodies import read_small_json
from aamc_gateway.requests.routing_arguments import length_error
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_safe_json
from aamc_sdk import MetaController
from aamc_sdk.errors import ConflictError, DataError, UnknownCandidateError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import RowStore, columns_of
from aamc_sdk.messages import one_of, unknown_name
from aamc_sdk.types import Attempt, Candidate, Pool, Record, is_implicit

EXAMPLE = '{"decision_id": "...", "quality": 1}'
"""A body with feedback, for messages."""
THUMBS = {"up": 1.0, "down": 0.0}
"""The quality that a click stands for."""
THUMBS_SOURCE = "implicit:thumbs"
"""The source of thumbs events: a click is less considered than explicit feedback, so it counts only where there is none."""
_FIGURES = ("cost_usd", "latency_ms", "output_tokens")
FIELDS = ("decision_id", "quality", "over", "tie", "thumbs", "candidate", "confidence", "source", "revision", "id", *_FIGURES)
ADMIN_FIELDS = ("weight",)
_FIRST_REVISION, _REVISIONS = 1_735_689_600_000, 10**12
"""The start of 2025 in milliseconds since the epoch: revisions of thumbs are milliseconds since then. They are taken modulo the second number,
as a clock before 2025 would give negative ones."""
_VOTE = re.compile(r"/vote(:|/|$)")
FOREIGN = "of another tenant or user"
"""Ends the id under which feedback on another tenant's or user's decision waits: it gets the answers of an unknown decision, and never counts."""
_NAMES = ("decision_id", "id", "source", "candidate", "over")
_MAX_WINDOW, _MAX_MS = 2_000_000, 24 * 3600 * 1000.0
"""Maximum tokens of a context window and milliseconds of a call that a client may report."""
_PRICE_FACTOR = 10.0
"""Ratio of the maximum cost that a client may report to that of a full context window, as for retries and other tiers."""
_ALWAYS_USD = 10.0
"""Cost in USD that a client may report for every candidate."""
_CALL = 0
"""The number of the call that figures are of: a decision has them once."""


def read_feedback(body: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """Return the fields of feedback, as :meth:`aamc_sdk.MetaController.feedback` takes them.

    Raises:
        DataError: A field is unknown, missing, or contradicts another one.
        Refused: The caller may not give a field.
    """
    for name in body:
        if name in ADMIN_FIELDS and not caller.admin:
            raise Refused(f"{name!r} in feedback needs an admin key; leave it out", status=403, kind="permission")
        if name not in (*FIELDS, *ADMIN_FIELDS):
            raise DataError(unknown_name("feedback has no field", name, FIELDS))
    given = {name: value for name, value in body.items() if value is not None}
    if not isinstance(given.get("decision_id"), str) or not given["decision_id"]:
        found = given.get("decision_id")
        raise DataError(f"decision_id must be the id in the answer's header x-aamc-decision-id, not {found!r:.80}")
    for name in _NAMES:
        if isinstance(given.get(name), str) and (wrong := length_error(given[name])):  # the log keeps feedback on unknown decisions until they come
            raise DataError(f"{name} {wrong}")
    if "revision" in given and ("thumbs" in given or given.get("source") == THUMBS_SOURCE):  # a high one would hide all later clicks
        raise DataError("thumbs take no revision: the last click counts; leave it out")
    if "thumbs" in given:
        given = _thumbs(given)
    elif "quality" not in given and "over" not in given:
        if not any(name in given for name in _FIGURES):
            ways = "quality (from 0 to 1), over (the candidate that was beaten), thumbs (up or down)"
            raise DataError(f"feedback must give {ways}, or a figure of {', '.join(_FIGURES)}")
        if extra := [name for name in given if name not in ("decision_id", "candidate", *_FIGURES)]:
            raise DataError(f"{extra[0]} is for feedback with quality, over or thumbs, not for figures alone; leave it out")
    if isinstance(given.get("id"), str) and given["id"]:
        own = f"{given['decision_id']}/"  # begins its id in the log, so that it cannot be that of feedback on another caller's decision
        given["id"] = own + given["id"].removeprefix(own)
    _check_no_vote(given, caller)
    return given


def _check_no_vote(given: Mapping[str, Any], caller: Caller) -> None:
    """Refuse feedback that takes the place of a vote in the arena, by its source or an id of its source, but for admins."""
    for name, text in (("source", f"/{given.get('source')}"), ("id", str(given.get("id")))):
        if _VOTE.search(text) and not caller.admin:
            how = f"vote by POST to the path in the header x-aamc-vote and /vote, or give another {name}"
            raise Refused(f"{name} {given[name]!r:.80} is for votes in the arena; {how}", status=403, kind="permission")


def _thumbs(given: dict[str, Any]) -> dict[str, Any]:
    if "quality" in given or "over" in given:
        raise DataError("feedback must give thumbs, quality or over, not several of them")
    thumbs = given.pop("thumbs")
    if not isinstance(thumbs, str) or thumbs not in THUMBS:
        raise DataError(f"thumbs must be up or down, not {thumbs!r:.80}")
    source = str(given.get("source", THUMBS_SOURCE))
    given["source"] = source if is_implicit(source) else f"implicit:{source}"
    return {**given, "quality": THUMBS[thumbs], "revision": (time.time_ns() // 1_000_000 - _FIRST_REVISION) % _REVISIONS}


def add_feedback(controller: MetaController, body: Mapping[str, Any], caller: Caller, *, may_wait: bool = True) -> dict[str, Any]:
    """Record feedback; return the document of ``aamc feedback add --json``. It is in the log when this returns.

    The same feedback again changes nothing. Other feedback of the same source needs a higher ``revision``; thumbs get one by the clock, so that the
    last click counts. Figures count once.

    Raises:
        DataError: A field cannot be used, or names a candidate that the decision did not have or whose call the log lacks; or there are figures, and
            the log has the call.
        Refused: The log has other feedback of that source, or other figures.
        StoreError: The log cannot be written.
        UnknownDecisionError: It would have to wait for its decision, and not ``may_wait``.
    """
    given = read_feedback(body, caller)
    decision_id = given.pop("decision_id")
    record = None
    with suppress(UnknownDecisionError):  # the log may get it later
        record = controller.store.record(decision_id)
    # Foreign: of a tenant other than the caller's, or of a user other than the key's if it belongs to one.
    query = None if record is None or caller.admin else record.query
    foreign = query is not None and (query.tenant != caller.tenant or caller.user not in (None, query.user))
    waits, kept_on = record is None or foreign, f"{decision_id}/{FOREIGN}" if foreign else decision_id
    if waits and "/" in decision_id and not caller.admin:  # DECISION/ID is the id of feedback on another decision
        raise DataError(f"decision_id must be the id in the answer's header x-aamc-decision-id, which has no '/', not {decision_id!r:.80}")
    if waits and not may_wait:
        raise UnknownDecisionError(f"decision {decision_id!r} is not in the log")
    feedback_id = given.get("id", f"{decision_id}/{given.get('source', 'explicit')}")
    if isinstance(given.get("id"), str) and given["id"]:
        given["id"] = kept_on + given["id"].removeprefix(decision_id)
    call = {name: given.pop(name) for name in _FIGURES if name in given}
    if call and "candidate" in given:
        call["candidate"] = given["candidate"]
    if call and not caller.admin:
        _check_figures(controller.pool, call, None if record is None or foreign else record.decision.candidate)
    with_feedback = given.get("id", f"{kept_on}/{given.get('source', 'explicit')}")
    new = adds_call = bool(call) and _is_new(controller.store, kept_on, call, decision_id, with_feedback)
    if record is not None and not waits and not caller.admin:
        _check_answered(controller.store, record, given)
    try:
        if "quality" in given or "over" in given:
            new = _record(controller, kept_on, given, is_click="thumbs" in body) or adds_call
    except UnknownCandidateError:
        raise  # a wrong field, no other feedback
    except ConflictError as error:
        raise Refused(str(error).replace(kept_on, decision_id), status=409) from error
    if adds_call:
        try:
            controller.attempt(kept_on, n=_CALL, **call)
        except UnknownCandidateError:
            raise
        except ConflictError as error:
            raise _other_figures(decision_id) from error
    return {"schema": 1, "id": feedback_id, "decision_id": decision_id, "new": new, "waits": waits}


def _record(controller: MetaController, decision_id: str, given: Mapping[str, Any], *, is_click: bool) -> bool:
    """Record feedback and return whether it is new. A click replaces the last one, also if that one's clock was ahead."""
    while True:
        try:
            return controller.feedback(decision_id, **given)
        except ConflictError as error:
            if not is_click or error.revision is None:
                raise
            given = {**given, "revision": error.revision + 1}


def _is_new(store: Store, kept_on: str, call: Mapping[str, Any], decision_id: str, feedback_id: str) -> bool:
    """Return whether the log has no figures of a call yet; pending ones are left out. A controller logs them with their feedback.

    Raises:
        DataError: A figure cannot be used, or the log has calls of the decision.
        Refused: The log has other figures.
    """
    Attempt(kept_on, **call)
    known = store.attempts([kept_on])[kept_on] if isinstance(store, RowStore) else ()
    if not known:
        return True
    own = next((row for row in known if row.id in (f"{kept_on}/{_CALL}", f"{kept_on}/feedback/{feedback_id}")), None)
    if own is None:
        raise DataError(f"the log has the calls of decision {decision_id!r} already: leave {', '.join(_FIGURES)} out")
    if any(own.fields.get(name) != call.get(name) for name in _FIGURES) or call.get("candidate", own.candidate) != own.candidate:
        raise _other_figures(decision_id)
    return False


def _check_figures(pool: Pool, call: Mapping[str, Any], chosen: str | None) -> None:
    """Refuse figures beyond those of any call: the dashboard's sums, which all see, hold what one client reports."""
    priced = [each for each in pool if each.prices is not None]
    named = [each for each in priced if each.name == call.get("candidate", chosen)]
    most_usd = max([_ALWAYS_USD, *(_PRICE_FACTOR * _full_window_usd(each) for each in named or priced)])
    for name, most in {"cost_usd": most_usd, "latency_ms": _MAX_MS, "output_tokens": _MAX_WINDOW}.items():
        if isinstance(value := call.get(name), int | float) and value > most:
            raise DataError(f"{name} must be at most {most:.15g} for this decision, not {value!r:.80}; an admin key may report more")


def _full_window_usd(candidate: Candidate) -> float:
    """Return the cost of as many tokens as the candidate's context window has, at its highest price."""
    assert candidate.prices is not None
    input_price, output_price, per_request, written = maximum_prices(candidate.prices)
    return (candidate.context_window or _MAX_WINDOW) * max(input_price, output_price, written) / 1e6 + per_request


def _check_answered(store: Store, record: Record, given: Mapping[str, Any]) -> None:
    """Refuse feedback on a candidate that gave no answer: its router would learn from a claim that nobody paid for.

    A decision without calls of the gateway, as of ``POST /v1/route``, may have been answered elsewhere by any of its candidates.
    """
    known = store.attempts([record.decision.id])[record.decision.id] if isinstance(store, RowStore) else ()
    calls = [row for row in known if "call" in row.fields]  # figures that clients report have no id of a call
    answered = {row.candidate for row in calls if columns_of(row)["status"] not in ("error", "refused")}
    for name in ("candidate", "over") if calls else ():
        if given.get(name) in record.candidates and given[name] not in answered:
            text = f"{name} {given[name]!r} gave no answer for decision {record.decision.id!r}; answers are of: {one_of(answered)}"
            raise DataError(f"{text}; leave {name} out, or use an admin key")


def _other_figures(decision_id: str) -> Refused:
    return Refused(f"the log has other figures of decision {decision_id!r}; they are reported once", status=409)


async def feedback(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 once the feedback is in the log, 202 if it waits there for its decision."""
    body, caller = await read_small_json(gateway.large_bodies, scope, receive, EXAMPLE), scope["caller"]
    await gateway.access.admit_feedback(caller)  # its key could fill the disk with revisions
    await gateway.commits.written()
    try:
        document = await asyncio.to_thread(add_feedback, gateway.controller, body, caller, may_wait=False)
    except UnknownDecisionError:
        async with gateway.access.admitted(caller):  # its key could fill the disk with feedback on invented decisions
            document = await asyncio.to_thread(add_feedback, gateway.controller, body, caller)
    await send_safe_json(send, document, 202 if document["waits"] else 200)
