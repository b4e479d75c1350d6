"""Sums over the log that the dashboard shows: traffic, cost, latency and quality, by time and candidate."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import attrs

from aamc_sdk.types import Prices, wilson_interval

if TYPE_CHECKING:
    from typing_extensions import Self

RESOLUTION = 1.05
"""Ratio of the bounds of a latency bin: a percentile is exact to 2.5%."""
MAX_USERS = 1_000
"""Maximum number of users whose feedback on a candidate is summed up by user, in each part of a period."""


@attrs.define
class _Sums:
    def plus(self, other: Self, sign: int = 1) -> None:
        """Add other sums, or with sign -1 take them away."""
        for field in attrs.fields(type(self)):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, _Sums):
                mine.plus(theirs, sign)
            elif isinstance(mine, Counter):
                mine.update({name: sign * amount for name, amount in theirs.items()})
            elif isinstance(mine, defaultdict):
                for name, sums in theirs.items():
                    mine[name].plus(sums, sign)
            else:
                setattr(self, field.name, mine + sign * theirs)


@attrs.define
class QualitySums(_Sums):
    """Sums over qualities given by feedback. Weights are :attr:`aamc_sdk.Feedback.average_weight`.

    Attributes:
        weight_squares: The sum of squared weights of feedback on decisions without a user, or of a user beyond the first ``MAX_USERS``.
        users: The sum of weights of each other user, by :func:`hash`.
    """

    n: int = 0
    weight: float = 0.0
    weight_squares: float = 0.0
    weighted: float = 0.0
    users: Counter[int] = attrs.field(factory=Counter)

    def add(self, quality: float, weight: float, sign: int = 1, user: int | None = None) -> None:
        """Add a quality from 0 to 1, or with sign -1 take it away."""
        self.n += sign
        self.weight += sign * weight
        self.weighted += sign * weight * quality
        if user is None or (user not in self.users and len(self.users) >= MAX_USERS):
            self.weight_squares += sign * weight * weight
        else:
            self.users.update({user: sign * weight})

    @property
    def mean(self) -> float | None:
        """The weighted mean; None without feedback."""
        return min(1.0, max(0.0, self.weighted / self.weight)) if self.n > 0 and self.weight > 0 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95% interval of the mean, for the effective number of users: (sum of weights)^2 / (sum of each user's squared sum).

        Feedback of one user is not independent, so it counts as one observation; other feedback counts as that of a user of its own.
        """
        mean, squares = self.mean, self.weight_squares + sum(weight * weight for weight in self.users.values())
        return None if mean is None or squares <= 0 else wilson_interval(mean, self.weight * self.weight / squares)


@attrs.define
class Tokens(_Sums):
    """Tokens of answers; ``cached``, read from a cache, and ``written`` to one, ``written_1h`` of them for an hour, are part of ``prompt``."""

    prompt: int = 0
    cached: int = 0
    output: int = 0
    written: int = 0
    written_1h: int = 0
    answers: int = 1

    def cost_usd(self, prices: Prices) -> float:
        """Return the cost of the answers by list prices."""
        return prices.cost_usd(self.prompt, self.output, self.cached, self.written, self.written_1h) + (self.answers - 1) * prices.request


class CountedAnswer(NamedTuple):
    """A successful call.

    Attributes:
        candidate: The candidate that answered.
        has_fallen_back: Whether another one was chosen.
        cost_usd: Its cost in USD; NaN if unknown.
        tokens: Its tokens; None if unknown.
        price_list: The number of the price list of its time.
    """

    candidate: str
    has_fallen_back: bool
    cost_usd: float
    tokens: Tokens | None
    price_list: int


@attrs.define
class CandidateSums(_Sums):
    """Sums over the decisions and calls of one candidate.

    Attributes:
        chosen: Decisions for it.
        answers: Decisions whose answer came from it.
        failed: Failed calls.
        cancelled: Calls that the caller cancelled.
        cost_usd: Known cost of its answers and cancelled calls.
        known_costs: Number of these.
        extra_usd: Known cost of its other calls: failed, refused, or an answer that was not served.
        unknown_costs: Calls of unknown cost, failed and refused ones left out.
        estimated_costs: Calls whose cost was estimated without usage.
        compared_usd: Cost of the answers of known cost and tokens, whose cost by another model can be computed.
        tokens: Tokens of these by the number of the price list of their time; written ones as far as their price shows them.
        latencies: Number of answers by latency bin.
        first_tokens: Number of answers by bin of the time to the first token.
        explicit: Qualities of explicit feedback.
        implicit: Qualities of implicit feedback.
        wins: Comparisons won; a tie counts half.
        comparisons: Comparisons.
    """

    chosen: int = 0
    answers: int = 0
    failed: int = 0
    cancelled: int = 0
    cost_usd: float = 0.0
    known_costs: int = 0
    extra_usd: float = 0.0
    unknown_costs: int = 0
    estimated_costs: int = 0
    compared_usd: float = 0.0
    tokens: defaultdict[int, Tokens] = attrs.field(factory=lambda: defaultdict(lambda: Tokens(answers=0)))
    wins: float = 0.0
    comparisons: int = 0
    latencies: Counter[int] = attrs.field(factory=Counter)
    first_tokens: Counter[int] = attrs.field(factory=Counter)
    explicit: QualitySums = attrs.field(factory=QualitySums)
    implicit: QualitySums = attrs.field(factory=QualitySums)

    @property
    def calls(self) -> int:
        """The number of its answers, failed calls and cancelled calls."""
        return self.answers + self.failed + self.cancelled

    @property
    def compared(self) -> int:
        """The number of answers whose cost by another model can be computed."""
        return sum(tokens.answers for tokens in self.tokens.values())

    def add_answer(self, answer: CountedAnswer, sign: int = 1) -> None:
        """Add an answer that was served, or with sign -1 take it away."""
        self.answers += sign
        if not math.isnan(answer.cost_usd):
            self.cost_usd += sign * answer.cost_usd
            self.known_costs += sign
            if answer.tokens is not None and answer.tokens.output > 0:  # else no other model's cost is known, as of embeddings
                self.compared_usd += sign * answer.cost_usd
                self.tokens[answer.price_list].plus(answer.tokens, sign)

    def replace_answer(self, answer: CountedAnswer) -> None:
        """Turn a served answer into one that was not, since a later call served."""
        self.add_answer(answer, -1)
        if not math.isnan(answer.cost_usd):
            self.extra_usd += answer.cost_usd

    def cost_by(self, prices: Sequence[Prices | None]) -> float:
        """Return the cost of the compared answers, with the same tokens, by another model's prices in each price list, in USD."""
        return sum(tokens.cost_usd(own) for number, tokens in self.tokens.items() if (own := prices[number]) is not None)


@attrs.define
class PeriodSums(_Sums):
    """Sums over the decisions of one period.

    Attributes:
        decisions: Number of decisions.
        deciding_usd: Cost of the decisions themselves, such as that of a router that asks a model.
        fell_back: Decisions that a candidate other than the chosen one answered.
        candidates: Sums by candidate.
    """

    decisions: int = 0
    deciding_usd: float = 0.0
    fell_back: int = 0
    candidates: defaultdict[str, CandidateSums] = attrs.field(factory=lambda: defaultdict(CandidateSums))

    def tokens(self, price_list: int) -> Tokens:
        """Return the tokens of all compared answers of the time of a price list, by its number."""
        found = Tokens(answers=0)
        for sums in self.candidates.values():
            if price_list in sums.tokens:
                found.plus(sums.tokens[price_list])
        return found


def written_tokens(prices: Prices | None, cost_usd: float, tokens: Tokens) -> Tokens:
    """Return an answer's tokens with those written to a cache, which the log does not count, as its cost by list prices shows them.

    If they would have to be more than the prompt has, they were written for an hour, at a higher price.
    """
    if prices is None or math.isnan(cost_usd):
        return tokens
    extra_usd = 1e6 * (cost_usd - prices.cost_usd(tokens.prompt, tokens.output, tokens.cached))
    surcharge = 0.0 if prices.cache_write is None else prices.cache_write - prices.input
    surcharge_1h = prices.input if prices.cache_write_1h is None else prices.cache_write_1h - prices.input
    for usd, is_hour in ((surcharge, False), (surcharge_1h, True)):
        written = round(extra_usd / usd) if usd > 0 else 0
        if 0 < written <= tokens.prompt - tokens.cached:
            return attrs.evolve(tokens, written=written, written_1h=written if is_hour else 0)
    return tokens


def latency_bin(milliseconds: float) -> int:
    """Return the bin of a duration."""
    return round(math.log(max(milliseconds, 0.01)) / math.log(RESOLUTION))


def percentiles(bins: Mapping[int, int], shares: Iterable[float]) -> list[float | None]:
    """Return percentiles in milliseconds, ascending shares from 0 to 1; None without durations."""
    total, found, count, ordered = sum(bins.values()), [], 0, iter(sorted(bins.items()))
    value: float | None = None
    for share in shares:
        while total and count < share * total:
            number, more = next(ordered)
            value, count = RESOLUTION**number, count + more
        found.append(value)
    return found
