"""What every text that reaches a log must be, so that every log can keep it and find it again."""

from __future__ import annotations

from collections.abc import Iterable

from aamc_sdk.errors import DataError


def check_text(value: object, what: str) -> None:
    """Check that a value is a valid text.

    Args:
        value: Anything.
        what: How a message names it.

    Raises:
        DataError: It is no text, or has half a surrogate pair, which no file can keep.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} must be a string, not {type(value).__name__} ({value!r:.80})")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        where = f"{error.reason} at {error.start}"
        raise DataError(f"{what} must be valid Unicode, without half a surrogate pair ({where})") from error


def check_name(value: object, what: str) -> None:
    """Check that a value is a text by which something is found again: an id, a user, a candidate's name.

    Args:
        value: Anything.
        what: How a message names it.

    Raises:
        DataError: It is no valid text, is empty, or has the character NUL, where databases take a text to end.
    """
    check_text(value, what)
    if not value:
        raise DataError(f"{what} must not be empty")
    if "\0" in str(value):
        raise DataError(f"{what} must not have the character NUL in it, and {value!r:.80} has")


def as_names(values: object) -> frozenset[str] | None:
    """Return several names as a set, or None where they are no collection or not all texts; one text is no collection."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return None
    names = list(values)
    return frozenset(names) if all(isinstance(name, str) for name in names) else None
