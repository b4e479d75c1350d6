"""The error of requests that may not be served."""

from __future__ import annotations

from aamc_sdk.errors import AamcError


class Refused(AamcError):
    """Raised when a request is not allowed; the message is for the caller.

    Attributes:
        status: The HTTP status: 400 for a request that must change, 401 without a valid key, 402 over a budget, which clients do not retry by
            themselves, 403 where the key does not allow it, 404 for an unknown path, model or object, 405 for another method, 408 for a body
            that does not come in time, 409 for feedback or a vote that contradicts an earlier one, 413 for a body that is too large, 415 for
            a compressed one, 429 over a limit, 503 while no candidate, the log or the shared state can be used.
        kind: ``"authentication"``, ``"budget"``, ``"model_not_found"``, ``"not_found"``, ``"permission"``, ``"rate_limit"``, ``"request"``,
            ``"timeout"`` or ``"unavailable"``.
        retry_after_s: Time in seconds after which the same request may pass; None if that is unknown.
    """

    def __init__(self, message: str, *, status: int = 400, kind: str = "request", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.retry_after_s = status, kind, retry_after_s


def refused_for_now(why: str) -> Refused:
    """Return the refusal of a request that may pass in a moment."""
    return Refused(f"{why}; try again in a moment", status=503, kind="unavailable", retry_after_s=1.0)
