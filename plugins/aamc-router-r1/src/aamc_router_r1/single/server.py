"""The server of single decisions: ``POST /route``, ``POST /v1/chat/completions`` and ``GET /health``."""

from __future__ import annotations

import hmac
import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from aamc_datasets.json_rows import MAX_MS, MAX_USD, bounded_number
from aamc_models import foreign_header
from aamc_models.dialects import answer_events, chat_head, conversation_of, usage_object, wants_usage
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.episode.calls import request_options
from aamc_router_r1.policy import stated, trained_alphas
from aamc_router_r1.single.policy_calls import FirstCall, SelectionError
from aamc_sdk import Preference, Query
from aamc_sdk.errors import AamcError, DataError, ProviderError, public_message
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT, ModelCaller
from aamc_sdk.messages import check_type
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.types import Candidate, Pool, Turn

logger = logging.getLogger(__name__)
PARAMETERS = ("temperature", "top_p", "stop", "seed", "tools", "tool_choice")
"""Parameters of a chat completion that reach the policy, besides the limit of tokens."""
KEY_VARIABLE = "AAMC_ROUTER_KEY"
"""The environment variable of the key that requests must send."""
_MAX_BODY = 1_000_000
"""Maximum size of a request's body in bytes, more than the context of most models."""
_MAX_CANDIDATES = 1000
"""Maximum number of candidates of a request: reading 100,000 takes 16 seconds, in which the server answers nobody."""


class DecisionServer:
    """Asks a policy which model to call, and serves the answer over HTTP. Requests that name no candidates get those of the pool.

    Args:
        options: The options of the policy's prompt.
        policy: The candidate that decides.
        pool: The candidates for requests without any.
        client: Calls the policy.
        quality: The measured quality of candidates, which the prompt states.
        key: The key that requests must send; ``""`` to answer requests of this machine only, without a key.
    """

    def __init__(
        self,
        options: RouterR1Config,
        policy: Candidate,
        pool: Pool,
        client: ModelCaller,
        quality: Mapping[str, Mapping[str, float]] | None = None,
        *,
        key: str = "",
    ) -> None:
        self._key = key.encode()
        self._options, self._policy, self._client = options, policy, client
        self._pool = Pool(candidate for candidate in pool if options.consult_policy or candidate.name != policy.name)
        self._alphas = trained_alphas(policy, options)
        self._selector = FirstCall(options, policy, client, quality)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self.health, methods=["GET"]),
                Route("/route", self.route, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _refusal},
        )

    async def health(self, request: Request) -> JSONResponse:
        """Answer that the server works, with the policy's name."""
        return JSONResponse({"status": "healthy", "policy": self._policy.name, "models": list(self._pool.names)})

    async def route(self, request: Request) -> JSONResponse:
        """Answer with ``selected_model``, ``thinking``, ``full_response`` and ``cost_usd``."""
        try:
            body = await self._body(request)
            query, pool, preference = _query(body), self._candidates(body.get("candidates")), body.get("preference")
            preference = None if preference is None else Preference.of(preference)
        except AamcError as error:
            return _error(str(error), 400)
        preference = stated(preference or Preference(), self._alphas, preference is not None)
        try:
            found = await self._selector.select(query, pool, preference)
        except SelectionError as error:
            return _error(str(error), 422, error.cost_usd)
        except AamcError as error:
            return _failed(error)
        if found.candidate not in pool.names:
            message = f"the policy {found.candidate!r} answered the query itself, and it is not a candidate; use another router for this query"
            return _error(message, 422, found.cost_usd)
        document = {"selected_model": found.candidate, "thinking": found.thinking, "full_response": found.text}
        return JSONResponse({**document, "cost_usd": _known_cost(found.cost_usd)})

    async def chat(self, request: Request) -> Response:
        """Answer a chat completion by the policy, of at most ``turn_tokens`` tokens; a streamed one is sent when the turn is whole."""
        try:
            body = await self._body(request)
            streamed = check_type(body.get("stream"), bool | None, "stream must be true or false", DataError)
            check_type(body.get("stream_options"), Mapping | None, "stream_options must be an object such as {'include_usage': true}", DataError)
            asked = request_options(self._policy, _tokens(body, self._options.turn_tokens), {name: body[name] for name in PARAMETERS if name in body})
            answer = await self._client.complete(self._policy, _messages(body), **asked)
        except DataError as error:
            return _error(str(error), 400)
        except AamcError as error:
            return _failed(error)
        choice = {"index": 0, "message": dict(answer.message), "finish_reason": answer.finish_reason}
        head, usage = chat_head(self._policy.name, "chat.completion"), usage_object("chat", answer.usage)
        whole = {**head, "choices": [choice], "usage": usage}
        if not streamed:
            return JSONResponse(whole)
        events = answer_events(whole, "chat", self._policy.name, shows_usage=wants_usage(body))
        return Response(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def _body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of a request from a caller that may ask.

        Raises:
            DataError: The body is not a JSON object.
            HTTPException: The caller may not ask, or the body is too large.
        """
        if self._key:
            sent = request.headers.get("authorization", "").partition(" ")[2].strip()
            if not hmac.compare_digest(sent.encode(), self._key):
                raise HTTPException(401, "this server needs its key: send it as 'Authorization: Bearer KEY'")
        elif found := foreign_header(request.headers.raw):
            raise HTTPException(403, f"a server without a key answers requests of this machine only, not those with {found}; set {KEY_VARIABLE}")
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > _MAX_BODY:
                raise HTTPException(413, f"the body is larger than {_MAX_BODY / 1e6:g} MB; send less")
        try:
            body: Mapping[str, Any] = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the body is not JSON: {error}") from error
        return check_type(body, Mapping, "the body must be a JSON object", DataError)

    def _candidates(self, given: Any) -> Pool:
        if given is None:
            return self._pool
        if not isinstance(given, list) or not given:
            raise DataError(f"candidates must be a list of at least one model, not {given!r:.80}")
        if len(given) > _MAX_CANDIDATES:
            raise DataError(f"candidates must be at most {_MAX_CANDIDATES:,} models, not {len(given):,}")
        listed = [{"name": entry} if isinstance(entry, str) else entry for entry in given]
        known = {candidate.name: candidate for candidate in self._pool}
        return Pool(known.get(spec.name, spec) for spec in map(_described, listed))


def _described(entry: Any) -> Candidate:
    """Return the candidate that a request describes; ``cost`` and ``latency`` are those of training records.

    An endpoint is ignored, so that a request cannot name an address to call.
    """
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not name:
        raise DataError(f"a candidate must have a name, not {entry!r:.80}")
    keys = {key: entry[key] for key in ("name", "description", "abilities", "prices") if entry.get(key) is not None}
    check_type(keys.get("prices", {}), Mapping, f"prices of {name!r} must be an object with input and output", DataError)
    cost, latency_ms, latency_s = (entry.get(key) for key in ("cost", "latency_ms", "latency"))
    if cost is not None and "prices" not in keys:
        usd = bounded_number(cost, f"'cost' of {name!r}", MAX_USD)
        keys["prices"] = {"input": usd, "output": usd}
    if latency_ms is not None:
        keys["latency"] = {"service_ms": bounded_number(latency_ms, f"'latency_ms' of {name!r}", MAX_MS)}
    elif latency_s is not None:
        keys["latency"] = {"service_ms": 1000 * bounded_number(latency_s, f"'latency' of {name!r}", MAX_MS / 1000)}
    return pool_from_dict({"candidates": [keys]}, "the request").candidates[0]


def _tokens(body: Mapping[str, Any], most: int) -> int:
    """Return a request's limit of tokens, at most ``most``."""
    for name in ANY_OUTPUT_LIMIT:
        tokens = body.get(name)
        if tokens is not None and (type(tokens) is not int or tokens < 1):
            raise DataError(f"{name} must be a whole number from 1, not {tokens!r:.80}")
        most = most if tokens is None else min(most, tokens)
    return most


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, Mapping) for message in messages):
        raise DataError(f"messages must be a list of at least one message, not {messages!r:.80}")
    conversation_of("chat", body)  # raises DataError for content that no server accepts
    return messages


def _query(body: Mapping[str, Any]) -> Query:
    text = body.get("query")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"query must be a text that is not empty, not {text!r:.80}")
    history = body.get("history") or []
    is_valid = isinstance(history, list) and all(
        isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str) for turn in history
    )
    if not is_valid:
        raise DataError("history must be a list of messages with the texts role and content")
    return Query(text, turns=[Turn(turn["role"], turn["content"]) for turn in history])


def _failed(error: AamcError) -> JSONResponse:
    """Return the error of a policy that failed; its address is in the server's own log alone."""
    logger.warning("the policy failed: %s", error)
    refused = isinstance(error, ProviderError) and error.kind == "request"  # with a 5xx, the caller would retry it and then its breaker open
    return _error(public_message(error), 422 if refused else 502)


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": {"message": error.detail}}, status_code=error.status_code, headers=error.headers)


def _error(message: str, status: int, cost_usd: float | None = None) -> JSONResponse:
    """Return an error; with what the policy's call cost, if it was asked."""
    cost = {} if cost_usd is None else {"cost_usd": _known_cost(cost_usd)}
    return JSONResponse({"error": {"message": message}, **cost}, status_code=status)


def _known_cost(cost_usd: float) -> float | None:
    return None if math.isnan(cost_usd) else cost_usd
