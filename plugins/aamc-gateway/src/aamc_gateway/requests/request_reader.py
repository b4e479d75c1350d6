"""The reader of requests: their mode, classified text, required abilities and conversation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from aamc_models.dialects import OUTPUT_LIMITS, Conversation, conversation_of, foreign_state

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.requests.body_checks import check_fields, check_spelling
from aamc_gateway.requests.client_request import ClientRequest, Mode
from aamc_gateway.requests.media import Media, media_of
from aamc_gateway.requests.routing_arguments import ARENA, PREFIX, ROUTE, RoutingArguments, length_error, routing_arguments, split_model
from aamc_gateway.requests.sessions import hashed_session, session_in_metadata, session_of_user
from aamc_gateway.server.settings import GatewaySettings
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.types import CHARACTERS_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, Candidate, Preference, Query, Turn, text_bytes

_CLAUDE_CODE_SESSION = b"x-claude-code-session-id"
PASSED_HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"idempotency-key", b"traceparent", b"tracestate")
"""Headers of a request that are passed on to its provider; all others stay here, such as the client's key."""
_PREFERENCE = b"x-aamc-preference"
_LONG_MARKS = (b"1h", b"12h", b"\\u")
"""Texts of which a body has one if it is to be cached for an hour or longer."""
_LISTS = (b"anthropic-beta", b"openai-beta", b"accept", b"tracestate")
"""Headers whose values are lists, so that several lines of one are joined; of another header the last line counts."""
_OWN_PREFIX = b"x-aamc-"
"""Begins the names of the gateway's own headers."""


class RequestReader:
    """Reads requests."""

    def __init__(
        self,
        settings: GatewaySettings,
        candidates: Collection[Candidate],
        preferences: Mapping[str, Preference],
        orchestrators: Collection[str] = (),
    ) -> None:
        self._settings, self._preferences, self._orchestrators = settings, preferences, frozenset(orchestrators)
        self._names = frozenset(each.name for each in candidates)
        self._known = self._names.union({ROUTE, ARENA}, (PREFIX + name for name in orchestrators))
        self._abilities = frozenset[str]().union(*(candidate.abilities for candidate in candidates))
        self._session_header = settings.sessions.header.lower().encode("latin-1")
        self._own_headers = frozenset((self._session_header, _CLAUDE_CODE_SESSION, _PREFERENCE, b"x-stainless-retry-count"))

    def read(
        self, dialect: str, api: str, headers: Sequence[tuple[bytes, bytes]], body: MutableMapping[str, Any], raw: bytes, caller: Caller
    ) -> ClientRequest:
        """Return a request. Names of headers are in lower case; the gateway's own fields are taken out of the body; ``raw`` is the body as it came.

        Raises:
            Refused: The request cannot be served.
            DataError: A field has a wrong type.
            PreferenceError: The preference cannot be used.
        """
        caller.check_models(self._known)
        caller.check_fallbacks(body)
        check_spelling(body)
        own, passed = sorted_headers(headers, self._own_headers, PASSED_HEADERS)
        mode, model, in_model = self._model(body.get("model"))
        arguments = routing_arguments(in_model, own.get(_PREFERENCE), body.pop("aamc", None), self._preferences)
        check_fields(api, body)
        said = conversation_of(dialect, body) if api == dialect or api == "count_tokens" else Conversation(human=())
        user, session = self._identity(own, body, said, arguments, caller)
        media = media_of(body) if said.images or said.files else Media()
        if mode != "route" or model != ROUTE:
            caller.check_model(model, self._known)
        return ClientRequest(
            dialect=dialect,
            api=api,
            body=body,
            body_bytes=len(raw),
            caller=caller,
            mode=mode,
            model=model,
            query=self._query(said, mode, _token_counts(api, body, said, len(raw), media), caller, user, session),
            preference=arguments.preference,
            quality_floor=arguments.quality_floor,
            budget_usd=arguments.budget_usd,
            session_key=None if session is None else f"{caller.scope}session/{session_of_user(user, session)}",
            stream=body.get("stream") is True,
            has_media=said.images or said.files,
            media=media,
            turns=len(said.human),
            max_tokens=max([body[name] for name in OUTPUT_LIMITS.get(api, ()) if body.get(name)], default=None),
            answers=_answers(api, body),
            caches_for_an_hour=any(mark in raw for mark in _LONG_MARKS) and caches_for_an_hour(body),
            foreign_state=foreign_state(dialect, body) if api == dialect else frozenset(),
            side_request=bool(said.side_request) and mode in ("route", "model") and self._settings.classified.side_requests,
            retry_count=_count(own.get(b"x-stainless-retry-count")),
            headers=passed,
        )

    def _model(self, model: Any) -> tuple[Mode, str, dict[str, str]]:
        if model is None:
            raise Refused(f"the request has no model; add it, such as {ROUTE!r}")
        if not isinstance(model, str) or not model:
            raise Refused(f"model must be {ROUTE!r} or the name of a model, not {model!r:.80}")
        if model in self._names:
            return "model", model, {}
        name, arguments = split_model(model)
        if name == ROUTE:
            return "route", name, arguments
        if name == ARENA:
            return "arena", name, arguments
        if name.startswith(PREFIX) and name[len(PREFIX) :] in self._orchestrators:
            return "orchestrator", name, arguments
        if (named := name.partition("?")[0]) in self._names:
            raise Refused(f"only {ROUTE!r} takes arguments, not {named!r}", status=404, kind="model_not_found")
        raise unknown_model(name, [ROUTE, *sorted(self._names)])

    def _identity(
        self, own: Mapping[bytes, str], body: Mapping[str, Any], said: Conversation, arguments: RoutingArguments, caller: Caller
    ) -> tuple[str | None, str | None]:
        """Return user and session, each from the first place that has it.

        User: the key, the gateway's own field, ``user``, ``metadata.user_id``. Session: the configured header, Claude Code's header, the gateway's
        own field, ``metadata.user_id``, and last a hash of the conversation's beginning.
        """
        in_header = own.get(self._session_header) or own.get(_CLAUDE_CODE_SESSION)
        in_metadata = _user_text("metadata.user_id", metadata.get("user_id")) if isinstance(metadata := body.get("metadata"), dict) else None
        metadata_user, metadata_session = session_in_metadata(in_metadata) if in_metadata else (None, None)
        named = _user_text("user", body.get("user"))
        user = caller.user or arguments.user or named or metadata_user
        session = in_header or arguments.session or metadata_session
        if session is None and (said.first or said.system):
            session = hashed_session(user, said.first, said.system)
        for name, value in (("user", user), ("session", session)):
            if value is not None and (wrong := length_error(value)):  # cut, two of them could be one
                raise Refused(f"{name} {wrong}")
        return user, session

    def user(self, body: MutableMapping[str, Any], caller: Caller) -> str | None:
        """Return the user of a request that passes through; the gateway's own field is taken out of the body. Raises as :meth:`read` does."""
        arguments = routing_arguments({}, None, body.pop("aamc", None), self._preferences)
        return self._identity({}, body, Conversation(human=()), arguments, caller)[0]

    def _query(self, said: Conversation, mode: Mode, counts: Mapping[str, Any], caller: Caller, user: str | None, session: str | None) -> Query:
        settings = self._settings.classified
        human = [_shortened(text, settings.characters) for text in said.human[-1 - settings.earlier_messages :]]
        needs: list[str] = []
        if mode != "orchestrator" and self._abilities:
            wanted = (("tools", said.tools), ("vision", said.images), ("json", said.json))
            needs = [ability for ability, needed in wanted if needed and ability in self._abilities]
        return Query(
            human[-1] if human else "",
            user=user,
            session=session,
            needs=frozenset(needs),
            turns=tuple(Turn("user", text) for text in human[:-1]),
            tenant=caller.tenant,
            **counts,
        )


def sorted_headers(
    headers: Iterable[tuple[bytes, bytes]], own: Collection[bytes], passed: Collection[bytes]
) -> tuple[dict[bytes, str], dict[str, str]]:
    """Return a request's headers of the gateway, and those that are passed on; a list may have several lines (RFC 9110, section 5.2).

    Raises:
        Refused: There is an unknown header of the gateway.
    """
    found_own: dict[bytes, str] = {}
    found_passed: dict[str, str] = {}
    for name, value in headers:
        if name in own:
            found_own[name] = value.decode("latin-1")
        elif name in passed:
            known, text = name.decode("ascii"), value.decode("latin-1")
            found_passed[known] = f"{found_passed[known]}, {text}" if name in _LISTS and known in found_passed else text
        elif name.startswith(_OWN_PREFIX):
            names = sorted(each.decode("latin-1") for each in own if each.startswith(_OWN_PREFIX))
            why = f"this request takes no header {name.decode('latin-1')} (it takes: {one_of(names)})"
            raise Refused(f"{why}; give other arguments in the body's object 'aamc'")
    return found_own, found_passed


def unknown_model(name: str, known: Collection[str]) -> Refused:
    """Return the refusal of a request for a model that there is not."""
    return Refused(f"there is no model {name!r:.200}{nearest(name[:200], known)}; GET /v1/models lists them", status=404, kind="model_not_found")


def _user_text(name: str, value: Any) -> str | None:
    """Return a field that names a user; refuse what is not text, since the limits of users would not hold for the request."""
    if not (value is None or isinstance(value, str)):
        raise Refused(f"{name} must be a text such as 'anna', not {value!r:.80} of the type {type(value).__name__}")
    return value


def _shortened(text: str, characters: int) -> str:
    """Return the start and end of a long text: no classifier reads more, and each would take long."""
    return text if len(text) <= characters else f"{text[: characters // 2]}\n...\n{text[-(characters // 2) :]}"


def _count(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() and len(value) < 6 else 0


def _token_counts(api: str, body: Mapping[str, Any], said: Conversation, size: int, media: Media) -> dict[str, int | None]:
    """Return the tokens of a request's query: expected ones for its cost, and those that a context window must hold at least."""
    text = max(1, (size - media.bytes) // CHARACTERS_PER_TOKEN)
    given = DEFAULT_OUTPUT_TOKENS if said.max_tokens is None or said.max_tokens < 0 else said.max_tokens
    output, window = min(given, DEFAULT_OUTPUT_TOKENS), None
    inputs = body.get({"embeddings": "input", "completions": "prompt"}.get(api, ""))
    if isinstance(inputs, list) and not isinstance(inputs[0], int):  # a window holds each of them on its own
        window = max(map(text_bytes, inputs)) // CHARACTERS_PER_TOKEN + (0 if api == "embeddings" else output)
    elif media.tokens:
        window = text + media.minimum_tokens + output
    output_tokens = output if output < DEFAULT_OUTPUT_TOKENS else None
    return {"prompt_tokens": text + media.usual_tokens, "output_tokens": output_tokens, "window_tokens": window}


def _answers(api: str, body: Mapping[str, Any]) -> int:
    """Return the number of answers that are generated; embeddings are none."""
    if api == "embeddings":
        return 0
    most: int = max(body.get("n") or 1, body.get("best_of") or 1)
    return prompt_count(api, body) * most


def prompt_count(api: str, body: Mapping[str, Any]) -> int:
    """Return the number of prompts, each of which gets its own answers: completions may have a list of them."""
    prompts = body.get("prompt") if api == "completions" else None
    return len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1


def caches_for_an_hour(body: Mapping[str, Any]) -> bool:
    """Return whether a request or a part of it is marked to be cached for an hour or longer, in Anthropic's or OpenAI's form."""
    waiting: list[Any] = [body]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, Mapping):
            marks = inner.get("cache_control"), inner.get("prompt_cache_options")
            if any(isinstance(mark, Mapping) and mark.get("ttl") in ("1h", "12h") for mark in marks):
                return True
            waiting += inner.values()
    return False
