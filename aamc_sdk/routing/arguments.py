"""The arguments of a controller's methods, checked and in one form."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import DataError, PreferenceError, nearest, one_of
from aamc_sdk.types import Attempt, Feedback, Floats, PoolState, Preference, Query, as_names

PreferenceLike = Preference | str | Sequence[float] | None
Preferences = PreferenceLike | Sequence[Preference | str | Sequence[float]] | Floats
"""One for all, or one each."""


@attrs.frozen(kw_only=True)
class RouteArguments:
    """The optional arguments of one request, see :meth:`aamc_sdk.MetaController.route`."""

    user: str | None = None
    session: str | None = None
    tenant: str | None = None
    needs: Collection[str] = ()
    unavailable: Collection[str] = ()
    wait_ms: Mapping[str, float] | None = None
    state: PoolState | None = None
    budget_usd: float | None = None
    decision_id: str | None = None
    episode: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> RouteArguments:
        """Return the arguments that a caller gave by name.

        Raises:
            DataError: A name is unknown.
        """
        check_names(given, [field.name for field in attrs.fields(cls)], "routing")
        return cls(**given)

    def query(self, query: str | Query) -> Query:
        """Return the query with the arguments that describe it."""
        given = query if isinstance(query, Query) else Query(query)
        changes: dict[str, Any] = {name: getattr(self, name) for name in ("user", "session", "tenant") if getattr(self, name) is not None}
        if self.needs:
            changes["needs"] = given.needs | names_of(self.needs, "needs")
        return attrs.evolve(given, **changes) if changes else given


def pool_state(state: PoolState | None, unavailable: Collection[str], wait_ms: Mapping[str, float] | None = None) -> PoolState | None:
    """Return the state of the pool with what was given beside it; None for an idle pool.

    Raises:
        DataError: A value cannot be used.
    """
    if state is not None and not isinstance(state, PoolState):
        raise DataError(f"state must be an aamc_sdk.PoolState, not {state!r:.80}")
    if not unavailable and not wait_ms:
        return state
    present = PoolState() if state is None else state
    down = names_of(unavailable, "unavailable") if unavailable else frozenset()
    return attrs.evolve(present, unavailable=present.unavailable | down, wait_ms={**present.wait_ms, **(wait_ms or {})})


def check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Check that arguments are known.

    Raises:
        DataError: One is not; the message has the nearest.
    """
    for name in given:
        if name not in known:
            raise DataError(f"{what} has no argument {name!r}{nearest(name, known)} (it has: {one_of(known)})")


def queries_of(queries: Iterable[str | Query]) -> list[Query]:
    """Return a batch of queries.

    Raises:
        DataError: It is one query, or nothing to go through.
    """
    if not isinstance(queries, list) and (isinstance(queries, str | Query) or not isinstance(queries, Iterable)):
        raise DataError(f"a batch is a list of queries, not {queries!r:.60}; use route for one")
    return [query if isinstance(query, Query) else Query(query) for query in queries]


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


def attempt_of(decision_id: str, figures: Mapping[str, Any]) -> Attempt | None:
    """Return the call that figures describe; None where none is given.

    Raises:
        DataError: A figure is unknown, or cannot be used.
    """
    check_names(figures, [field.name for field in attrs.fields(Attempt) if field.name != "decision_id"], "an attempt")
    given = {name: value for name, value in figures.items() if value is not None}
    for name in ("cost_usd", "latency_ms", "first_token_ms"):
        if name in given and not (is_number(given[name]) and 0 <= given[name] < math.inf):
            raise DataError(f"{name} must be a finite number of at least 0, not {given[name]!r:.80}")
    return Attempt(decision_id, **given) if given else None


def feedback_of(decision_id: str, judgement: Mapping[str, Any], now: float) -> Feedback:
    """Return the feedback that a caller gave by name.

    Raises:
        DataError: A name is unknown.
        AamcError: A value cannot be used.
    """
    check_names(judgement, [field.name for field in attrs.fields(Feedback) if field.name != "decision_id"], "feedback")
    return Feedback(decision_id=decision_id, **{"time": now, **judgement})


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
