"""Every error that the SDK raises on purpose.

A message names the bad value, what was expected and the next step. The command
line and the gateway each turn an ``AamcError`` into words in one place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AamcError(Exception):
    """Base of every error that the SDK raises on purpose."""


class ConfigError(AamcError, ValueError):
    """Raised when an option is unknown, of the wrong type, or out of its range."""


class PreferenceError(AamcError, ValueError):
    """Raised when a preference is not three finite, non-negative weights with a positive sum."""


class PoolError(AamcError, ValueError):
    """Raised when a model pool is empty, repeats a name, or lacks what is asked of it."""


class NoCandidateError(AamcError, RuntimeError):
    """Raised when every candidate of a request is masked; the message gives each reason."""


class DataError(AamcError, ValueError):
    """Raised when a dataset or one of its rows cannot be used."""


class EstimatesError(AamcError, ValueError):
    """Raised when a router needs estimates that the run's estimator does not give."""


class CheckpointError(AamcError, RuntimeError):
    """Raised when a run or checkpoint is missing, damaged, or made for something else."""


class OutputError(AamcError, OSError):
    """Raised when a file or folder cannot be written."""


class StoreError(AamcError, RuntimeError):
    """Raised when the decision log refuses a record or cannot be reached."""


class StoreAwayError(StoreError):
    """Raised when a log cannot be reached or written for now, whatever is written: its server is away, its file is locked, its disk is full."""


class UnknownDecisionError(StoreError, LookupError):
    """Raised when an id names no decision of the log."""


class ForkedError(AamcError, RuntimeError):
    """Raised when a forked child uses a controller, learner or log of its parent, whose threads it does not have."""


class ProviderError(AamcError, RuntimeError):
    """Raised when calling a model failed; the message names the candidate and the cause."""


class PluginError(AamcError, RuntimeError):
    """Raised when a plugin cannot be loaded, or breaks its contract."""


class UnknownComponentError(PluginError, LookupError):
    """Raised when no plugin offers a component of that kind and name."""


class Interrupted(AamcError):
    """Raised when the user stops a job; the message says how to go on with it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to ``name``, else ``""``."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def one_of(names: Iterable[str]) -> str:
    """Return the names in alphabetical order, as messages list them."""
    return ", ".join(sorted(names)) or "none"
