"""The error of requests that may not be served."""

from __future__ import annotations

from aamc_sdk.errors import AamcError


class Refused(AamcError):
    """Raised when a request is not allowed; the message is for the caller.

    Attributes:
        status: The HTTP status: 400 for a request that must change, 401 without a valid key, 402 over a budget, which clients do not retry by
            themselves, 403 where the key does not allow it, 429 over a limit, 503 while the shared state is away.
        kind: ``"authentication"``, ``"budget"``, ``"permission"``, ``"rate_limit"``, ``"request"``, ``"not_found"`` or ``"unavailable"``.
        retry_after_s: Time in seconds after which the same request may pass; None if that is unknown.
    """

    def __init__(self, message: str, *, status: int = 400, kind: str = "request", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after_s = status, kind, retry_after_s
