"""A request as the gateway understands it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aamc_models.dialects import KnownTools

from aamc_gateway.access.callers import Caller
from aamc_gateway.requests.media import Media
from aamc_sdk.types import Preference, Query

Priced = Literal["tokens", "nothing", "unknown"]
Mode = Literal["route", "model", "orchestrator", "arena"]


@attrs.define(kw_only=True)
class ClientRequest:
    """A request.

    Attributes:
        dialect: The client's dialect: ``"chat"``, ``"messages"``, ``"responses"`` or ``"completions"``.
        api: The API, see :class:`aamc_sdk.interfaces.WireRequest`: mostly the dialect, else ``"embeddings"``, ``"count_tokens"`` or a path.
        body: The body, without the gateway's own fields; of an API that passes through, empty where it is not a JSON object.
        raw: The body of an API that passes through, JSON as it was read, else as it came, but for the model's name in a form; None for others.
        method: The HTTP method.
        body_bytes: The size of the body as it came, in bytes.
        caller: Who sent it.
        mode: Whether a candidate is chosen (``"route"``), named (``"model"``), an orchestrator works, or the arena compares.
        model: The name of the model, orchestrator or route, without arguments.
        query: The classified text, with the request's needs, tenant, user, session and token counts.
        preference: The preference; None for the default.
        quality_floor: Minimum expected quality from 0 to 1; None for none.
        budget_usd: Maximum expected cost of the answer; None for none.
        session_key: The conversation's session, made unique among all callers; None without one.
        stream: Whether the answer is streamed.
        has_media: Whether images, documents or recordings are part of the conversation.
        media: Their bytes and maximum tokens.
        turns: Number of human messages in the whole conversation.
        max_tokens: Maximum tokens of the answer; None without a limit.
        caches_for_an_hour: Whether it may write the prompt to a cache for an hour or longer, which costs more.
        priced: How its cost follows in advance: from its ``"tokens"``, ``"nothing"`` is paid, or ``"unknown"``, as of a batch.
        answers: Number of answers or images, as the fields ``n`` and ``best_of`` and a list of prompts ask for; 0 for embeddings.
        foreign_state: Kinds of state that only the model understands that answered before, see ``aamc_models.dialects.foreign_state``.
        side_request: Whether it is a client's own request for a title or a summary.
        retry_count: How often the client's SDK has sent this request before.
        headers: Headers that are passed on to the provider, such as ``anthropic-beta``.
    """

    dialect: str
    api: str
    body: Mapping[str, Any]
    body_bytes: int
    caller: Caller
    mode: Mode
    model: str
    query: Query
    raw: bytes | None = None
    method: str = "POST"
    preference: Preference | None = None
    quality_floor: float | None = None
    budget_usd: float | None = None
    session_key: str | None = None
    stream: bool = False
    has_media: bool = False
    media: Media = Media()  # noqa: RUF009  # it cannot be altered
    turns: int = 0
    max_tokens: int | None = None
    answers: int = 1
    caches_for_an_hour: bool = False
    priced: Priced = "tokens"
    foreign_state: frozenset[str] = frozenset()
    side_request: bool = False
    retry_count: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def is_background(self) -> bool:
        """Whether its server answers later, so that the answer's usage never comes to the gateway."""
        return self.dialect == "responses" and self.body.get("background") not in (None, False)

    @property
    def known_tools(self) -> KnownTools:
        """Its tools, to whose names, ids and kinds an answer of chat is adapted; empty where the client needs no adaptation."""
        return KnownTools.of(self.body, self.dialect)

    @property
    def priced_requests(self) -> int:
        """How often the price of a request is due: for each image."""
        return self.answers if self.api.startswith("/") else 1

    def prompt_tokens(self, bytes_per_token: int) -> int:
        """Return the tokens of the body, its text at ``bytes_per_token`` and the maximum of its media."""
        return max(self.body_bytes - self.media.bytes, 0) // bytes_per_token + self.media.tokens
