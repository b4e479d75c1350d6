"""What the log holds: what was decided, the calls that followed, and what somebody thought of them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.errors import AamcError
from aamc_sdk.types.checks import check_count, check_figure, check_name_field, check_propensity, check_text_field, check_time, check_tokens, is_amount
from aamc_sdk.types.preferences import Preference
from aamc_sdk.types.texts import check_name

GREATEST_WEIGHT = 1_000_000
"""The most that one piece of feedback counts: sums of so many stay exact enough for every router."""


def new_ids(count: int) -> list[str]:
    """Return ids that no other decision or feedback has: 128 random bits each."""
    digits = os.urandom(16 * count).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


@attrs.frozen
class Decision:
    """The candidate drawn for one request.

    Attributes:
        id: What attempts and feedback name.
        candidate: The chosen candidate's name.
        propensity: Probability of that draw; NaN where the router cannot know it.
        preference: The weights that it was asked for.
        probabilities: Probability of each candidate, by name; empty where there was no draw.
        router: The deciding router's name.
        time: When, in seconds since the epoch.
        notes: What the router wants remembered, such as what the decision itself cost.
    """

    id: str = attrs.field(validator=check_name_field)
    candidate: str = attrs.field(validator=check_name_field)
    propensity: float = attrs.field(validator=check_propensity)
    preference: Preference
    probabilities: Mapping[str, float] = attrs.field(factory=dict)
    router: str = ""
    time: float = attrs.field(default=0.0, validator=check_time)
    notes: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Attempt:
    """One call that followed a decision; after a fallback its candidate is not the chosen one.

    Attributes:
        decision_id: The decision that it followed.
        n: Its number, from 0; the log numbers a call that comes with feedback.
        candidate: Who was called; ``""`` for the chosen one, which the log fills in.
        cost_usd: What it cost, or NaN.
        latency_ms: How long it took, or NaN.
        output_tokens: How long the answer was, or None.
        error: What went wrong, or None.
    """

    decision_id: str = attrs.field(validator=check_name_field)
    n: int = attrs.field(validator=check_count)
    candidate: str = attrs.field(validator=check_text_field)
    cost_usd: float = attrs.field(default=math.nan, validator=check_figure)
    latency_ms: float = attrs.field(default=math.nan, validator=check_figure)
    output_tokens: int | None = attrs.field(default=None, validator=check_tokens)
    error: str | None = attrs.field(default=None, validator=attrs.validators.optional(check_text_field))


@attrs.frozen(kw_only=True)
class Feedback:
    """What somebody thought of an answer: a quality, or that one candidate beat another.

    Attributes:
        id: Its own id; by default the decision's id, a slash and the source, so each source counts once.
        decision_id: The decision that it judges.
        candidate: Who is judged; the served candidate when None.
        quality: From 0 to 1, or None for a comparison.
        over: The candidate that it beat, or tied with.
        tie: Whether the two were equally good.
        confidence: How sure the source is, from 0 to 1.
        weight: How much it counts, from 0 to ``GREATEST_WEIGHT``.
        source: Who says so: ``"explicit"``, ``"implicit"``, a judge's name.
        time: When, in seconds since the epoch.

    Raises:
        AamcError: A number is out of its range, a text is none, or there is neither or both of quality and comparison.
    """

    decision_id: str
    quality: float | None = None
    candidate: str | None = None
    over: str | None = None
    tie: bool = False
    confidence: float = 1.0
    weight: float = 1.0
    source: str = "explicit"
    time: float = 0.0
    id: str = attrs.field()

    @id.default
    def _default_id(self) -> str:
        return f"{self.decision_id}/{self.source}"

    @property
    def implicit(self) -> bool:
        """Whether it was inferred and nobody gave it on purpose: its source begins with "implicit"."""
        return self.source.startswith("implicit")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.decision_id, str) or not self.decision_id:
            raise AamcError(f"feedback names its decision by the id that routing returned, not {self.decision_id!r}")
        for name in ("decision_id", "candidate", "over", "source", "id"):
            value = getattr(self, name)
            if value is not None or name in ("source", "id"):
                check_name(value, f"a feedback's {name}")
        if (self.quality is None) == (self.over is None):
            raise AamcError("feedback gives either a quality or the candidate that was beaten (over), not both or neither")
        if not isinstance(self.tie, bool):
            raise AamcError(f"tie must be true or false, not {self.tie!r}")
        _check_range("quality", 0.0 if self.quality is None else self.quality, 1)
        _check_range("confidence", self.confidence, 1)
        _check_range("weight", self.weight, GREATEST_WEIGHT)
        if not is_amount(self.time) or not math.isfinite(self.time):
            raise AamcError(f"time must be seconds since the epoch, not {self.time!r}")
        if self.over is not None and self.over == self.candidate:
            raise AamcError(f"a candidate cannot beat itself: {self.over!r} is winner and loser")


def _check_range(name: str, value: object, greatest: float) -> None:
    if not is_amount(value) or not value <= greatest:  # type: ignore[operator]  # a number here
        raise AamcError(f"{name} must be a number from 0 to {greatest:,}, not {value!r}")
