"""Decisions, attempts, which are calls made for them, and feedback on them: the entries of the decision log."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_type
from aamc_sdk.types.arithmetic import Floats
from aamc_sdk.types.checks import (
    as_int,
    check_choice,
    check_count,
    check_figure,
    check_name_field,
    check_name_or_none,
    check_optional_counts,
    check_propensity,
    check_text_field,
    check_time,
    is_amount,
    known,
)
from aamc_sdk.types.preferences import Preference

MAX_WEIGHT = 1_000_000
"""Maximum weight of one piece of feedback: sums of such weights stay exact enough for every router."""
MAX_AVERAGE_WEIGHT = 3.0
"""Maximum weight of one piece of feedback in averages and comparisons."""


def new_ids(count: int) -> list[str]:
    """Return ids that no other decision or feedback has: the time in milliseconds and 80 random bits each.

    Ids of one time lie together in a database's indexes, so that a transaction writes few pages (as with UUID version 7, RFC 9562).
    """
    now, digits = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10 * count).hex()
    return [now + digits[start : start + 20] for start in range(0, len(digits), 20)]


class NamedValues(Mapping[str, float]):
    """A row ``[M]`` of an array as a mapping by the M candidates' names, without a copy."""

    __slots__ = ("_names", "_row")

    def __init__(self, names: Sequence[str], row: Floats) -> None:
        self._names = names
        self._row = row

    def __getitem__(self, name: str) -> float:
        try:
            return float(self._row[self._names.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def to_dict(self) -> dict[str, float]:
        """Return the values by name; the mapping's own methods look each name up."""
        return dict(zip(self._names, self._row.tolist(), strict=True))

    def __repr__(self) -> str:
        return repr(self.to_dict())

    def __reduce__(self) -> tuple[type[dict[str, float]], tuple[dict[str, float]]]:
        return dict, (self.to_dict(),)


def _check_preference(decision: Decision, attribute: attrs.Attribute[Any], value: object) -> None:
    check_type(value, Preference, "a decision's preference must be an aamc_sdk.Preference", DataError)


STEP = "step"
"""The note of the decisions of orchestrators."""


@attrs.frozen
class Decision:
    """The candidate drawn for one request.

    Attributes:
        id: The id that attempts and feedback refer to.
        candidate: The chosen candidate's name.
        propensity: The probability of that draw; NaN where the router cannot know it.
        preference: The request's preference.
        probabilities: Each candidate's probability, by name; empty where the maximum utility decided.
        router: The router's name.
        time: The time of the decision, in seconds since the epoch.
        notes: Notes of the router, such as the cost of the decision itself.
        utilities: The router's score of each allowed candidate, by name; empty where it was not recorded.
        episode: The id that decisions on one task share; None for a decision on its own.
    """

    id: str = attrs.field(validator=check_name_field)
    candidate: str = attrs.field(validator=check_name_field)
    propensity: float = attrs.field(eq=known, validator=check_propensity)
    preference: Preference = attrs.field(validator=_check_preference)
    probabilities: Mapping[str, float] = attrs.field(factory=dict, hash=False)
    router: str = ""
    time: float = attrs.field(default=0.0, validator=check_time)
    notes: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    utilities: Mapping[str, float] = attrs.field(factory=dict, hash=False, kw_only=True)
    episode: str | None = attrs.field(default=None, validator=check_name_or_none, kw_only=True)

    @property
    def is_step(self) -> bool:
        """Whether it is a step of an orchestrator, so that feedback on it judges the orchestrator's answer, not the candidate's."""
        return self.notes.get(STEP) is True

    @property
    def fallback_order(self) -> list[str]:
        """The chosen candidate, then the other allowed ones by descending utility: the order of calls while they fail."""
        others = (name for name in self.utilities if name != self.candidate)
        return [self.candidate, *sorted(others, key=lambda name: -self.utilities[name])]


_COUNTS = ("n", "output_tokens", "prompt_tokens", "cached_tokens", "reasoning_tokens")
ATTEMPT_STATUSES = ("ok", "error", "cancelled", "refused")
"""The statuses of attempts. Only the first two say something about the candidate."""
COST_SOURCES = ("", "given", "priced", "reported", "estimated")
"""The origin of an attempt's cost: unknown, given by the application, list prices times usage, the provider's own figure, or estimated: without
usage, or where list prices do not apply."""


def default_status(error: str | None) -> str:
    """Return the status of an attempt that was reported without one."""
    return "ok" if error is None else "error"


def default_cost_source(cost_usd: float | None) -> str:
    """Return the origin of an attempt's cost that was reported without one; an unknown cost is None or NaN."""
    return "" if cost_usd is None or cost_usd != cost_usd else "given"  # NaN is unequal to itself


def _encodable(message: str | None) -> str | None:
    """Replace the halves of surrogate pairs in an error's message: servers cut messages within an emoji, and a call must be logged all the same."""
    return message.encode(errors="replace").decode() if isinstance(message, str) and not message.isascii() else message


@attrs.frozen(slots=False)  # without slots, construction takes a third less time
class Attempt:
    """One call made for a decision, successful, failed, cancelled or refused.

    Attributes:
        decision_id: The decision.
        n: The attempt's number among the decision's attempts, from 0; None to take the next free number.
        candidate: The candidate that was called; ``""`` for the chosen one, which the log fills in.
        cost_usd: Cost in USD, NaN where it is unknown.
        latency_ms: Time until the whole answer, NaN where it is unknown.
        output_tokens: Tokens of the answer, None where they are unknown.
        error: The error's message; None without an error.
        status: ``"ok"``, ``"error"``, ``"cancelled"``, or ``"refused"``: the server rejected the request, and no other candidate answered
            it, or content or state had been removed from it before the call. By default ``"error"`` with an error and ``"ok"`` without.
        cost_source: The origin of the cost, one of ``COST_SOURCES``.
        first_token_ms: Time until the first token, NaN where it is unknown.
        prompt_tokens: Tokens of the prompt, cached ones included; None where they are unknown.
        cached_tokens: Tokens of the prompt that were read from a cache, None where they are unknown.
        reasoning_tokens: Tokens of the answer that were reasoning, None where they are unknown.

    Raises:
        DataError: A value cannot be used.
    """

    decision_id: str = attrs.field(validator=check_name_field)
    n: int | None = None
    candidate: str = attrs.field(default="", validator=check_text_field)
    cost_usd: float = attrs.field(default=math.nan, eq=known, validator=check_figure)
    latency_ms: float = attrs.field(default=math.nan, eq=known, validator=check_figure)
    output_tokens: int | None = None
    error: str | None = attrs.field(default=None, converter=_encodable, validator=attrs.validators.optional(check_text_field))
    status: str = attrs.field(default=attrs.Factory(lambda self: default_status(self.error), takes_self=True), kw_only=True)
    cost_source: str = attrs.field(default=attrs.Factory(lambda self: default_cost_source(self.cost_usd), takes_self=True), kw_only=True)
    first_token_ms: float = attrs.field(default=math.nan, eq=known, validator=check_figure, kw_only=True)
    prompt_tokens: int | None = attrs.field(default=None, kw_only=True)
    cached_tokens: int | None = attrs.field(default=None, kw_only=True)
    reasoning_tokens: int | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_optional_counts(self, _COUNTS)
        check_choice(self.status, ATTEMPT_STATUSES, "an attempt's status")
        check_choice(self.cost_source, COST_SOURCES, "an attempt's cost_source")


def _check_decision_id(feedback: Feedback, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise DataError(f"decision_id must be the id that route returned, not {value!r:.80}")
    check_name_field(feedback, attribute, value)


@attrs.frozen(kw_only=True)
class Feedback:
    """Feedback on a decision: a quality, or that one candidate beat another.

    Attributes:
        id: Its own id; by default the decision's id, a slash and the source, so each source counts once.
        decision_id: The decision that it is about.
        candidate: The candidate that it is about; None for the one that served.
        quality: From 0 to 1, or None for a comparison.
        over: The candidate that this one beat, or tied with.
        tie: Whether the two were equally good.
        confidence: Confidence of the source, from 0 to 1.
        weight: Weight in averages, from 0 to ``MAX_WEIGHT``.
        source: The source: ``"explicit"``, ``"implicit"``, or a judge's name.
        time: When it was given, in seconds since the epoch.
        revision: A later revision of the same id replaces the earlier one, of the same decision; both stay in the log.

    Raises:
        DataError: A value cannot be used, or there is neither or both of quality and comparison.
    """

    decision_id: str = attrs.field(validator=_check_decision_id)
    quality: float | None = None
    candidate: str | None = attrs.field(default=None, validator=check_name_or_none)
    over: str | None = attrs.field(default=None, validator=check_name_or_none)
    tie: bool = False
    confidence: float = 1.0
    weight: float = 1.0
    source: str = attrs.field(default="explicit", validator=check_name_field)
    time: float = attrs.field(default=0.0, validator=check_time)
    revision: int = attrs.field(default=0, converter=as_int, validator=check_count)
    id: str = attrs.field(default=attrs.Factory(lambda self: f"{self.decision_id}/{self.source}", takes_self=True), validator=check_name_field)

    @property
    def average_weight(self) -> float:
        """Its weight in averages and comparisons: weight times confidence, at most ``MAX_AVERAGE_WEIGHT``, so that no one piece decides all."""
        return min(self.weight * self.confidence, MAX_AVERAGE_WEIGHT)

    @property
    def implicit(self) -> bool:
        """Whether it was inferred, not given on purpose: its source begins with "implicit"."""
        return is_implicit(self.source)

    def __attrs_post_init__(self) -> None:
        if (self.quality is None) == (self.over is None):
            found = "neither" if self.quality is None else "both"
            raise DataError(f"feedback must give either a quality or the candidate that was beaten (over), not {found}")
        check_type(self.tie, bool, "tie must be true or false", DataError)
        _check_range("quality", 0.0 if self.quality is None else self.quality, 1)
        _check_range("confidence", self.confidence, 1)
        _check_range("weight", self.weight, MAX_WEIGHT)
        if self.over is not None and self.over == self.candidate:
            raise DataError(f"a candidate cannot beat itself: {self.over!r} is winner and loser")


def is_implicit(source: str) -> bool:
    """Return whether feedback of that source was inferred, see :attr:`Feedback.implicit`."""
    return source.startswith("implicit")


def _check_range(name: str, value: object, maximum: float) -> None:
    if not is_amount(value) or not value <= maximum:  # type: ignore[operator]  # a number here
        raise DataError(f"{name} must be a number from 0 to {maximum:,}, not {value!r}")
