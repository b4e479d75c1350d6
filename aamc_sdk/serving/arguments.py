"""Checks and conversions of the arguments of a controller's methods."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from numbers import Number, Real
from typing import Any, TypedDict

import attrs
import numpy as np

from aamc_sdk.errors import DataError, PreferenceError
from aamc_sdk.messages import check_known, check_type
from aamc_sdk.serving.models.model_client import CALL_ARGUMENTS
from aamc_sdk.types import Attempt, Feedback, Floats, PoolState, Preference, Query
from aamc_sdk.types.checks import is_amount, names_field

PreferenceLike = Preference | str | Sequence[float] | Mapping[str, float] | None
Preferences = PreferenceLike | Sequence[PreferenceLike] | Floats
"""One preference for all requests, or one for each."""


class RouteKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`aamc_sdk.MetaController.route`, which explains them."""

    user: str | None
    session: str | None
    tenant: str | None
    needs: Collection[str]
    unavailable: Collection[str]
    wait_ms: Mapping[str, float] | None
    state: PoolState | None
    budget_usd: float | None
    quality_floor: float | None
    decision_id: str | None
    episode: str | None


class AttemptKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`aamc_sdk.MetaController.attempt`: the fields of :class:`aamc_sdk.Attempt`; None for the default."""

    n: int | None
    candidate: str | None
    cost_usd: float | None
    latency_ms: float | None
    output_tokens: int | None
    error: str | None
    status: str | None
    cost_source: str | None
    first_token_ms: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None


class FeedbackKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`aamc_sdk.MetaController.feedback`: the fields of :class:`aamc_sdk.Feedback`, and figures of the call."""

    quality: float | None
    candidate: str | None
    over: str | None
    tie: bool
    confidence: float
    weight: float
    source: str
    time: float
    revision: int
    id: str
    cost_usd: float | None
    latency_ms: float | None
    output_tokens: int | None


_ROUTE_NAMES = frozenset(("preference", *RouteKeywords.__annotations__))
_OF_ONE_QUERY = frozenset(("user", "session", "tenant", "needs", "decision_id"))
_FIGURES = ("cost_usd", "latency_ms", "output_tokens")
"""The keyword arguments of feedback that are figures of the call."""


@attrs.frozen(slots=False)  # without slots, construction takes a third less time
class RouteArguments:
    """The requests to decide, with the other arguments of one call, see :meth:`aamc_sdk.MetaController.route`."""

    queries: Sequence[Query]
    preference: Preferences = None
    ids: Sequence[str] | None = None
    unavailable: Collection[str] = ()
    wait_ms: Mapping[str, float] | None = None
    state: PoolState | None = None
    budget_usd: float | None = None
    quality_floor: float | None = None
    episode: str | None = None

    def __attrs_post_init__(self) -> None:
        check_type(self.state, PoolState | None, "state must be an aamc_sdk.PoolState", DataError)
        budget, floor, count = self.budget_usd, self.quality_floor, len(self.queries)
        if budget is not None and not (is_amount(budget) and (budget <= sys.float_info.max or budget == math.inf)):  # also refuses NaN
            raise DataError(f"budget_usd must be a number of at least 0, in USD, not {budget!r:.80}")
        if floor is not None and not (is_amount(floor) and floor <= 1):
            raise DataError(f"quality_floor must be a number from 0 to 1, not {floor!r:.80}")
        if self.ids is not None and (not isinstance(self.ids, Collection) or isinstance(self.ids, str | Set) or len(self.ids) != count):
            raise DataError(f"ids must be a sequence of {count} ids, one for each request, not {self.ids!r:.80}")

    @classmethod
    def of(cls, query: str | Query, preference: PreferenceLike, given: RouteKeywords) -> RouteArguments:
        """Return one request with the named arguments; user, session and tenant replace those of the query, and needs add to them."""
        check_known(given, _ROUTE_NAMES, "routing has no argument", DataError)
        own: dict[str, Any] = {name: value for name, value in given.items() if name not in _OF_ONE_QUERY}
        fields: dict[str, Any] = {name: given[name] for name in ("user", "session", "tenant") if given.get(name) is not None}
        if added := names_of(given.get("needs"), "needs"):
            fields["needs"] = added | query.needs if isinstance(query, Query) else added
        if not isinstance(query, Query):
            query = Query(query, **fields)
        elif fields:
            query = attrs.evolve(query, **fields)
        decision_id = given.get("decision_id")
        return cls([query], preference, ids=None if decision_id is None else [decision_id], **own)

    @property
    def pool_state(self) -> PoolState | None:
        """The state of the pool, with ``unavailable`` and ``wait_ms`` added; None for an idle pool."""
        state = self.state
        unavailable = names_of(self.unavailable, "unavailable")
        if not unavailable and self.wait_ms is None:
            return state
        added = PoolState(unavailable=unavailable, wait_ms={} if self.wait_ms is None else self.wait_ms)
        if state is None:
            return added
        return attrs.evolve(state, unavailable=state.unavailable | added.unavailable, wait_ms={**state.wait_ms, **added.wait_ms})


def check_call(options: Mapping[str, Any] | None, on_text: Callable[[str], object] | None) -> None:
    """Check the options of a call of a model, and the function that gets its answer piece by piece."""
    check_type(options, Mapping | None, "options must be a mapping such as {'temperature': 0}", DataError)
    for name in options or ():
        check_type(name, str, "options must have names of parameters as keys", DataError)
    for name in CALL_ARGUMENTS:
        if options and name in options:
            raise DataError(f"options must not have {name!r}, which the query and the decision determine; leave it out")
    if on_text is not None and not callable(on_text):
        raise DataError(f"on_text must be a function of a text, not {on_text!r:.80}")
    if inspect.iscoroutinefunction(on_text):
        raise DataError("on_text must be a plain function of a text, not a coroutine function, which nothing would await")
    if on_text is not None and options and options.get("tools"):
        raise DataError("an answer with tool calls does not come piece by piece; leave on_text out, or the tools")


def queries_of(queries: Iterable[str | Query]) -> list[Query]:
    """Return a batch of queries."""
    if not isinstance(queries, list) and (isinstance(queries, str | Query) or not isinstance(queries, Iterable)):
        raise DataError(f"a batch must be a list of queries, not {queries!r:.60}; use route for a single query")
    return [query if isinstance(query, Query) else Query(query) for query in queries]


def names_of(names: Collection[str] | None, what: str) -> frozenset[str]:
    """Return one or several names as a set, empty for None."""
    if names is None or (isinstance(names, tuple) and not names):  # the defaults, quickly
        return frozenset()
    expected = f"{what} must be a list of names such as ['tools']"
    given = names_field([names] if isinstance(names, str) else names, expected)
    if "" in given:
        raise DataError(f"{expected}, not {names!r:.80}")
    return given


def weights_of(preference: Preferences, rows: int, default: Preference, named: Mapping[str, Preference]) -> Floats:
    """Return one preference ``[3]``, or one for each request ``[rows, 3]``."""
    if preference is None:
        return default.array
    each = _one_each(preference, rows)
    if each is None:
        return Preference.of(preference, named).array  # type: ignore[arg-type]  # it refuses what it cannot read
    if len(each) != rows:
        raise PreferenceError(f"{rows} requests need one preference or {rows} preferences, not {len(each)}")
    return np.stack([(default if row is None else Preference.of(row, named)).array for row in each])


def with_times(batch: Iterable[Feedback], now: float) -> list[Feedback]:
    """Return a batch of feedback, each with its own time, or ``now`` without one, in seconds since the epoch."""
    given = list(batch) if isinstance(batch, Iterable) else [batch]
    for feedback in given:
        check_type(feedback, Feedback, "a batch of feedback must hold aamc_sdk.Feedback objects", DataError)
    return [feedback if feedback.time else attrs.evolve(feedback, time=now) for feedback in given]


def attempt_of(decision_id: str, figures: Mapping[str, Any]) -> Attempt:
    """Return the attempt with the given fields; None stands for a field's default."""
    check_known(figures, AttemptKeywords.__annotations__, "an attempt has no argument", DataError)
    given = {name: value for name, value in figures.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, Real) and value != value:  # NaN, a mistake of the caller's, which Attempt would take for unknown
            raise DataError(f"{name} must be a number, not nan; leave it out if it is unknown")
    return Attempt(decision_id, **given)


def feedback_of(decision_id: str, given: Mapping[str, Any], now: float) -> tuple[Feedback | None, Attempt | None]:
    """Return the feedback with the given fields, and the attempt with the given figures; figures alone are not feedback."""
    check_known(given, FeedbackKeywords.__annotations__, "feedback has no argument", DataError)
    fields = {name: value for name, value in given.items() if value is not None}
    figures = {name: fields.pop(name) for name in _FIGURES if name in fields}
    attempt = attempt_of(decision_id, figures) if figures else None
    if attempt is not None and not fields:
        return None, attempt
    if fields.get("tie") and "over" not in fields:
        raise DataError("tie needs over, the candidate that was as good; leave it out of feedback with a quality")
    feedback = Feedback(decision_id=decision_id, **{"time": now, **fields})
    if attempt is not None and feedback.candidate is not None:
        attempt = attrs.evolve(attempt, candidate=feedback.candidate)
    return feedback, attempt


def _one_each(preference: Any, rows: int) -> Sequence[Any] | None:
    """Return the value if it has one preference for each request, so that its elements are no numbers; else None.

    For one request, a value of several elements is one preference, whose weights they are.
    """
    if isinstance(preference, np.ndarray):
        each = preference.ndim == 2
    else:
        each = isinstance(preference, list | tuple) and len(preference) > 0 and not isinstance(preference[0], Number)
    return preference if each and (rows > 1 or len(preference) == 1) else None
