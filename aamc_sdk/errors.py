"""The errors of the SDK.

A message gives the bad value, the expected one and the next step. The command line and the gateway each
report an ``AamcError`` in one place.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol


class AamcError(Exception):
    """Base class of all errors that the SDK raises.

    Attributes:
        document: The JSON document of a command that failed but has a result, such as the jobs that succeeded; with ``--json`` the
            command line writes it instead of the error. None if there is no result.
    """

    document: Mapping[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own calls the class with args alone, which an __init__ with further arguments refuses
        return type(self).__new__, (type(self), *self.args), {**self.__dict__, "args": self.args}


class ConfigError(AamcError, ValueError):
    """Raised when an option is unknown, of the wrong type, or out of its range."""


class PreferenceError(AamcError, ValueError):
    """Raised when a preference is not three finite, non-negative weights with a positive sum."""


class PoolError(AamcError, ValueError):
    """Raised when a model pool is empty, repeats a name, or lacks a candidate, a price or an endpoint."""


class NoCandidateError(AamcError, RuntimeError):
    """Raised when every candidate of a request is masked; the message gives each reason.

    Attributes:
        reasons: The reasons by candidate.
    """

    def __init__(self, message: str, reasons: Mapping[str, frozenset[str]] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class LimitError(NoCandidateError):
    """Raised when no candidate fits the rest of a budget or a rate limit.

    Attributes:
        kind: ``"budget"`` or ``"rate_limit"``.
        retry_after_s: Time in seconds until it is renewed.
    """

    def __init__(self, message: str, *, kind: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.kind, self.retry_after_s = kind, retry_after_s


class DataError(AamcError, ValueError):
    """Raised when an argument, a dataset or a log entry cannot be used."""


class EstimatesError(AamcError, ValueError):
    """Raised when a router needs estimates that the estimator does not provide."""


class CheckpointError(AamcError, RuntimeError):
    """Raised when a run or checkpoint is missing, damaged, or made for another purpose."""


class OutputError(AamcError, OSError):
    """Raised when a file or folder cannot be written."""


class StoreError(AamcError, RuntimeError):
    """Raised when the decision log refuses an entry or cannot be reached, or when the controller is closed."""


class StoreAwayError(StoreError):
    """Raised when a log is temporarily unusable: its server is unreachable, its file locked, or its disk full."""


class ConflictError(StoreError):
    """Raised when an entry contradicts the decision log: its id is known with other content.

    Attributes:
        revision: The latest revision in the log, if a later one would replace it; else None.
    """

    def __init__(self, message: str, revision: int | None = None) -> None:
        super().__init__(message)
        self.revision = revision


class UnknownCandidateError(ConflictError, DataError):
    """Raised when an entry names a candidate that its decision did not have, or feedback says that a candidate beat itself."""


class NameLengthError(StoreError, DataError):
    """Raised when the decision log refuses an entry because an id or name is too long."""


class UnknownDecisionError(StoreError, LookupError):
    """Raised when the log has no decision with the given id."""


class ForkedError(AamcError, RuntimeError):
    """Raised when a forked process uses a controller, learner or log of its parent, whose threads it lacks."""


_BILLED = frozenset({"timeout", "protocol"})
_BILLED_STATUSES = frozenset({504, 524})
"""Statuses with which a proxy ends a request that its server still works on."""


class _Failure(Protocol):
    """A failure of a call, such as :class:`ProviderError`."""

    @property
    def kind(self) -> str: ...

    @property
    def status(self) -> int | None: ...


class ProviderError(AamcError, RuntimeError):
    """Raised when calling a model failed; the message names the candidate and the cause.

    Attributes:
        kind: ``"connection"``, ``"timeout"``, ``"rate_limit"``, ``"server"`` (it failed or is overloaded), ``"protocol"`` (the answer is broken
            or was cut, or the connection was lost before it), ``"authentication"``, ``"configuration"`` (the server has no such model or address),
            ``"request"`` (it refuses the request), ``"cancelled"`` (the caller read the stream too slowly), ``"unexpected"`` (the provider
            raised an error that is not the SDK's), or ``"failed"`` for anything else.
        status: The HTTP status of the answer; None without one.
        body: The answer's body, as it came.
        retry_after_s: Time in seconds after which the server accepts another call; None if it is unknown.
        public: Message without secrets, for clients of the gateway.
        reported: Usage and cost that the server reported with the failed answer, as a :class:`aamc_sdk.interfaces.Chunk`; None if it reported none.
    """

    reported: Any = None

    def __init__(
        self,
        message: str,
        *,
        kind: str = "failed",
        status: int | None = None,
        body: bytes = b"",
        retry_after_s: float | None = None,
        public: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.status, self.body, self.retry_after_s = kind, status, body, retry_after_s
        self.public = message if public is None else public


def may_be_billed(failure: _Failure) -> bool:
    """Return whether the server may have worked before a failure, and bill it."""
    return failure.kind in _BILLED or failure.status in _BILLED_STATUSES


class PluginError(AamcError, RuntimeError):
    """Raised when a plugin cannot be loaded, or breaks its contract."""


class UnknownComponentError(PluginError, LookupError):
    """Raised when no plugin offers a component of that kind and name."""


class Interrupted(AamcError):
    """Raised when the user stops a job; the message says how to resume it."""


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether an error is the user's Ctrl-C, which Python raises on the main thread; on another thread a component raised it."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def public_message(error: AamcError) -> str:
    """Return an error's message for clients of the gateway: the ``public`` one of a failed call, or of a failed call that caused the error.

    Where the log is kept is not for them.
    """
    if isinstance(error, StoreAwayError):
        return "the decision log or the state of the gateway cannot be used now; try again in a moment"
    call = error if isinstance(error, ProviderError) else error.__cause__  # such as an agent's
    return call.public if isinstance(call, ProviderError) else str(error)
