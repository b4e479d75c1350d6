"""The nouns of the SDK: what is asked, what may be chosen, what was decided, what came of it.

Arrays of many requests are in :mod:`aamc_sdk.batch`, tables of outcomes in
:mod:`aamc_sdk.dataset`. Prices are USD per million tokens, latencies milliseconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import AamcError, DataError, PoolError, PreferenceError, nearest, one_of
from aamc_sdk.texts import as_names, check_name, check_text

if TYPE_CHECKING:
    from aamc_sdk.pool_arrays import PoolArrays

CHARACTERS_PER_TOKEN = 4
"""A token's usual length in English; estimates prompt tokens where a request does not count them."""
DEFAULT_OUTPUT_TOKENS = 256
"""The answer's length that is assumed where a request does not say."""
GREATEST_WEIGHT = 1_000_000
"""The most that one piece of feedback counts: sums of so many stay exact enough for every router."""

GREATEST_COUNT = 10**12
"""The most tokens or calls that anything is said to have: what is greater is a mistake."""


def _check_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_text(value, _named(instance, attribute))


def _check_name(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not (type(value) is str and value and value.isprintable()):  # most names are plain, and need no closer look
        check_name(value, _named(instance, attribute))


def _named(instance: object, attribute: attrs.Attribute[Any]) -> str:
    return _field(type(instance).__name__, attribute.name)


@lru_cache  # a decision checks four fields, which must cost next to nothing
def _field(owner: str, name: str) -> str:
    """Return how a message names a field: "a query's user"."""
    return f"{'an' if owner[0] in 'AEIOU' else 'a'} {owner.lower()}'s {name}"


_check_name_or_none = attrs.validators.optional(_check_name)


_NUMBERS = (float, int, np.floating, np.integer)


def _is_amount(value: object) -> bool:
    """Whether a value is a number of at least 0, or NaN."""
    if type(value) is float:  # as those of every decision are
        return not value < 0
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and not value < 0


def _check_figure(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not _is_amount(value) or value == math.inf:
        raise DataError(f"{_named(instance, attribute)} must be a number of at least 0, or NaN where it is not known, not {value!r}")


def _check_propensity(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not _is_amount(value) or value > 1:
        raise DataError(f"{_named(instance, attribute)} must be a probability, or NaN where it is not known, not {value!r}")


def _check_time(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not (_is_amount(value) and value < math.inf):
        raise DataError(f"{_named(instance, attribute)} must be in seconds since the epoch, not {value!r}")


def _check_count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST_COUNT:
        raise DataError(f"{attribute.name} must be a whole number from 0 to {GREATEST_COUNT:,}, not {value!r:.80}")


_check_tokens = attrs.validators.optional(_check_count)


def _as_names(values: Iterable[str]) -> frozenset[str]:
    names = as_names(values)
    if names is None:
        raise DataError(f"abilities and needs are lists of names such as ['tools'], not {values!r}")
    return names


@attrs.frozen
class Query:
    """A request's text and what is known with it. Never a label.

    Attributes:
        text: What is asked.
        user: Who asks, for personal routing.
        session: The conversation it belongs to.
        needs: Abilities that the answer requires, such as ``"tools"`` or ``"vision"``.
        prompt_tokens: Tokens of the prompt; estimated from the text when None.
        output_tokens: Tokens that the answer is expected to have; assumed when None.
        cached_on: The candidate that holds this conversation's prompt cache.
    """

    text: str = attrs.field(validator=_check_text)
    user: str | None = attrs.field(default=None, validator=_check_name_or_none)
    session: str | None = attrs.field(default=None, validator=_check_name_or_none)
    needs: frozenset[str] = attrs.field(default=frozenset(), converter=_as_names)
    prompt_tokens: int | None = attrs.field(default=None, validator=_check_tokens)
    output_tokens: int | None = attrs.field(default=None, validator=_check_tokens)
    cached_on: str | None = attrs.field(default=None, validator=_check_name_or_none)

    @property
    def expected_prompt_tokens(self) -> int:
        """The prompt's tokens, at four characters each where they were not counted."""
        if self.prompt_tokens is not None:
            return self.prompt_tokens
        return math.ceil(len(self.text) / CHARACTERS_PER_TOKEN)

    @property
    def expected_output_tokens(self) -> int:
        """The answer's tokens, 256 where they are not known."""
        return DEFAULT_OUTPUT_TOKENS if self.output_tokens is None else self.output_tokens


def _check_price(prices: Prices, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not (_is_amount(value) and math.isfinite(value)):
        raise PoolError(f"price {attribute.name} must be USD of at least 0, not {value!r}")


@attrs.frozen
class Prices:
    """USD per million tokens: of the prompt, of the answer, and of a prompt read from a cache."""

    input: float = attrs.field(validator=_check_price)
    output: float = attrs.field(validator=_check_price)
    cached_input: float | None = attrs.field(default=None, validator=_check_price)


def _check_latency(latency: Latency, attribute: attrs.Attribute[Any], value: float) -> None:
    if not (_is_amount(value) and math.isfinite(value)):
        raise PoolError(f"{attribute.name} must be milliseconds of at least 0, not {value!r}")


@attrs.frozen
class Latency:
    """What an unloaded candidate takes, in milliseconds: the way there and back, and the mean service time."""

    network_ms: float = attrs.field(default=0.0, validator=_check_latency)
    service_ms: float = attrs.field(default=0.0, validator=_check_latency)

    @property
    def total_ms(self) -> float:
        """Mean latency without waiting."""
        return self.network_ms + self.service_ms


def _check_candidate(candidate: Candidate, attribute: attrs.Attribute[Any], value: object) -> None:
    try:
        check_name(value, "a candidate's name")
    except DataError as error:
        raise PoolError(str(error)) from error


@attrs.frozen
class Candidate:
    """What may be chosen: a model or an agent, known by its name and described in words."""

    name: str = attrs.field(validator=_check_candidate)
    description: str = ""
    abilities: frozenset[str] = attrs.field(default=frozenset(), converter=_as_names)


def _check_window(spec: ModelSpec, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value <= 0:
        raise PoolError(f"the context window of {spec.name!r} must be at least 1 token, not {value!r}")


@attrs.frozen
class ModelSpec(Candidate):
    """A model that may be chosen.

    Attributes:
        prices: USD per million tokens, or None where nobody knows (its cost is then NaN).
        latency: Unloaded latency, or None where nobody knows.
        context_window: Most tokens of prompt and answer together, or None for no limit.
        endpoint: Where it is served, for what calls it.
    """

    prices: Prices | None = None
    latency: Latency | None = None
    context_window: int | None = attrs.field(default=None, validator=_check_window)
    endpoint: str | None = None


def _as_tuple(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(candidates)


@attrs.frozen(eq=False, slots=False)
class Pool:
    """The candidates of a request, in a fixed order.

    Raises:
        PoolError: There is no candidate, two have one name, or one is something else.
    """

    candidates: tuple[Candidate, ...] = attrs.field(converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.candidates:
            raise PoolError("a pool needs at least one candidate, and this one has none")
        for candidate in self.candidates:
            if not isinstance(candidate, Candidate):
                raise PoolError(f"a pool is made of candidates, such as ModelSpec('name'), not {candidate!r:.80}")
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise PoolError(f"each candidate needs a name of its own; twice in the pool: {one_of(twice)}")

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.candidates == other.candidates

    def __hash__(self) -> int:
        return hash(self.candidates)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made from; it computes its arrays itself, since copies of arrays are not read-only."""
        return {"candidates": self.candidates}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The candidates' names, in order."""
        return tuple(candidate.name for candidate in self.candidates)

    @cached_property
    def arrays(self) -> PoolArrays:
        """The candidates' prices, latencies and windows."""
        from aamc_sdk.pool_arrays import PoolArrays

        return PoolArrays.of(self)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return a candidate's position.

        Raises:
            PoolError: No candidate has that name.
        """
        try:
            return self._positions[name]
        except KeyError:
            hint = nearest(name, self.names)
            raise PoolError(f"the pool has no candidate {name!r}{hint} (it has {one_of(self.names)})") from None

    def subset(self, names: Sequence[str]) -> Pool:
        """Return a pool of the named candidates, in the order given."""
        return Pool(self.candidates[self.index(name)] for name in names)


@attrs.frozen(init=False)
class Preference:
    """Weights of quality, cost and latency, rescaled to sum to one.

    The default weighs the full range of cost as nine points of quality.

    Raises:
        PreferenceError: A weight is negative or not finite, or all are zero.
    """

    quality: float
    cost: float
    latency: float

    def __init__(self, quality: float = 0.9, cost: float = 0.08, latency: float = 0.02) -> None:
        given = (quality, cost, latency)
        try:
            weights = [float(weight) for weight in given]
        except (TypeError, ValueError):
            raise PreferenceError(f"a preference is three numbers (quality, cost, latency), not {given!r}") from None
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise PreferenceError(f"a preference's weights must be finite and at least 0, not {given!r}")
        total = sum(weights)
        if total <= 0 or not math.isfinite(total):
            raise PreferenceError(f"a preference needs a positive, finite sum of weights, not {given!r}")
        self.__attrs_init__(*(weight / total for weight in weights))

    @classmethod
    def parse(cls, text: str, named: Mapping[str, Preference] | None = None) -> Preference:
        """Read ``"0.7,0.2,0.1"``: quality, cost, latency; or the name of one of those that are calibrated.

        Raises:
            PreferenceError: It is neither, or the weights are none.
        """
        if named is not None and text in named:
            return named[text]
        parts = text.split(",")
        try:
            weights = [float(part) for part in parts]
        except ValueError:
            weights = []
        if len(weights) != 3:
            names = "" if named is None else f"{nearest(text, named)} (calibrated, and known by their names: {one_of(named)})"
            raise PreferenceError(f"a preference is three numbers such as 0.9,0.08,0.02, not {text!r}{names}")
        return cls(*weights)

    @classmethod
    def of(cls, value: Preference | str | Sequence[float] | None) -> Preference:
        """Return the preference that a caller gave in any of the usual forms; None is the default."""
        if value is None:
            return cls()
        if isinstance(value, Preference):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, Sequence | np.ndarray) or len(value) != 3:
            raise PreferenceError(f"a preference is three numbers (quality, cost, latency), not {value!r}")
        return cls(*value)

    @property
    def array(self) -> NDArray[np.float64]:
        """The weights as ``[3]``."""
        return np.array((self.quality, self.cost, self.latency))

    def __str__(self) -> str:
        return f"{self.quality:g},{self.cost:g},{self.latency:g}"


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

    id: str = attrs.field(validator=_check_name)
    candidate: str = attrs.field(validator=_check_name)
    propensity: float = attrs.field(validator=_check_propensity)
    preference: Preference
    probabilities: Mapping[str, float] = attrs.field(factory=dict)
    router: str = ""
    time: float = attrs.field(default=0.0, validator=_check_time)
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

    decision_id: str = attrs.field(validator=_check_name)
    n: int = attrs.field(validator=_check_count)
    candidate: str = attrs.field(validator=_check_text)
    cost_usd: float = attrs.field(default=math.nan, validator=_check_figure)
    latency_ms: float = attrs.field(default=math.nan, validator=_check_figure)
    output_tokens: int | None = attrs.field(default=None, validator=_check_tokens)
    error: str | None = attrs.field(default=None, validator=attrs.validators.optional(_check_text))


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
        if not _is_amount(self.time) or not math.isfinite(self.time):
            raise AamcError(f"time must be seconds since the epoch, not {self.time!r}")
        if self.over is not None and self.over == self.candidate:
            raise AamcError(f"a candidate cannot beat itself: {self.over!r} is winner and loser")


def _check_range(name: str, value: object, greatest: float) -> None:
    if not _is_amount(value) or not value <= greatest:  # type: ignore[operator]  # a number here
        raise AamcError(f"{name} must be a number from 0 to {greatest:,}, not {value!r}")
