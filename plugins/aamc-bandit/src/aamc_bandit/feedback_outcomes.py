"""Converts the entries of the log to outcomes: each candidate's quality and a weight.

Feedback of a source, on a decision, by a user and by a tenant counts up to a limit. A failed call counts as an outcome of the quality
``failure_quality``, once for each decision and candidate, unless another call succeeds or feedback that counts judges that candidate. If a
revision withdraws that feedback, the failed call counts again. Feedback on the answer of an orchestrator counts for no candidate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import attrs
import msgspec

from aamc_bandit.recent_entries import RecentEntries
from aamc_sdk.config import option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import EXPECTED_QUALITY
from aamc_sdk.storage import read_bytes, write_bytes
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Query, tenant_user

logger = logging.getLogger(__name__)
TIE = 0.5
"""The quality of both candidates in a tie if nothing is expected of them. A higher quality is a success."""
MAX_DECISIONS, MAX_USERS = 10_000, 100_000
"""Decisions, and users and tenants, whose counted weights are kept, most recently mentioned first."""
MAX_DAYS = 8
"""Days of a user or tenant whose counted weights are kept, the latest; an earlier one counts as the earliest of them."""
MAX_PIECES = 100
"""Maximum number of pieces of feedback on one decision that count."""
DAY_S = 24 * 3600
STATE = "counted.json"
_FAILURE = "\0failure"
"""The source of a failed call's outcome; no feedback has this source, since names contain no NUL."""


@attrs.frozen(kw_only=True)
class OutcomeOptions:
    """Options of routers that learn from feedback and failed calls."""

    implicit_feedback_weight: float = option(0.5, "Factor on the weight of feedback whose source begins with 'implicit'.", at_least=0)
    failure_quality: float | None = option(0.0, "Quality of a failed call, from 0 to 1; none: failed calls do not count.", at_least=0, at_most=1)
    failure_weight: float = option(
        1.0, "Weight of a failed call; failures are always known, so if only some answers have feedback, set their share.", above=0
    )
    max_source_weight: float = option(3.0, "Maximum total weight of one source's feedback on a candidate in one decision.", above=0)
    max_decision_weight: float = option(5.0, "Maximum total weight of all feedback on a candidate in one decision.", above=0)
    max_user_weight: float = option(1000.0, "Maximum total weight of feedback on one user's decisions in a day (UTC).", above=0)
    max_tenant_weight: float = option(
        500.0,
        "Maximum total weight of feedback on one tenant's decisions in a day (UTC), those of its users included, once a second tenant has feedback.",
        above=0,
    )

    def winner_and_loser(self, mean: float) -> tuple[float, float]:
        """Return the qualities of both candidates of a comparison, given the mean of what the router expected of them.

        A comparison says nothing about that mean. As a win and a loss it would draw good candidates from the level of their ratings to that of
        their opponents, and those that are seldom compared would stay above them.
        """
        reach = min(mean, 1 - mean)  # no quality is below 0 or above 1
        return mean + reach, mean - reach

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of these options."""
        return tuple(field.name for field in attrs.fields(OutcomeOptions))


Places = dict[str, list[float]]
"""The clocks of a router's evidence when a piece of feedback was first counted, by candidate; a router may add keys of its own."""


class Outcome(NamedTuple):
    """The outcomes that one entry of the log adds or takes back.

    Attributes:
        row: The decision's row in the experience.
        qualities: Candidates with their qualities.
        weight: The counted weight.
        added: Whether they are added; else they are taken back.
        implicit: Whether they come from implicit feedback.
        time: When the feedback was given, in seconds since the epoch; 0 for a failed call.
        places: The clocks at which the piece was first counted. Empty for a new piece; the router fills it in. A revision has the places of
            the first verdict: it is added at that age, and ages nothing.
    """

    row: int
    qualities: Sequence[tuple[str, float]]
    weight: float
    added: bool = True
    implicit: bool = False
    time: float = 0.0
    places: Places = {}  # noqa: RUF012  # never altered: outcomes that are added have their own


class Counted(NamedTuple):
    """A counted piece of feedback or failed call.

    Attributes:
        source: Its source.
        weight: The counted weight.
        candidates: The candidates that any of its revisions named.
        held: The maximum weight of its revisions. The limits use it, because the heaviest revision may have aged other evidence. Of a failed call,
            the weight that it has while it counts.
        places: See :class:`Outcome`.
        judged: The candidates that feedback with a weight judges now; empty for a failed call.
    """

    source: str
    weight: float
    candidates: Sequence[str]
    held: float = 0.0
    places: Places = {}  # noqa: RUF012  # never altered: pieces with a weight have their own
    judged: Sequence[str] = ()


UserDays = dict[int, float]
"""The weight of the feedback on the decisions of a user or tenant that counted, by day from the epoch; of the latest ``MAX_DAYS`` days."""


class KnownTenants(msgspec.Struct, frozen=True):
    """The tenants whose feedback has been learned, as far as ``max_tenant_weight`` needs them.

    Attributes:
        only: The key of the only one so far; None without one, with several, and after it was forgotten.
        several: Whether there has been a second one. Forgetting a tenant leaves it, since the evidence of both stays.
    """

    only: str | None = None
    several: bool = False

    def with_tenant(self, key: str) -> KnownTenants:
        """Return these tenants and one more."""
        if self.several or key == self.only:
            return self
        return KnownTenants(key) if self.only is None else KnownTenants(several=True)


class SavedCounts(msgspec.Struct):
    """The file of :meth:`OutcomeLedger.save`: counted feedback and failures by decision and id, and the days of each user and tenant."""

    decisions: dict[str, dict[str, Counted]]
    users: dict[str, UserDays]
    tenants: KnownTenants


class CountedDelta(msgspec.Struct):
    """The result of :meth:`OutcomeLedger.delta`."""

    decisions: dict[str, dict[str, dict[str, Counted]]]
    users: dict[str, dict[str, UserDays]]
    tenants: KnownTenants


class OutcomeLedger:
    """Turns experiences into outcomes, and keeps the counted outcomes by decision, user and tenant. Used by one thread.

    Args:
        options: The weights and limits.
    """

    def __init__(self, options: OutcomeOptions) -> None:
        self._options = options
        self._uncounted: dict[str, float] = {}
        self._reported: dict[str, float] = {}
        self.clear()

    def clear(self) -> None:
        """Forget the counted outcomes."""
        self._decisions: RecentEntries[dict[str, Counted]] = RecentEntries(MAX_DECISIONS)
        self._users: RecentEntries[UserDays] = RecentEntries(MAX_USERS)
        self._tenants = KnownTenants()

    def drop_users(self, forgotten: Callable[[Collection[str]], Collection[str]]) -> None:
        """Drop forgotten users; ``forgotten`` returns those of some names that were forgotten."""
        only = self._tenants.only
        if dropped := set(forgotten({*self._users, *(() if only is None else (only,))})):
            self._users = self._users.without(dropped.__contains__)
            if only in dropped:
                self._tenants = KnownTenants()

    def outcomes(self, experience: Experience) -> Iterator[Outcome]:
        """Yield the outcomes that each entry adds or takes back, in log order; a later revision replaces the earlier one."""
        rows = experience.rows
        for entry in experience.entries:
            row = rows.get(entry.decision_id)
            if row is None:
                continue
            if isinstance(entry, Attempt):
                yield from self._of_attempt(row, entry)
            else:
                replaced = experience.replaced_by(entry)
                yield from self._of_feedback(row, entry, replaced, experience)

    def _of_attempt(self, row: int, attempt: Attempt) -> Iterator[Outcome]:
        quality, weight, name = self._options.failure_quality, self._options.failure_weight, attempt.candidate
        if quality is None or attempt.status not in ("ok", "error"):
            return
        if attempt.status == "ok" and attempt.decision_id not in self._decisions:
            self._decisions.put(attempt.decision_id, _only_answered(name))
            return
        counted = self._counted(attempt.decision_id)
        failure = counted.get(_failure_id(name))
        if attempt.status == "ok":
            counted[_failure_id(name)] = _never_failed(name)  # a failure that is reported later counts for nothing
            if failure is not None and failure.weight > 0:
                yield Outcome(row, [(name, quality)], failure.weight, added=False, places=failure.places)
        elif failure is None:
            counted[_failure_id(name)] = Counted(_FAILURE, 0.0, (name,), float(weight))
            yield from self._settle_failure(row, counted, name, {})

    def _settle_failure(self, row: int, counted: dict[str, Counted], name: str, places: Places) -> Iterator[Outcome]:
        """Count a candidate's failed call unless feedback judges the candidate; ``places`` are those of feedback that came before it."""
        failure, quality = counted.get(_failure_id(name)), self._options.failure_quality
        if failure is None or quality is None:
            return
        weight = 0.0 if any(name in each.judged for each in counted.values()) else failure.held
        if weight != failure.weight:
            settled = failure._replace(weight=weight, places=dict(failure.places or places))
            counted[_failure_id(name)] = settled
            yield Outcome(row, [(name, quality)], failure.held, weight > 0, places=settled.places)

    def _of_feedback(self, row: int, feedback: Feedback, replaced: Feedback | None, experience: Experience) -> Iterator[Outcome]:
        decision = experience.decisions[row]
        if decision.is_step:
            return
        known = self._decisions.get(decision.id)
        counted = self._counted(decision.id)
        earlier = None
        if replaced is not None and (known is None or feedback.id in known):  # else it was not counted
            earlier = counted.pop(feedback.id, None)
            weight, places = (self._weight(replaced), {}) if earlier is None else (earlier.weight, earlier.places)
            if weight > 0:
                yield Outcome(row, candidate_qualities(replaced, decision, self._options), weight, False, replaced.implicit, 0.0, places)
        qualities = candidate_qualities(feedback, decision, self._options)
        names = [name for name, _ in qualities]
        others = {key: each for key, each in counted.items() if each.source != _FAILURE}
        wanted = self._weight(feedback)
        allowed, held = self._allowed(feedback, wanted, names, others), 0.0 if earlier is None else earlier.held
        weight = min(allowed, held) + self._within_days(experience.queries[row], feedback.time, max(allowed - held, 0.0))
        if weight > 0 or earlier is not None or (wanted == 0 and len(counted) < MAX_PIECES):
            piece = _revised(earlier or Counted(feedback.source, 0.0, ()), weight, names)
            counted[feedback.id] = piece
            for name in piece.candidates:
                yield from self._settle_failure(row, counted, name, piece.places)
            if weight > 0:
                yield Outcome(row, qualities, weight, True, feedback.implicit, feedback.time, piece.places)

    def _weight(self, feedback: Feedback) -> float:
        """Return the weight that feedback asks for: weight times confidence, for implicit feedback also times ``implicit_feedback_weight``."""
        return feedback.weight * feedback.confidence * (self._options.implicit_feedback_weight if feedback.implicit else 1.0)

    def _allowed(self, feedback: Feedback, wanted: float, names: Sequence[str], counted: Mapping[str, Counted]) -> float:
        """Return the part of a weight within the limits of its source and its decision."""
        if len(counted) >= MAX_PIECES:
            return 0.0
        own = [each for each in counted.values() if each.source == feedback.source]
        of_source = self._options.max_source_weight - _counted_weight(own, names)
        of_decision = self._options.max_decision_weight - _counted_weight(counted.values(), names)
        room, option = (of_source, "max_source_weight") if of_source <= of_decision else (of_decision, "max_decision_weight")
        if wanted > room:
            self._report(option, f"feedback on decision {feedback.decision_id!r} weighs more than {option} allows", wanted - max(0.0, room))
        return max(0.0, min(wanted, room))

    def _within_days(self, query: Query, time: float, weight: float) -> float:
        """Return the part of a weight within the limits of its user and its tenant in that day, and count it."""
        limits = {}
        if query.user is not None:
            limits[tenant_user(query.user, query.tenant)] = ("max_user_weight", "user")
        if query.tenant is not None:
            key = tenant_user("", query.tenant)  # no user's name is empty
            limits[key] = ("max_tenant_weight", "tenant")
            if weight > 0:
                self._tenants = self._tenants.with_tenant(key)
        counted = [(name, *self._day(name, int(time // DAY_S))) for name in limits]
        for name, days, day in counted:
            limit, whose = limits[name]
            if whose == "tenant" and not self._tenants.several:
                continue  # it protects tenants from each other; a single one must not stop the router from learning
            if (room := getattr(self._options, limit) - days.get(day, 0.0)) < weight:
                kept = max(0.0, room)
                self._report(limit, f"the feedback of a day on one {whose}'s decisions weighs more than {limit} allows", weight - kept)
                weight = kept
        for name, days, day in counted:
            days[day] = days.get(day, 0.0) + weight
            if len(days) > MAX_DAYS:
                del days[min(days)]
            self._users.put(name, days)
        return weight

    def _day(self, name: str, day: int) -> tuple[UserDays, int]:
        """Return the days of a user or tenant, which may be altered, and the one that a day counts as."""
        days = dict(self._users.get(name, {}))
        return days, max(day, min(days)) if len(days) == MAX_DAYS else day  # what counted in an earlier day is not known any more

    def _report(self, option: str, what: str, uncounted: float) -> None:
        """Log how much feedback a limit has left out, the first time and whenever that has grown tenfold."""
        total = self._uncounted[option] = self._uncounted.get(option, 0.0) + uncounted
        if total >= 10 * self._reported.get(option, 0.0):
            self._reported[option] = total
            message = "%s (%g); the rest does not count, here and in later cases: a weight of %g so far"
            logger.warning(message, what, getattr(self._options, option), total)

    def _counted(self, decision_id: str) -> dict[str, Counted]:
        """Return the counted outcomes of a decision, which may be altered, and mark it as the most recently mentioned one."""
        counted = dict(self._decisions.get(decision_id, ()))
        self._decisions.put(decision_id, counted)
        return counted

    def save(self, folder: Path) -> None:
        """Write the counted outcomes, if there are any; decisions without one are written too, since they count towards the limit."""
        if self._decisions or self._users or self._tenants != KnownTenants():
            saved = SavedCounts(dict(self._decisions), dict(self._users), self._tenants)  # msgspec reads an OrderedDict in another order
            write_bytes(folder / STATE, msgspec.json.encode(saved))

    def load(self, folder: Path) -> None:
        """Read the state that :meth:`save` wrote; empty without a file.

        Raises:
            CheckpointError: The file is damaged.
        """
        self.clear()
        if (folder / STATE).exists():
            try:
                saved = msgspec.json.decode(read_bytes(folder / STATE), type=SavedCounts)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{folder / STATE} does not hold the counted feedback of a bandit ({error!r}); train again") from error
            self._decisions = RecentEntries(MAX_DECISIONS, saved.decisions.items())
            self._users = RecentEntries(MAX_USERS, saved.users.items())
            self._tenants = saved.tenants
        self._decisions.mark_unchanged()
        self._users.mark_unchanged()

    def delta(self) -> CountedDelta:
        """Return the changes since the last call or :meth:`load`."""
        return CountedDelta(self._decisions.delta(), self._users.delta(), self._tenants)

    def apply_delta(self, delta: CountedDelta) -> None:
        """Take over a result of :meth:`delta`; raises KeyError where it is incomplete."""
        self._decisions.apply_delta(delta.decisions)
        self._users.apply_delta(delta.users)
        self._tenants = delta.tenants


def _revised(earlier: Counted, weight: float, names: Sequence[str]) -> Counted:
    candidates = [*earlier.candidates, *(name for name in names if name not in earlier.candidates)]
    judged = names if weight > 0 else ()
    return Counted(earlier.source, float(weight), candidates, max(earlier.held, float(weight)), dict(earlier.places), judged)


@lru_cache(1024)
def _never_failed(candidate: str) -> Counted:
    return Counted(_FAILURE, 0.0, (candidate,))


@lru_cache(1024)
def _only_answered(candidate: str) -> dict[str, Counted]:
    """Return the counted outcomes of a decision whose candidate answered. Most decisions share this dictionary: it must not be altered."""
    return {_failure_id(candidate): _never_failed(candidate)}


@lru_cache(1024)
def _failure_id(candidate: str) -> str:
    return f"{_FAILURE}/{candidate}"


def _counted_weight(counted: Collection[Counted], names: Sequence[str]) -> float:
    """Return the weight counted on the candidate, of some, that has the most."""
    return max(math.fsum([max(each.held, each.weight) for each in counted if name in each.candidates]) for name in names) if counted else 0.0


def candidate_qualities(feedback: Feedback, decision: Decision, options: OutcomeOptions) -> list[tuple[str, float]]:
    """Return each candidate that feedback names, with its quality; feedback that names none is on the decision's candidate.

    What the router expected is noted in the decision, so a log gives the same qualities whenever it is learned.
    """
    candidate = decision.candidate if feedback.candidate is None else feedback.candidate
    if feedback.over is None:
        assert feedback.quality is not None
        return [(candidate, float(feedback.quality))]
    winner, loser = options.winner_and_loser(_expected_mean(decision, candidate, feedback.over))
    if feedback.tie:
        winner = loser = (winner + loser) / 2
    return [(candidate, winner), (feedback.over, loser)]


def _expected_mean(decision: Decision, *names: str) -> float:
    """Return the mean quality that a decision's router expected of candidates; :data:`TIE` if its notes, which anyone may import, do not tell."""
    noted = decision.notes.get(EXPECTED_QUALITY)
    found = [noted.get(name) for name in names] if isinstance(noted, Mapping) else [None]
    known = [each for each in found if isinstance(each, int | float) and 0 <= each <= 1]
    return sum(known) / len(known) if len(known) == len(found) else TIE
