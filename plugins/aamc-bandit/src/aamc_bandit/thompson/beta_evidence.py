"""Evidence from feedback: weighted wins and losses of every candidate, globally and by category, user and session.

Feedback is counted one at a time, so replaying a log in batches of any size gives bit-identical evidence. A revision is counted
where the first one was, and ages nothing. Memory is bounded: only the most recently mentioned users and sessions are kept.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from aamc_bandit.feedback_outcomes import TIE, Places
from aamc_bandit.recent_entries import RecentEntries
from aamc_bandit.semantic_router.ratings import CandidateRating
from aamc_bandit.thompson.evidence_keys import EvidenceKeys, own_id, session_user
from aamc_sdk.errors import CheckpointError
from aamc_sdk.types import SEPARATOR, Floats

LEVELS = ("global", "category", "user", "session")
"""The levels of evidence. The entities of a level are its categories, users or sessions; the global level has one entity."""
GLOBAL_ENTITY = ""
"""The name of the global level's only entity."""
RECENT, PAST = 0.98, 0.999
"""Factors on a candidate's recent and past quality with each later outcome of it."""
CLOCKS = ""
"""The key of the entities' clocks in :class:`aamc_bandit.feedback_outcomes.Outcome.places`, by level. Others are candidates, with their totals."""
_RESOLUTION = 2.0**32
Amount = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
Count = Annotated[int, msgspec.Meta(ge=0)]


WeightedOutcome = tuple[str, float, float, bool]
"""The effect of one feedback on one candidate: its name, weighted wins and losses, and whether it is a success."""
WindowPlace = tuple[tuple[str, Amount, Amount], ...]
"""The candidates of the feedback at one time of an entity's clock, with their wins and losses."""


class CandidateEvidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Evidence of one candidate at one entity.

    Attributes:
        wins: Weighted wins, discounted where a discount is configured.
        losses: Weighted losses, likewise.
        total: Number of outcomes.
        successes: Number of successes.
        at: The entity's clock at the last update.
        explicit: Number of explicit outcomes.
        implicit: Number of implicit outcomes.
        updated: Time of the latest feedback, in seconds since the epoch.
        recent_quality: The sum of the outcomes' weighted qualities, discounted by :data:`RECENT` with each later one, whatever its weight.
        recent_weight: The sum of the outcomes' weights, likewise.
        recent_squares: The sum of the squares of these discounted weights.
        past_quality: As ``recent_quality``, but discounted by :data:`PAST`.
        past_weight: As ``recent_weight``, likewise.
    """

    wins: Amount
    losses: Amount
    total: Count
    successes: Count
    at: Amount
    explicit: Count
    implicit: Count
    updated: Amount
    recent_quality: Amount = 0.0
    recent_weight: Amount = 0.0
    recent_squares: Amount = 0.0
    past_quality: Amount = 0.0
    past_weight: Amount = 0.0


COLUMNS = list(CandidateEvidence.__struct_fields__)
"""The names of the fields in a saved state."""
NO_EVIDENCE = CandidateEvidence(0.0, 0.0, 0, 0, 0.0, 0, 0, 0.0)


class EntityEvidence(msgspec.Struct):
    """Evidence of all candidates at one entity: globally, in a category, of a user or in a session.

    msgspec reads a hundred thousand of these from JSON in half a second, and checks them.

    Attributes:
        candidates: Evidence by candidate.
        clock: The time by which evidence ages: the total weight of the feedback, or with a window its number of pieces, after ``began``.
        began: The clock at the start. An entity begins with the global clock, so that an entity that was dropped and begins anew does not
            have the same times again.
        recent: Wins and losses in the sliding window by candidate, for each time of the clock, oldest first; empty without a window.
    """

    candidates: dict[str, CandidateEvidence] = msgspec.field(name="cells", default_factory=dict)
    clock: Amount = msgspec.field(name="heard", default=0.0)
    began: Amount = 0.0
    recent: tuple[WindowPlace, ...] = ()

    def __post_init__(self) -> None:
        for known in self.candidates.values():
            if known.at > self.clock:
                raise ValueError(f"a candidate was updated at {known.at}, after the clock's {self.clock}")

    def add(self, outcomes: Sequence[WeightedOutcome], implicit: bool, time: float, discount: float, window: int, ageing: float) -> None:
        """Count one feedback, which has one outcome per candidate that it names; it advances the clock by ``ageing``, and discounts earlier ones.

        Without ``ageing`` it has no place in time: it is a part of the past quality alone, and discounts nothing of it.
        """
        self.clock = now = self.clock + ageing
        for candidate, wins, losses, success in outcomes:
            known = self.candidates.get(candidate, NO_EVIDENCE)
            kept, weight = discount ** (now - known.at), wins + losses
            in_order = bool(weight and ageing)
            past = PAST if in_order else 1.0
            self.candidates[candidate] = CandidateEvidence(  # by position: four of these for each feedback take most of its time
                kept * known.wins + wins,
                kept * known.losses + losses,
                known.total + 1,
                known.successes + success,
                now,
                known.explicit + (not implicit),
                known.implicit + implicit,
                max(known.updated, time),
                RECENT * known.recent_quality + wins if in_order else known.recent_quality,
                RECENT * known.recent_weight + weight if in_order else known.recent_weight,
                RECENT**2 * known.recent_squares + weight**2 if in_order else known.recent_squares,
                past * known.past_quality + wins,
                past * known.past_weight + weight,
            )
        if window:
            recent = (*self.recent, ()) if ageing or not self.recent else self.recent
            recent = (*recent[:-1], _summed(recent[-1], outcomes))
            for left in recent[:-window]:
                self._subtract(left)
            self.recent = recent[-window:]

    def revise(
        self,
        outcomes: Sequence[WeightedOutcome],
        clock: float,
        totals: Mapping[str, float],
        added: bool,
        implicit: bool,
        time: float,
        discount: float,
        window: int,
    ) -> None:
        """Add one feedback, or take it back, at the clock at which it was first counted.

        Args:
            outcomes: One outcome per candidate that the feedback names.
            clock: The clock when it was first counted.
            totals: Each candidate's total then. It gives the age of the recent and past quality; candidates that are not named have age 0.
            added: Whether it is added; else it is taken back.
            implicit: Whether the feedback is implicit.
            time: When it was given.
            discount: As for :meth:`add`.
            window: As for :meth:`add`. Feedback that has left the window stays out.
        """
        left = bool(window) and not self._revise_window(outcomes, clock, added)
        sign = 1 if added else -1
        for candidate, wins, losses, success in outcomes:
            known = self.candidates.get(candidate, NO_EVIDENCE)
            if known is NO_EVIDENCE and not added:
                continue
            at, weight, latest = max(known.at, clock), wins + losses, max(known.total, known.total + sign)
            kept, share = discount ** (at - known.at), 0.0 if left else sign * discount ** (at - clock)
            age = max(latest - totals.get(candidate, latest), 0)
            recent, past = RECENT**age, PAST**age
            self.candidates[candidate] = CandidateEvidence(
                wins=max(kept * known.wins + share * wins, 0.0),  # not below 0 by rounding
                losses=max(kept * known.losses + share * losses, 0.0),
                total=max(known.total + sign, 0),
                successes=max(known.successes + sign * success, 0),
                at=at,
                explicit=max(known.explicit + sign * (not implicit), 0),
                implicit=max(known.implicit + sign * implicit, 0),
                updated=max(known.updated, time),
                recent_quality=max(known.recent_quality + sign * recent * wins, 0.0),
                recent_weight=max(known.recent_weight + sign * recent * weight, 0.0),
                recent_squares=max(known.recent_squares + sign * (recent * weight) ** 2, 0.0),
                past_quality=max(known.past_quality + sign * past * wins, 0.0),
                past_weight=max(known.past_weight + sign * past * weight, 0.0),
            )

    def _revise_window(self, outcomes: Sequence[WeightedOutcome], clock: float, added: bool) -> bool:
        """Add a feedback to its place in the window, or take it back; return whether the place is still there."""
        at = len(self.recent) - 1 - round(self.clock - clock)
        if at >= 0:
            self.recent = (*self.recent[:at], _summed(self.recent[at], outcomes, 1 if added else -1), *self.recent[at + 1 :])
        return at >= 0

    def _subtract(self, outcomes: Sequence[tuple[str, float, float]]) -> None:
        for candidate, wins, losses in outcomes:
            known = self.candidates[candidate]
            self.candidates[candidate] = msgspec.structs.replace(known, wins=known.wins - wins, losses=known.losses - losses)

    def table(self, candidates: Sequence[str], discount: float) -> Floats:
        """Return current wins, losses, total and successes, ``[M, 4]``."""
        known = [self.candidates.get(name, NO_EVIDENCE) for name in candidates]
        table = np.array([(each.wins, each.losses, each.total, each.successes) for each in known], dtype=np.float64).reshape(-1, 4)
        if discount < 1:
            table[:, :2] *= discount ** (self.clock - np.array([[each.at] for each in known]))
        return table


class SavedEvidence(msgspec.Struct):
    """The JSON document of a :class:`BetaEvidence`."""

    selections: Count
    columns: list[str]
    levels: dict[str, dict[str, EntityEvidence]]


class EvidenceDelta(msgspec.Struct):
    """The result of :meth:`BetaEvidence.delta`."""

    selections: Count
    levels: dict[str, dict[str, dict[str, EntityEvidence]]]


class BetaEvidence:
    """Wins and losses by level, entity and candidate, and the number of decisions.

    One thread may add feedback while others read: a candidate's numbers at an entity are replaced atomically.

    Attributes:
        selections: Number of decisions.
        changes: A counter that grows with every change of the evidence.

    Args:
        discount: The factor on an entity's older evidence with every feedback of weight 1 about it; 1 keeps all.
        window: The number of latest feedbacks per entity that count; 0 counts all.
        max_users: Users kept, most recently mentioned first.
        max_sessions: Sessions kept, likewise.
    """

    def __init__(self, *, discount: float = 1.0, window: int = 0, max_users: int = 100_000, max_sessions: int = 100_000) -> None:
        self.selections = 0
        self.changes = 0
        self._discount = discount
        self._window = window
        self._limits = {"user": max_users, "session": max_sessions}
        self._levels: dict[str, RecentEntries[EntityEvidence]] = {level: self._entries(level) for level in LEVELS}
        self._writing = threading.Lock()

    def entities(self, level: str) -> Mapping[str, EntityEvidence]:
        """Return the evidence of a level by entity, least recently mentioned first."""
        return self._levels[level]

    def add(
        self,
        keys: EvidenceKeys,
        qualities: Sequence[tuple[str, float]],
        weight: float,
        *,
        implicit: bool,
        time: float,
        ageing: bool = True,
        places: Places | None = None,
    ) -> None:
        """Count one feedback globally and at each entity of its keys; a revision where the first one was counted.

        Args:
            keys: The entities of the decision.
            qualities: The candidates that the feedback names with their qualities from 0 to 1: that share of a win, the rest is a loss.
            weight: The number of outcomes that it counts as.
            implicit: Whether the feedback is implicit.
            time: When it was given, in seconds since the epoch.
            ageing: Whether it discounts earlier evidence; false for rows without an order in time.
            places: The places of a revision; a new piece's empty dict is filled.
        """
        outcomes = self._weighted(qualities, weight)
        with self._writing:
            if places:
                self._revise(keys, outcomes, places, True, implicit, float(time))
            else:
                entities = self._add(keys, outcomes, implicit, float(time), ageing)
                if places is not None:
                    places[CLOCKS] = [0.0 if entity is None else entity.clock for entity in entities]
                    for name, _ in qualities:
                        places[name] = [0.0 if entity is None else float(entity.candidates[name].total) for entity in entities]
            self.changes += 1

    def _add(self, keys: EvidenceKeys, outcomes: Sequence[WeightedOutcome], implicit: bool, time: float, ageing: bool) -> list[EntityEvidence | None]:
        """Count one feedback at each level; return the entities."""
        known = self._levels["global"].get(GLOBAL_ENTITY)
        began = 0.0 if known is None else known.clock
        weight = max([wins + losses for _, wins, losses, _ in outcomes], default=0.0)
        advance = (1.0 if self._window else weight) if ageing else 0.0
        entities: list[EntityEvidence | None] = []
        for level, name in zip(LEVELS, (GLOBAL_ENTITY, *keys), strict=True):
            entity = None if name is None else self._levels[level].mention(name, lambda: EntityEvidence(clock=began, began=began))
            if entity is not None:
                entity.add(outcomes, implicit, time, self._discount, self._window, advance)
            entities.append(entity)
        return entities

    def add_ratings(self, level: str, name: str, ratings: Mapping[str, CandidateRating], updated: float) -> None:
        """Add an entity's ratings from a vLLM Semantic Router file, which was written at ``updated``, in seconds since the epoch.

        The file does not say which feedback was implicit, so all counts as explicit.
        """
        with self._writing:
            entity = self._levels[level].mention(name, EntityEvidence)
            entity.clock = float(max([entity.clock, *(rating.feedback for rating in ratings.values())]))
            for candidate, rating in ratings.items():
                known = entity.candidates.get(candidate, msgspec.structs.replace(NO_EVIDENCE, at=entity.clock))
                entity.candidates[candidate] = msgspec.structs.replace(
                    known,
                    wins=float(known.wins + rating.wins),
                    losses=float(known.losses + rating.losses),
                    total=known.total + rating.feedback,
                    successes=known.successes + rating.successes,
                    explicit=known.explicit + rating.feedback,
                    updated=max(known.updated, updated),
                    past_quality=float(known.past_quality + rating.wins),
                    past_weight=float(known.past_weight + rating.wins + rating.losses),
                )
            self.changes += 1

    def remove(self, keys: EvidenceKeys, qualities: Sequence[tuple[str, float]], weight: float, *, implicit: bool, places: Places) -> None:
        """Take back one feedback, globally and at each entity of its keys; arguments as for :meth:`add`.

        The age of feedback without places is unknown. Where evidence ages, it is not taken back.
        """
        if places or (self._discount == 1 and not self._window):
            with self._writing:
                self._revise(keys, self._weighted(qualities, weight), places, False, implicit, 0.0)
                self.changes += 1

    def _revise(self, keys: EvidenceKeys, outcomes: Sequence[WeightedOutcome], places: Places, added: bool, implicit: bool, time: float) -> None:
        """Add or take back feedback at each level, except where the entity was dropped since."""
        for n, (level, name) in enumerate(zip(LEVELS, (GLOBAL_ENTITY, *keys), strict=True)):
            entity = None if name is None else self._levels[level].get(name)
            if name is None or entity is None or (places and not entity.began < places[CLOCKS][n] <= entity.clock):
                continue
            clock = places[CLOCKS][n] if places else entity.clock
            totals = {candidate: place[n] for candidate, place in places.items()}
            entity.revise(outcomes, clock, totals, added, implicit, time, self._discount, self._window)
            self._levels[level].altered(name)

    def _weighted(self, qualities: Sequence[tuple[str, float]], weight: float) -> list[WeightedOutcome]:
        """Return the outcomes of a feedback; with a window, their sums are exact, so that an outcome that leaves it leaves no remainder."""
        rounded = _rounded if self._window else float
        return [(name, rounded(weight * quality), rounded(weight * (1 - quality)), quality > TIE) for name, quality in qualities]

    def _entries(self, level: str, entries: Iterable[tuple[str, EntityEvidence]] = ()) -> RecentEntries[EntityEvidence]:
        return RecentEntries(self._limits.get(level, sys.maxsize), entries)

    def has(self, level: str, name: str) -> bool:
        """Return whether an entity has evidence."""
        return bool(self._counted(level, name))

    def table(self, level: str, name: str, candidates: Sequence[str]) -> Floats:
        """Return wins, losses, total and successes at an entity, ``[M, 4]``; zeros without evidence."""
        tables = [entity.table(candidates, self._discount) for entity in self._counted(level, name)]
        return sum(tables[1:], tables[0]) if tables else np.zeros((len(candidates), 4))

    def _counted(self, level: str, name: str) -> list[EntityEvidence]:
        """Return the evidence that counts at an entity: its own, and for a user's session that of the session named by its id alone."""
        names = (name, own_id(name)) if level == "session" and SEPARATOR in name else (name,)
        return [entity for each in names if (entity := self._levels[level].get(each)) is not None]

    def encoded(self) -> bytes:
        """Return the evidence as JSON, at full precision."""
        with self._writing:  # entity by entity: encoding all of 100,000 users at once would stop the other threads
            levels = {
                level: {name: msgspec.Raw(msgspec.json.encode(entity)) for name, entity in entities.items()}
                for level, entities in self._levels.items()
            }
            return msgspec.json.encode({"selections": self.selections, "columns": COLUMNS, "levels": levels})

    def to_json(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        found: dict[str, Any] = json.loads(self.encoded())
        return found

    def restore(self, state: bytes | Mapping[str, Any]) -> None:
        """Replace the evidence by a result of :meth:`encoded` or :meth:`to_json`.

        Raises:
            CheckpointError: The state is invalid.
        """
        try:
            saved = msgspec.json.decode(state, type=SavedEvidence) if isinstance(state, bytes) else msgspec.convert(state, SavedEvidence)
            levels = {level: self._entries(level, saved.levels[level].items()) for level in LEVELS}
        except (msgspec.MsgspecError, KeyError, RecursionError, UnicodeDecodeError) as error:
            raise CheckpointError(f"this is not the evidence of a bandit ({error!r}); give a file that thompson or epsilon-greedy saved") from error
        if saved.columns not in (COLUMNS, COLUMNS[:-2], COLUMNS[:-5]):  # older states have no past quality, those of 0.1 no recent one either
            raise CheckpointError(f"the evidence has columns {saved.columns!r}, not {COLUMNS!r}; another version made it: train again")
        if saved.columns != COLUMNS:
            for entity in (entity for entities in levels.values() for entity in entities.values()):
                for name, known in entity.candidates.items():
                    past = {"past_quality": known.wins, "past_weight": known.wins + known.losses}
                    entity.candidates[name] = msgspec.structs.replace(known, **past)
        with self._writing:
            self.selections, self._levels = saved.selections, levels
            self.changes += 1

    def mark_unchanged(self) -> None:
        """Take the present evidence as that which :meth:`delta` starts from."""
        for entities in self._levels.values():
            entities.mark_unchanged()

    def delta(self) -> EvidenceDelta:
        """Return the changes since the last call or :meth:`mark_unchanged`."""
        return EvidenceDelta(self.selections, {level: entities.delta() for level, entities in self._levels.items()})

    def apply_delta(self, delta: EvidenceDelta) -> None:
        """Take over a result of :meth:`delta`; raises KeyError where a level is missing."""
        with self._writing:
            for level, entities in self._levels.items():
                entities.apply_delta(delta.levels[level])
            self.selections = delta.selections
            self.changes += 1

    def drop_users(self, forgotten: Callable[[Collection[str]], Collection[str]]) -> None:
        """Drop forgotten users with their sessions, and then all sessions that do not name their user.

        ``forgotten`` returns those of some names that were forgotten.
        """
        users, sessions = self._levels["user"], self._levels["session"]
        dropped = set(forgotten({*users, *map(session_user, sessions)} - {""}))
        if dropped:
            with self._writing:
                kept_sessions = sessions.without(lambda name: SEPARATOR not in name or session_user(name) in dropped)
                self._levels = {**self._levels, "user": users.without(dropped.__contains__), "session": kept_sessions}
                self.changes += 1


def _summed(place: WindowPlace, outcomes: Sequence[WeightedOutcome], sign: int = 1) -> WindowPlace:
    """Return a place in the window with a feedback that is added, or with sign -1 taken back."""
    sums = {name: (wins, losses) for name, wins, losses in place}
    for name, wins, losses, _ in outcomes:
        known_wins, known_losses = sums.get(name, (0.0, 0.0))
        sums[name] = known_wins + sign * wins, known_losses + sign * losses
    return tuple((name, wins, losses) for name, (wins, losses) in sums.items() if wins or losses)


def _rounded(value: float) -> float:
    """Return a number rounded to a multiple of 2^-32; a million of these add up exactly."""
    return round(value * _RESOLUTION) / _RESOLUTION
