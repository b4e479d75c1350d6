"""Checks of values that every store can keep, and validators of attrs fields; each raises a DataError that names the value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import DataError

SEPARATOR = "\0"
"""Separates the parts of a name that is made of several, such as tenant and user; no name contains it."""
MAX_COUNT = 10**12
"""Maximum count of tokens or attempts; a greater one is taken for a mistake."""
MAX_FIGURE = 1e12
"""Maximum cost in USD, time in milliseconds, or number in a pool's state. Sums of larger ones could overflow, and are mistakes."""
MAX_TIME = 1e11
"""Maximum time in seconds since the epoch, in the year 5138; a greater one is taken for milliseconds."""
_NUMBERS = (float, int, np.floating, np.integer)


def check_text(value: object, what: str) -> None:
    """Check that a value is a valid text; messages call it ``what``.

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
    """Check that a value is a valid name: an id, a user, a candidate's name; messages call it ``what``.

    Raises:
        DataError: The value is not a valid text, is empty, or has a NUL character, which databases cannot store.
    """
    check_text(value, what)
    if not value:
        raise DataError(f"{what} must not be empty")
    if SEPARATOR in str(value):
        raise DataError(f"{what} must not contain a NUL character, and {value!r:.80} does")


def check_text_field(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a valid text, and make it Python's own string: NumPy's has another ``repr``, which changes fingerprints."""
    if not (type(value) is str and value.isascii()):  # the common case, checked quickly, as in the next function
        check_text(value, _field_label(instance, attribute))
        object.__setattr__(instance, attribute.name, str.__str__(value))


def check_name_field(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a valid name, and make it Python's own string."""
    if not (type(value) is str and value and value.isprintable()):
        check_name(value, _field_label(instance, attribute))
        object.__setattr__(instance, attribute.name, str.__str__(value))


check_name_or_none = attrs.validators.optional(check_name_field)
"""Checks that a field is a valid name, or None."""


def _field_label(instance: object, attribute: attrs.Attribute[Any]) -> str:
    """Return the name of a field in messages, such as ``"a query's user"``."""
    owner = type(instance).__name__
    return f"{'an' if owner[0] in 'AEIOU' else 'a'} {owner.lower()}'s {attribute.name}"


def is_amount(value: object) -> bool:
    """Whether a value is a number of at least 0, or NaN."""
    if type(value) is float:  # the common case, checked quickly
        return not value < 0
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and not value < 0


def known(value: float) -> float | None:
    """Return a figure as fields compare it: None for NaN, which is unequal to itself, although two unknown figures are equal."""
    return None if value != value else value


def is_figure(value: object) -> bool:
    """Whether a value is a number from 0 to 1e12, such as a cost in USD or a time in milliseconds."""
    return is_amount(value) and bool(value <= MAX_FIGURE)  # type: ignore[operator]  # a number


def json_figures(values: object, count: int) -> list[float]:
    """Return the figures of a JSON list; null becomes NaN.

    Raises:
        DataError: The value is not a list of as many figures.
    """
    if not isinstance(values, list) or len(values) != count or not all(value is None or is_figure(value) for value in values):
        raise DataError(f"expected {count} numbers from 0 to {MAX_FIGURE:g}, or null if unknown, not {values!r:.80}")
    return [math.nan if value is None else float(value) for value in values]


def check_figure(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a number from 0 to ``MAX_FIGURE``, or NaN for unknown."""
    if not is_amount(value) or value > MAX_FIGURE:  # type: ignore[operator]  # a number
        label, unknown = _field_label(instance, attribute), "leave it out if it is unknown"
        raise DataError(f"{label} must be a number from 0 to {MAX_FIGURE:g}, not {value!r:.80}; {unknown}")


def check_propensity(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """Check that a field is a probability, or NaN for unknown."""
    if not is_amount(value) or value > 1:
        raise DataError(f"{_field_label(instance, attribute)} must be a probability from 0 to 1, or NaN if unknown, not {value!r}")


def check_time(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """Check that a field is a time in seconds since the epoch."""
    if not (is_amount(value) and value <= MAX_TIME):
        raise DataError(f"{_field_label(instance, attribute)} must be seconds since the epoch, not {value!r}")


def as_int(value: int | None) -> int | None:
    """Convert an integer of NumPy's to Python's own, which every store keeps; anything else stays as it is."""
    return int(value) if isinstance(value, np.integer) else value


def _checked_count(name: str, value: Any) -> int:
    """Return a count of tokens or attempts as Python's own integer."""
    count = as_int(value)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_COUNT:
        raise DataError(f"{name} must be a whole number from 0 to {MAX_COUNT:,}, not {value!r:.80}")
    return count


def check_count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that a field is a count of tokens or attempts."""
    _checked_count(attribute.name, value)


def check_optional_counts(instance: object, names: Sequence[str]) -> None:
    """Check that fields are counts of tokens or attempts, or None, and make them Python's own integers.

    All in one place: a converter and a validator of each take most of the time of an object's construction.
    """
    for name in names:
        value = getattr(instance, name)
        if value is not None and not (type(value) is int and 0 <= value <= MAX_COUNT):
            object.__setattr__(instance, name, _checked_count(name, value))


def names_field(values: Iterable[str], what: str = "abilities and needs must be lists of names such as ['tools']") -> frozenset[str]:
    """Convert names, such as abilities or needs, to a set; ``what`` says in an error what they must be."""
    if type(values) is frozenset and not values:  # most queries have none
        return values
    names = None if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if names is None or not all(isinstance(name, str) for name in names):
        raise DataError(f"{what}, not {values!r:.80}")
    return frozenset(map(str.__str__, names))


def check_choice(value: object, choices: Sequence[str], name: str) -> None:
    """Check that a value is one of several texts."""
    if value not in choices:
        raise DataError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r:.80}")
