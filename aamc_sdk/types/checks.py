"""What the fields of the nouns are checked for: validators of attrs, which raise a DataError that names the field, and what they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import DataError
from aamc_sdk.types.texts import as_names, check_name, check_text

GREATEST_COUNT = 10**12
"""The most tokens or calls that anything is said to have: what is greater is a mistake."""
_NUMBERS = (float, int, np.floating, np.integer)


def check_text_field(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no valid text."""
    check_text(value, named(instance, attribute))


def check_name_field(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what cannot name anything."""
    if not (type(value) is str and value and value.isprintable()):  # most names are plain, and need no closer look
        check_name(value, named(instance, attribute))


def named(instance: object, attribute: attrs.Attribute[Any]) -> str:
    """Return how a message names a field."""
    return _field(type(instance).__name__, attribute.name)


@lru_cache  # a decision checks four fields, which must cost next to nothing
def _field(owner: str, name: str) -> str:
    """Return how a message names a field: "a query's user"."""
    return f"{'an' if owner[0] in 'AEIOU' else 'a'} {owner.lower()}'s {name}"


def is_amount(value: object) -> bool:
    """Whether a value is a number of at least 0, or NaN."""
    if type(value) is float:  # as those of every decision are
        return not value < 0
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and not value < 0


def check_figure(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no measured figure; NaN is one that is not known."""
    if not is_amount(value) or value == math.inf:
        raise DataError(f"{named(instance, attribute)} must be a number of at least 0, or NaN where it is not known, not {value!r}")


def check_propensity(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """Refuse what is no probability; NaN is one that is not known."""
    if not is_amount(value) or value > 1:
        raise DataError(f"{named(instance, attribute)} must be a probability, or NaN where it is not known, not {value!r}")


def check_time(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """Refuse what is no time in seconds since the epoch."""
    if not (is_amount(value) and value < math.inf):
        raise DataError(f"{named(instance, attribute)} must be in seconds since the epoch, not {value!r}")


def check_count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no count of tokens or calls."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST_COUNT:
        raise DataError(f"{attribute.name} must be a whole number from 0 to {GREATEST_COUNT:,}, not {value!r:.80}")


def names_field(values: Iterable[str]) -> frozenset[str]:
    """Return abilities or needs as a set; refuse what is no collection of names."""
    names = as_names(values)
    if names is None:
        raise DataError(f"abilities and needs are lists of names such as ['tools'], not {values!r}")
    return names


check_name_or_none = attrs.validators.optional(check_name_field)
check_tokens = attrs.validators.optional(check_count)
check_count_or_none = attrs.validators.optional(check_count)


def check_choice(value: object, choices: Sequence[str], name: str) -> None:
    """Check that a value is one of several texts.

    Raises:
        DataError: The value is something else.
    """
    if value not in choices:
        raise DataError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r:.80}")
