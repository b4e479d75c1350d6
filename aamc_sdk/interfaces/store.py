"""The interface of stores: where the decision log is kept."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from aamc_sdk.errors import StoreError
from aamc_sdk.interfaces.components import NamedComponent, NoOptions
from aamc_sdk.types import Aggregate, Attempt, Decision, Experience, Feedback, LoggedOutcomes, Partition, Record, Snapshot, StateDelta


class Store(NamedComponent):
    """The log of decisions, attempts and feedback. All methods may be called from any thread.

    A store is made as ``Class(url, config)``: ``config`` has the options after the URL's ``?``, which ``url`` no longer has. A method that writes
    returns when the entry is durable. An unknown number is NULL or null in storage, and NaN in memory.

    Attributes:
        Config: The class of the options in the URL.
        shares_learning: Whether one process learns for all that have the log open, and the others apply its deltas.
        persistent: Whether the log outlives its process; the conformance kit then opens it a second time.
    """

    Config: ClassVar[type[Any]] = NoOptions
    shares_learning: ClassVar[bool] = False
    persistent: ClassVar[bool] = True

    def __init__(self, url: str, config: Any) -> None:
        self.url = url
        self.config = config

    @property
    def name(self) -> str:
        """The URL without user and password, for messages."""
        return public_url(self.url)

    @property
    def is_away(self) -> bool:
        """Whether the store knows that its server cannot be read now; it asks no server."""
        return False

    @abc.abstractmethod
    def add_decisions(self, records: Sequence[Record]) -> Sequence[Decision]:
        """Append decisions with their records, all or none; return the logged decisions, a new one as the same object.

        A known decision id with the same request (see :func:`aamc_sdk.types.request_fingerprint`) adds nothing: the decision in the log is returned.

        Raises:
            StoreError: An id is known with another request, or its request's fingerprint was erased with its user.
        """

    @abc.abstractmethod
    def add_attempts(self, attempts: Sequence[Attempt]) -> Sequence[int]:
        """Append attempts, all or none, before or after their decisions; return their numbers.

        An attempt's key is its decision's id and its number. The same content again adds nothing; an attempt without a number takes the next one.

        Raises:
            StoreError: A number is known with other content, or the decision had no such candidate.
        """

    @abc.abstractmethod
    def add_feedback(self, feedback: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, each with the attempt that came with it, both or none; return which of it is new.

        The attempt gets the decision's next number, whatever its own is: each source may bring figures of its own. A later revision of an id
        replaces the earlier one, and both stay in the log. Feedback before its decision is pending.

        Raises:
            StoreError: An id is known with other content in the same or a later revision, or the decision had no such candidate. The feedback
                before the refused piece is kept, the rest is not; the whole may be given again.
        """

    @abc.abstractmethod
    def record(self, decision_id: str) -> Record:
        """Return a decision's record.

        Raises:
            UnknownDecisionError: The log has no decision of that id.
            StoreAwayError: The log cannot be read now, so it is unknown whether it has.
        """

    @abc.abstractmethod
    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return at most ``limit`` entries after a position, in log order.

        Feedback and attempts without a candidate come with the candidate that served.
        """

    def experiences(self, after: int = 0, limit: int = 1000) -> Iterator[Experience]:
        """Yield all entries after a position, at most ``limit`` at a time."""
        while (batch := self.experience(after, limit)).position > after:
            after = batch.position
            yield batch

    def position(self) -> int:
        """Return the log's last position. Called several times a second if learning is shared; override it with a cheap query."""
        return int(self.health().get("position", 0))

    @abc.abstractmethod
    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision is not in the log."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release files and connections; closing twice does nothing."""

    @abc.abstractmethod
    def outcomes(self, since: float | None = None, until: float | None = None) -> LoggedOutcomes:
        """Return propensities and outcomes of decisions as arrays; NaN if unknown.

        Args:
            since: Time of the first decisions to return, in seconds since the epoch; None for all.
            until: Time before which decisions are returned; None for all.

        Raises:
            DataError: A time is not a number.
        """

    def episode(self, episode_id: str) -> Sequence[Record]:
        """Return the records of an episode's decisions in log order; by default by reading the whole log."""
        found = {decision.id: decision for batch in self.experiences() for decision in batch.decisions if decision.episode == episode_id}
        return [self.record(decision_id) for decision_id in found]

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the snapshot of a name, or None; without snapshots a restart learns the whole log again."""
        return None

    def put_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless the log has one that is as new, or it is of a past epoch.

        At most 8 names are kept; beyond that, the least recently written are deleted.
        """

    def deltas(self, name: str, after: int, epoch: int) -> Sequence[StateDelta] | None:
        """Return the deltas that continue from the state of a name at a position and epoch, in order; empty if it is the newest.

        None if no delta continues from it: load the snapshot instead, if there is one.
        """
        return None

    def put_delta(self, name: str, delta: StateDelta) -> bool:
        """Keep a delta; it is part of :meth:`deltas` until a snapshot at its position or a later one is kept.

        Return whether it was kept: not if the newest state of that name has a position other than ``delta.after``, or the epoch is past.
        """
        return False

    def is_learner(self, name: str) -> bool:
        """Return whether this process learns for the snapshots of a name.

        Every process does if :attr:`shares_learning` is false. Otherwise the store elects one, which must ask every few seconds to stay elected.
        """
        return True

    def partitions(self) -> Sequence[Partition]:
        """Return the log's partitions, the oldest first; none where the store does not divide its log."""
        return ()

    def retain(self) -> int:
        """Drop decisions beyond the limits of the store's retention; return their number.

        Drops a decision with its attempts and feedback once every active router has learned them. In the same transaction, outcomes are added to
        the aggregates, and the snapshot of each active router is kept as the state from which the log is learned again after a user is forgotten.
        """
        return 0

    def aggregates(self) -> Sequence[Aggregate]:
        """Return sums over the decisions that retention has dropped, by day, tenant and chosen candidate."""
        return ()

    def forget(self, user: str | None, tenant: str | None = None) -> int:
        """Erase user, session, text, embedding and fingerprint of decisions; return their number.

        Snapshots are dropped, since they were learned from these decisions, and a new epoch begins. If partitions were dropped, one snapshot per
        router is kept. The router loads it, removes the forgotten users, and saves it again.

        Args:
            user: The user; None for all users of the tenant, whose name is then erased too.
            tenant: The tenant; None for the user in all tenants.

        Raises:
            StoreError: This store cannot.
        """
        raise StoreError(f"the store {self.name} cannot forget a user")

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        """Return the users among these that were forgotten, so that records kept elsewhere can be erased too; empty where the store cannot forget.

        Users may be named by :func:`aamc_sdk.types.tenant_user`, and a whole tenant by its user ``""``.
        """
        return ()

    def health(self) -> Mapping[str, float]:
        """Return plain numbers on the log's state.

        ``pending_feedback`` counts feedback whose decision is not in the log. Stores may add ``entries``, ``position``,
        ``pending_attempts``, ``snapshots``, and entries that wait for a server.
        """
        return {"pending_feedback": len(self.pending())}

    def process_health(self) -> Mapping[str, float]:
        """Return those numbers of :meth:`health` that differ between processes with the same log, without reading it; none by default."""
        return {}

    @classmethod
    def exists(cls, url: str) -> bool:
        """Return whether the log of a URL is there. Commands that only read refuse a missing one: a wrong path is not an empty log.

        By default True, as for a server. A store in a file overrides this.
        """
        return True

    @classmethod
    def test_url(cls, name: str, folder: Path) -> AbstractContextManager[str]:
        """Return the URL of a new, empty store for the conformance kit, as a context that removes the store's data afterwards.

        By default a file in the kit's folder, or no path if the store is not persistent. A store on a server overrides this; without the
        setting that names the server it skips the check by :func:`aamc_sdk.testing.skip`.

        Args:
            name: The store's component name, the URL's scheme.
            folder: An empty folder, which the kit deletes.
        """
        return nullcontext(f"{name}:{folder / 'log.db' if cls.persistent else ''}")


def public_url(url: str) -> str:
    """Return a store's URL without user and password, for messages."""
    scheme, colon, rest = url.partition(":")
    place, _, query = rest.partition("?")
    slashes = "//" if rest.startswith("//") else ""
    if slashes or ":" in rest.rpartition("@")[0]:  # without slashes it is the mistyped URL of a server
        place = slashes + place.removeprefix(slashes).rpartition("@")[2]
        if "@" in unquote_plus(query):  # it may end a password in which a ? is not written as %3F
            port = place.removeprefix(slashes).partition("/")[0].partition(":")[2]
            return f"{scheme}:{place if not port or port.isdigit() else slashes}"
    place = scheme + colon + place
    shown = "&".join(each for each in query.split("&") if not _may_be_secret(each))
    return f"{place}{'?' if shown else ''}{shown}"


def _may_be_secret(parameter: str) -> bool:
    """Return whether a parameter of a URL gives a user or a password."""
    key = unquote_plus(parameter.partition("=")[0]).lower()
    return "password" in key or key in ("user", "username")
