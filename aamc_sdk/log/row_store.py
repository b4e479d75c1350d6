"""The base class of stores that keep the log's entries as rows."""

from __future__ import annotations

import abc
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs

from aamc_sdk.errors import AamcError, PluginError, StoreAwayError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log.erasure import Erasure, is_forgotten
from aamc_sdk.log.experience import Batch
from aamc_sdk.log.options import FallibleOptions, LogOptions
from aamc_sdk.log.outcomes import ContentReader, OutcomeJoin, outcome_fields
from aamc_sdk.log.retention.expiry import DAY_S
from aamc_sdk.log.rows.decision_row import decision_row, record_from, redacted
from aamc_sdk.log.rows.row import ATTEMPT, DECISION, FEEDBACK, Addition, Row, attempt_row, columns_of, feedback_addition, feedback_from, feedback_row
from aamc_sdk.log.writes.excerpt import Excerpt, Write
from aamc_sdk.log.writes.rules import append, append_attempts, append_decisions, drop_pending
from aamc_sdk.messages import check_type, component_errors
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, LoggedOutcomes, Record, check_name, new_ids

T = TypeVar("T")
logger = logging.getLogger(__name__)
MAX_SNAPSHOTS = 8
"""Maximum number of snapshots in a log; beyond it, the least recently written are deleted."""
EXPIRY_S = 3600.0
"""Time in seconds between two searches for pending entries that are too old."""
EXPIRIES = 10
"""Pending entries that are too old are also looked for after ``max_pending`` / ``EXPIRIES`` pieces of feedback were added."""
READ_AT_ONCE = 2_000
"""Entries of one batch when a whole log is read. Decisions may hold long prompts, and larger batches are no faster."""
BATCH_ENTRIES = 1000
"""Entries in one write. A long import or erasure takes several, between which other writes come."""


@attrs.frozen
class ExportedFile:
    """A file that entries of a log were exported to.

    Attributes:
        path: The file.
        format: Its format: the name of a store that reads it.
    """

    path: str
    format: str


class RowStore(Store):
    """A store of rows. Writes follow the log's rules; a subclass makes them durable, and reads in its own way.

    ``Config`` has the options that this class follows; options of a subclass derive from it: ``class MyOptions(RowStore.Config)``. A subclass that
    offers ``retention`` or ``durability``, see :class:`StoreOptions`, implements them itself.
    """

    Config: ClassVar[type[Any]] = FallibleOptions
    formats: Callable[[str], type[Any]] | None = None
    """Returns the class of an export's format by its name; set by :func:`aamc_sdk.log.open_store`."""
    unerased_exports: Mapping[str, str] = {}
    """The paths of the exports that the last ``forget`` could not erase, with the reasons."""
    _next_expiry = 0.0
    _added = 0
    _export_warned = False

    def __init__(self, url: str, config: Any) -> None:
        super().__init__(
            url, check_type(config, LogOptions, "its Config must derive from aamc_sdk.log.RowStore.Config, whose options RowStore follows")
        )
        self._unlogged = 0

    def add_decisions(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Append decisions, all or none; return the logged decisions.

        With ``on_store_failure=serve``, decisions that cannot be logged now are returned with an unknown propensity, and counted.
        """
        given = list(records)
        rows = [decision_row(record, self.config.store_text) for record in given]
        try:
            found = self._append_decisions(rows)
        except StoreAwayError as error:
            if self.config.on_store_failure != "serve":
                raise
            self._note_unlogged(len(given), error)
            return [attrs.evolve(record.decision, propensity=math.nan) for record in given]
        return [record.decision if row is None else record_from(row).decision for record, row in zip(given, found, strict=True)]

    def _note_unlogged(self, count: int, error: StoreError) -> None:
        if not self._unlogged:
            logger.error("decisions are served without being logged (on_store_failure=serve), and are not learned from: %s", error)
        self._unlogged += count

    def add_attempts(self, attempts: Sequence[Attempt]) -> Sequence[int]:
        """Append attempts, all or none; return their numbers."""
        random_ids = new_ids(len(attempts))  # all at once: each system call lets other threads take the interpreter
        rows = [attempt_row(attempt, random_id=name if attempt.n is None else None) for attempt, name in zip(attempts, random_ids, strict=True)]
        return self._append_attempts(rows)

    def add_feedback(self, feedback: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, up to the first that is refused; return which of it is new."""
        new, refusal = self.add([feedback_addition(*each) for each in feedback])
        if refusal is not None:
            raise refusal
        self._expire_at_times(len(feedback))
        return new

    def expire_pending(self) -> int:
        """Delete pending entries that are too old, and the oldest beyond the maximum; return their number.

        Called periodically by :meth:`add_feedback`. A warning gives their number. After the clock was set, none is deleted for its age.
        """
        days, at_most = self.config.pending_days, self.config.max_pending
        rows, oldest = self.pending_rows(), 0.0 if self._clock_was_set() else self._now() - days * DAY_S
        late = [row for n, row in enumerate(rows) if 0 < row.time < oldest or n < len(rows) - at_most]  # a time of 0 is unknown
        dropped = sum(self._drop(late[start : start + BATCH_ENTRIES]) for start in range(0, len(late), BATCH_ENTRIES))
        if dropped:
            why = f"their decision did not come within {days:g} days (pending_days), or more than {at_most:,} entries were pending (max_pending)"
            logger.warning("%d pending entries of the log were deleted, such as one on decision %r: %s", dropped, late[0].decision_id, why)
        return dropped

    def _expire_at_times(self, added: int) -> None:
        """Expire pending entries every hour, and after much feedback; not at the first call, since an old log may just be imported."""
        self._added += added
        self._next_expiry = self._next_expiry or time.monotonic() + EXPIRY_S
        if time.monotonic() >= self._next_expiry or self._added >= self.config.max_pending / EXPIRIES:
            self._added, self._next_expiry = 0, time.monotonic() + EXPIRY_S
            with suppress(StoreAwayError):  # the feedback is kept, and the next call tries again
                self.expire_pending()

    def _now(self) -> float:
        """Return the time by which entries are deleted and partitions begin, in seconds since the epoch: that of the server if there is one."""
        return time.time()

    def _clock_was_set(self) -> bool:
        """Return whether the time of day was set by more than an hour since the store was opened; False if that is unknown."""
        return False

    def _drop(self, rows: Sequence[Row]) -> int:
        write = Write(
            lambda excerpt: drop_pending(excerpt, rows), [row.decision_id for row in rows], [row.id for row in rows if row.kind == FEEDBACK]
        )
        return self._write(write)

    def add(self, additions: Sequence[Addition]) -> tuple[list[bool], StoreError | None]:
        """Append entries in order, each addition whole, up to the first that is refused; without their prompts if the store keeps none.

        Returns:
            Whether the last row of each accepted addition is new, and the error of the refused one; None if none was refused.
        """
        new: list[bool] = []
        for start in range(0, len(additions), BATCH_ENTRIES):
            found, refusal = self._write(self._adding(additions[start : start + BATCH_ENTRIES]))
            new += found
            if refusal is not None:
                return new, refusal
        return new, None

    def forget(self, user: str | None, tenant: str | None = None) -> int:
        """Erase a user's decisions, within a tenant or in all of them, or all of a tenant's; return their number.

        Others' writes come between two batches. Then the exports that the store knows are written again without these decisions.

        Raises:
            DataError: A name cannot be one.
            StoreError: Neither is given, or the log cannot be written.
        """
        if user is None and tenant is None:
            raise StoreError("name a user or a tenant to forget")
        for kind, name in (("user", user), ("tenant", tenant)):
            if name is not None:
                check_name(name, f"the {kind} to forget")
        erasure, decisions, position, count = Erasure(user, tenant), 0, 0, BATCH_ENTRIES
        while count == BATCH_ENTRIES:
            count, position = self._erase(erasure, position, BATCH_ENTRIES)
            decisions += count
        self._erase_exports(erasure)
        return decisions

    def exports(self) -> Sequence[ExportedFile]:
        """Return the files that entries of this log were exported to, as far as the store knows them."""
        return ()

    def note_export(self, export: ExportedFile) -> None:
        """Remember a file that entries are exported to, so that ``forget`` writes it again."""
        if not self._export_warned:
            logger.warning("the store %s does not remember its exports: export %s again after a user is forgotten", self.name, export.path)
        self._export_warned = True

    def discard_export(self, export: ExportedFile) -> None:
        """Stop remembering an exported file."""

    def _erase_exports(self, erasure: Erasure) -> None:
        """Write the known exports again without some decisions; a warning names those that cannot be."""
        found = {export.path: self._erase_export(export, erasure) for export in self.exports()}
        self.unerased_exports = {path: why for path, why in found.items() if why}
        for path, why in self.unerased_exports.items():
            logger.warning("the export %s could not be erased (%s): forget the user again when that has changed, or delete the file", path, why)

    def _erase_export(self, export: ExportedFile, erasure: Erasure) -> str:
        """Write an export again without some decisions, or stop remembering a deleted one; return the reason if neither is possible, else ``""``."""
        path = Path(export.path)
        try:
            if self.formats is None:
                raise StoreError(f"no plugin for the format {export.format!r} is loaded")
            self.formats(export.format).erase(path, erasure)
        except (AamcError, OSError) as error:
            if not path.parent.is_dir():
                return "its folder is missing; mount it, or make an empty one if the files were deleted"
            if not _is_missing(path):
                return str(error)
            self.discard_export(export)
            if not _is_missing(path):  # it is being exported again
                self.note_export(export)
        return ""

    def position(self) -> int:
        """Return the log's last position."""
        position, _ = self._counts()
        return position

    def outcomes(self, since: float | None = None, until: float | None = None, reader: ContentReader | None = None) -> LoggedOutcomes:
        """Return outcomes as :meth:`aamc_sdk.interfaces.Store.outcomes` does; ``reader`` reads the contents of these decisions."""
        found = OutcomeJoin(since, until, reader)
        self._add_outcomes(found)
        return found.outcomes()

    def _add_outcomes(self, found: OutcomeJoin) -> None:
        """Add the log's entries for outcomes; those of decisions outside the two times, and contents that are not needed, may be left out."""
        found.add_entries(outcome_fields(row) for _, row in self.placed())

    def record(self, decision_id: str) -> Record:
        """Return a decision's record."""
        row = self._find(decision_id)
        if row is None:
            raise UnknownDecisionError(f"no decision of the log {self.name} has the id {decision_id!r}; check the id, or name the log that has it")
        return record_from(row)

    def episode(self, episode_id: str) -> Sequence[Record]:
        """Return the records of an episode's decisions in log order."""
        return [record_from(row) for row in self._find_episode(episode_id)]

    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return at most ``limit`` entries after a position."""
        return _batch_of(self, after, limit).experience()

    def placed(self, after: int = 0) -> Iterator[tuple[int, Row]]:
        """Yield the entries after a position with their positions, in log order."""
        for batch in read_batches(self, after, READ_AT_ONCE):
            yield from batch.placed

    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision is not in the log."""
        return [feedback_from(row) for row in self.pending_rows() if row.kind == FEEDBACK]

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        """Return the users among these that were forgotten."""
        known = self._forgotten_digests()
        return {user for user in users if is_forgotten(user, known)} if known else ()

    def health(self) -> Mapping[str, float]:
        """Return numbers of entries by state."""
        position, snapshots = self._counts()
        feedback, attempts = self._pending_counts()
        own = dict(self._own_health())
        return {
            "entries": own.pop("placed", position) + feedback + attempts,
            "position": position,
            "pending_feedback": feedback,
            "pending_attempts": attempts,
            "snapshots": snapshots,
            **own,
            **self.process_health(),
        }

    def process_health(self) -> Mapping[str, float]:
        """Return the number of entries that this process could not log."""
        return {"unlogged": self._unlogged}

    def _pending_counts(self) -> tuple[int, int]:
        """Return the number of pending pieces of feedback, and of pending attempts."""
        kinds = [row.kind for row in self.pending_rows()]
        return kinds.count(FEEDBACK), kinds.count(ATTEMPT)

    @abc.abstractmethod
    def _find(self, decision_id: str) -> Row | None:
        """Return a decision's row."""

    def _find_episode(self, episode_id: str) -> Sequence[Row]:
        """Return an episode's decisions in log order; by default by reading the whole log."""
        return [row for _, row in self.placed() if row.kind == DECISION and columns_of(row)["episode"] == episode_id]

    @abc.abstractmethod
    def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Return at most ``limit`` entries after a position as rows, with the decisions that they refer to."""

    def attempts(self, decisions: Collection[str]) -> Mapping[str, Sequence[Row]]:
        """Return the attempts of some decisions in log order, by decision; pending ones are left out."""
        names = list(decisions)
        histories = self._write(Write(lambda excerpt: [list(excerpt.history(name)) for name in names], names))
        return {name: [row for row in history if row.kind == ATTEMPT] for name, history in zip(names, histories, strict=True)}

    @abc.abstractmethod
    def pending_rows(self) -> Sequence[Row]:
        """Return the entries whose decision is not in the log."""

    def _erase(self, erasure: Erasure, after: int, limit: int) -> tuple[int, int]:
        """Erase at most ``limit`` decisions after a position in one transaction; return how many, and the last one's position.

        The last batch also drops the snapshots, keeps the erasure's digest and begins a new epoch, in one transaction: no router learns the log
        again while it contains the user. The next erasure completes an interrupted one.

        Raises:
            StoreError: This store cannot.
        """
        raise StoreError(f"the store {self.name} cannot forget a user")

    @abc.abstractmethod
    def _counts(self) -> tuple[int, int]:
        """Return the log's last position and its number of snapshots."""

    def _own_health(self) -> Mapping[str, float]:
        """Return further figures of the log: ``start``, ``partitions``, ``size_bytes``, ``floors_to_clean``; ``placed``: entries with a position."""
        return {}

    @abc.abstractmethod
    def _forgotten_digests(self) -> Mapping[str, float]:
        """Return the time at which each forgotten user was forgotten, in seconds since the epoch, by the user's digest."""

    def _append_decisions(self, rows: Sequence[Row]) -> Sequence[Row | None]:
        """Append decisions, all or none; return for each the logged one of its id, None if it is new."""
        return self._write(Write(lambda excerpt: append_decisions(excerpt, rows), [row.id for row in rows], appended=rows))

    def _append_attempts(self, rows: Sequence[Row]) -> Sequence[int]:
        """Append attempts, all or none; return their numbers."""
        return self._write(Write(lambda excerpt: append_attempts(excerpt, rows), [row.decision_id for row in rows]))

    def _adding(self, additions: Sequence[Addition]) -> Write[tuple[list[bool], StoreError | None]]:
        """Return the write of :meth:`add`."""
        redacts = not self.config.store_text
        kept = [(redacted(rows[0]),) if redacts and rows[0].kind == DECISION else rows for rows in additions]
        last = [rows[-1] for rows in kept]

        def run(excerpt: Excerpt) -> tuple[list[bool], StoreError | None]:
            new: list[bool] = []
            try:
                for rows in kept:
                    new += append(excerpt, rows)[-1:]
            except StoreError as refusal:  # the entries before it stay, so this is not an error of the write
                return new, refusal
            return new, None

        is_feedback = all(len(rows) == 1 and rows[0].kind == FEEDBACK for rows in kept)
        return Write(run, [row.decision_id for row in last], [row.id for row in last], last if is_feedback else ())

    @abc.abstractmethod
    def _write(self, write: Write[T]) -> T:
        """Run a write on the excerpt that it needs, alone, and return its result once that is durable.

        Raises:
            StoreError: The write was refused or failed, or the store is closed.
        """


def _is_missing(path: Path) -> bool:
    """Return whether there is no file; one that cannot be looked at may be there."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def read_batches(store: Store, after: int = 0, at_once: int = READ_AT_ONCE) -> Iterator[Batch]:
    """Yield the entries after a position in batches, with the decisions that they refer to; at least one batch, which may be empty."""
    while True:
        batch = _batch_of(store, after, at_once)
        yield batch
        if batch.position <= after:
            return
        after = batch.position


def read_experience(store: Store, after: int, limit: int) -> Experience:
    """Return a store's experience; an error of the store names it.

    Raises:
        StoreError: The store failed.
        PluginError: It returned something else.
    """
    with component_errors(f"{store.message_name} failed", raises=StoreError):
        contract = f"experience of {store.message_name} must return aamc_sdk.types.Experience"
        return check_type(store.experience(after, limit), Experience, contract, PluginError)


def _batch_of(store: Store, after: int, at_once: int) -> Batch:
    if isinstance(store, RowStore):
        with component_errors(f"{store.message_name} failed", raises=StoreError):
            return check_type(store.batch(after, at_once), Batch, f"batch of {store.message_name} must return aamc_sdk.log.Batch", PluginError)
    found = read_experience(store, after, at_once)
    decisions = [decision_row(record, store_text=True) for record in found.records or map(store.record, (each.id for each in found.decisions))]
    own = decisions[len(decisions) - found.made :]
    entries = [attempt_row(entry) if isinstance(entry, Attempt) else feedback_row(entry) for entry in found.entries]
    replaced = [feedback_row(feedback) for feedback in found.replaced]
    return Batch(found.position, [*own, *entries], decisions, found.epoch, found.follows, replaced, last=found.last, start=found.start)
