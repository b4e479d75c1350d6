"""What callers ask of a controller and tell it, checked and in the form that the rest takes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real

import attrs
import numpy as np

from aamc_sdk.errors import DataError, PreferenceError
from aamc_sdk.types import Attempt, Feedback, Floats, Preference, Query, as_names

PreferenceLike = Preference | str | Sequence[float] | None
Preferences = PreferenceLike | Sequence[Preference | str | Sequence[float]] | Floats
"""One for all, or one each."""


def query_of(query: str | Query, user: str | None = None, session: str | None = None, needs: Collection[str] = ()) -> Query:
    """Return a query with what was given beside it."""
    asked = query if isinstance(query, Query) else Query(query)
    if not (user or session or needs):
        return asked
    return attrs.evolve(asked, user=user or asked.user, session=session or asked.session, needs=asked.needs | names_of(needs, "needs"))


def queries_of(queries: Iterable[str | Query]) -> list[Query]:
    """Return a batch of queries.

    Raises:
        DataError: It is one query, or nothing to go through.
    """
    if not isinstance(queries, list) and (isinstance(queries, str | Query) or not isinstance(queries, Iterable)):
        raise DataError(f"a batch is a list of queries, not {queries!r:.60}; use route for one")
    return [query_of(query) for query in queries]


def names_of(names: Collection[str], what: str) -> frozenset[str]:
    """Return several names, or one alone, as a set.

    Raises:
        DataError: One is no text.
    """
    given = as_names([names] if isinstance(names, str) else names)
    if given is None:
        raise DataError(f"{what} must be names such as ['tools'], not {names!r:.80}")
    return given


def weights_of(preference: Preferences, rows: int, default: Preference, named: Mapping[str, Preference]) -> Floats:
    """Return one preference ``[3]``, or one each ``[rows, 3]``.

    Args:
        preference: One for all, or one each: a list, or an array ``[rows, 3]``.
        rows: How many requests there are.
        default: What None stands for.
        named: Those that may be given by name.

    Raises:
        PreferenceError: One cannot be read, or there are not as many as requests.
    """
    if preference is None or not _is_several(preference):
        return _read(preference, default, named).array
    if len(preference) != rows:  # type: ignore[arg-type]  # several have a length
        raise PreferenceError(f"{rows} requests need one preference or {rows} of them, not {len(preference)}")  # type: ignore[arg-type]  # likewise
    return np.stack([_read(row, default, named).array for row in preference])  # type: ignore[union-attr]  # likewise


def timed(feedback: Feedback, now: float) -> Feedback:
    """Return feedback with a time: its own, or else this one, in seconds since the epoch.

    Raises:
        DataError: It is no feedback.
    """
    if not isinstance(feedback, Feedback):
        raise DataError(f"a batch of feedback is made of aamc_sdk.Feedback, not {feedback!r:.80}")
    return feedback if feedback.time else attrs.evolve(feedback, time=now)


def attempt_of(feedback: Feedback, cost_usd: float | None, latency_ms: float | None, output_tokens: int | None) -> Attempt | None:
    """Return the call whose figures came with feedback, or None where none came.

    Raises:
        DataError: A figure is no finite number of at least 0.
    """
    figures = {"cost_usd": cost_usd, "latency_ms": latency_ms, "output_tokens": output_tokens}
    given = {name: value for name, value in figures.items() if value is not None}
    if not given:
        return None
    for name, value in given.items():
        if not is_number(value) or not 0 <= value < math.inf:
            raise DataError(f"{name} must be a finite number of at least 0, not {value!r:.80}")
    n = 0  # the log gives it its number
    return Attempt(feedback.decision_id, n, feedback.candidate or "", **given)  # type: ignore[arg-type]  # each name has its own type


def is_number(value: object) -> bool:
    """Whether a value is a number, which NaN is not, and nothing too great for one."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    except OverflowError:
        return False


def _is_several(preference: object) -> bool:
    """Whether this is a preference for each request, not one for all: its elements are no numbers."""
    if isinstance(preference, np.ndarray):
        return preference.ndim == 2
    return isinstance(preference, list | tuple) and len(preference) > 0 and not isinstance(preference[0], Real)


def _read(preference: object, default: Preference, named: Mapping[str, Preference]) -> Preference:
    if preference is None:
        return default
    return Preference.parse(preference, named) if isinstance(preference, str) else Preference.of(preference)  # type: ignore[arg-type]  # of() refuses what it cannot read
