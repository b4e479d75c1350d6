"""Callers of the gateway, and the error of requests that may not be served."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import attrs

from aamc_gateway.access.settings import Limits
from aamc_sdk.errors import AamcError
from aamc_sdk.messages import nearest, one_of

FALLBACKS = ("models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
"""Fields in which OpenRouter, LiteLLM's proxy and Anthropic take models that answer if the named one does not."""


class Refused(AamcError):
    """Raised when a request is not allowed; the message is for the caller.

    Attributes:
        status: The HTTP status: 400 for a request that must change, 401 without a valid key, 402 over a budget, which clients do not retry by
            themselves, 403 where the key does not allow it, 404 for an unknown path, model or object, 405 for another method, 408 for a body
            that does not come in time, 409 for feedback or a vote that contradicts an earlier one, 413 for a body that is too large, 415 for
            a compressed one, 429 over a limit, 503 while no candidate, the log or the shared state can be used, or too many large bodies are in
            progress.
        kind: ``"authentication"``, ``"budget"``, ``"model_not_found"``, ``"not_found"``, ``"permission"``, ``"rate_limit"``, ``"request"``,
            ``"timeout"`` or ``"unavailable"``.
        retry_after_s: Time in seconds after which the same request may pass; None if that is unknown.
        left_usd: What the budget that refused it has left, in USD; NaN for other refusals.
        headers: Headers of the answer that its status demands.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "request",
        retry_after_s: float | None = None,
        left_usd: float = math.nan,
        headers: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after_s, self.left_usd, self.headers = status, kind, retry_after_s, left_usd, headers


def refused_for_now(why: str) -> Refused:
    """Return the refusal of a request that may pass in a moment."""
    return Refused(f"{why}; try again in a moment", status=503, kind="unavailable", retry_after_s=1.0)


@lru_cache(maxsize=10_000)
def hashed_name(name: str) -> str:
    """Return the hash that stands for a user or tenant where no name may be."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


@attrs.frozen(kw_only=True)
class Caller:
    """The caller of a request.

    Attributes:
        key_id: The id of its key, which is not a secret; ``""`` while the gateway has no keys.
        name: The name of its key.
        tenant: The tenant that the key belongs to; None for none.
        user: The user that the key belongs to; None if requests may name their users.
        admin: Whether it opens the dashboard and ``/metrics``, and may give feedback and vote as an admin.
        models: Names of the candidates and orchestrators that it may use; empty for all.
        limits: The key's budgets and limits.
    """

    key_id: str = ""
    name: str = ""
    tenant: str | None = None
    user: str | None = None
    admin: bool = False
    models: frozenset[str] = frozenset()
    limits: Limits = attrs.field(factory=Limits)

    @property
    def scope(self) -> str:
        """The beginning of the keys of values that are remembered for it: its tenant and key."""
        return f"{self.tenant or ''}/{self.key_id}/"

    def group(self, values: str) -> str:
        """Return the group of its tenant's values of a kind in the shared state, so that no tenant displaces those of others."""
        return f"{values}/{hashed_name(self.tenant or '')}"

    def may_use(self, model: str) -> bool:
        """Return whether it may use a candidate or an orchestrator."""
        return not self.models or model in self.models

    def check_model(self, model: str, known: Collection[str]) -> None:
        """Raise Refused if it may not use a candidate or an orchestrator; of its models only the known ones are advised."""
        if not self.may_use(model):
            allowed = self.models.intersection(known)
            hint = f"the key {self.name!r} may not use the model {model!r}{nearest(model, allowed)}; here it may use {one_of(allowed)}"
            raise Refused(hint, status=403, kind="permission")

    def check_models(self, known: Collection[str]) -> None:
        """Raise Refused if it may use some models only, and none of them is known: the key itself is wrong."""
        if self.models and self.models.isdisjoint(known):
            wrong = f"the key {self.name!r} allows only {one_of(self.models)}, and there is no such model{nearest(min(self.models), known)}"
            raise Refused(f"{wrong}; make another key with: aamc keys add NAME --models A,B", status=403, kind="permission")

    def check_fallbacks(self, body: Mapping[str, Any]) -> None:
        """Raise Refused if it may use some models only, and a request names others that its server is to fall back to."""
        if self.models and (field := next((name for name in FALLBACKS if body.get(name)), None)):
            why = f"the key {self.name!r} may use some models only, and {field!r} lets some servers answer by others; leave it out"
            raise Refused(why, status=403, kind="permission")

    def check_admin(self) -> None:
        """Raise Refused unless it is an admin key."""
        if not self.admin:
            raise Refused(f"the key {self.name!r} is not an admin key; make one with: aamc keys add NAME --admin", status=403, kind="permission")
