"""Checks of texts and names that every store can keep; names of tenants' users; numbers in answers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aamc_sdk.errors import DataError

SEPARATOR = "\0"
"""Separates tenant and user in :func:`tenant_user`; no name contains it."""
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def check_text(value: object, what: str) -> None:
    """Check that a value is a valid text.

    Args:
        value: The value to check.
        what: The value's name in messages.

    Raises:
        DataError: The value is not a string, or has a lone surrogate, which UTF-8 cannot encode.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} must be a string, not {type(value).__name__} ({value!r:.80})")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        where = f"{error.reason} at {error.start}"
        raise DataError(f"{what} must be valid Unicode without lone surrogates ({where})") from error


def check_name(value: object, what: str) -> None:
    """Check that a value is a valid name: an id, a user, a candidate's name.

    Args:
        value: The value to check.
        what: The value's name in messages.

    Raises:
        DataError: The value is not a valid text, is empty, or has a NUL character, which databases cannot store.
    """
    check_text(value, what)
    if not value:
        raise DataError(f"{what} must not be empty")
    if SEPARATOR in str(value):
        raise DataError(f"{what} must not contain a NUL character, and {value!r:.80} does")


def tenant_user(user: str, tenant: str | None = None) -> str:
    """Return a user's name that is unique among tenants: ``TENANT NUL USER``, or the user alone without a tenant."""
    return user if tenant is None else f"{tenant}{SEPARATOR}{user}"


def as_names(values: object) -> frozenset[str] | None:
    """Return a collection of names as a set; None for anything else, a single string included."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return None
    names = list(values)
    return frozenset(names) if all(isinstance(name, str) for name in names) else None


def last_number(answer: str) -> float | None:
    """Return the last number in a model's answer, which may have thousands separators, or the one in its last box; None without a number."""
    boxed = _BOXED.findall(answer)
    found = _NUMBER.findall((boxed[-1] if boxed else answer).replace("\u2212", "-"))
    return float(found[-1].replace(",", "")) if found else None
