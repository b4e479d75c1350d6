"""Where the decision log is kept."""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aamc_sdk.errors import StoreError
from aamc_sdk.interfaces.parts import NoOptions

if TYPE_CHECKING:
    from aamc_sdk.types import Attempt, Experience, Feedback, Record, Snapshot


class Store(abc.ABC):
    """The log of decisions, attempts and feedback. All methods may be called from any thread.

    Made as ``Class(url, config)``. A method that writes returns when the record is durable.

    Attributes:
        on_server: Whether its URL names a server, where the option ``prefix`` tells several logs apart.
    """

    Config: ClassVar[type[Any]] = NoOptions
    on_server: ClassVar[bool] = False

    def __init__(self, url: str, config: Any) -> None:
        self.url = url
        self.config = config

    @abc.abstractmethod
    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""

    @abc.abstractmethod
    def attempted(self, attempt: Attempt) -> None:
        """Append a call; the same attempt twice counts once."""

    @abc.abstractmethod
    def judged(self, feedback: Feedback, attempt: Attempt | None = None) -> bool:
        """Append feedback, and the call that came with it, both or none; False where the same feedback was there before.

        The call gets the decision's next free number, whatever ``attempt.n`` is: each source may bring figures of its own.
        Feedback before its decision is kept, and waits.

        Raises:
            StoreError: The id is known with other content, or the decision had no such candidate.
        """

    def judged_all(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, each as :meth:`judged` does; return which of it is new.

        Raises:
            StoreError: One was refused. What stood before it is kept, what stood after it is not; the whole may be given again.
        """
        return [self.judged(feedback, attempt) for feedback, attempt in judgements]

    @abc.abstractmethod
    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from.

        Raises:
            UnknownDecisionError: There is none of that id.
            StoreAwayError: The log cannot be read now, so nobody knows.
        """

    @abc.abstractmethod
    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position, at most ``limit`` entries, in its order.

        Feedback and attempts that do not say whom they are about come with the candidate that served.
        """

    @abc.abstractmethod
    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""

    def view(self, name: str) -> Snapshot | None:
        """Return what was kept under a name, or None; without views a restart learns the whole log again."""
        return None

    def keep_view(self, name: str, view: Snapshot) -> None:
        """Keep what a router has learned, unless what is there is as new or it belongs to a past epoch.

        At most 8 names are kept; of more, those that were written longest ago go.
        """

    def forget(self, user: str) -> int:
        """Erase who asked, in which session, and what (text and embedding) from a user's decisions; return how many they are.

        What was learned from them goes as well: views are dropped, and a new epoch begins.

        Raises:
            StoreError: This store cannot.
        """
        raise StoreError(f"the store {self.url} cannot forget a user")

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        """Return which of some users were forgotten, so that what came from elsewhere can forget them too; none where the store does not know."""
        return ()

    def drop(self) -> None:
        """Delete the log with all that it holds.

        Raises:
            StoreError: This store leaves that to who made its file.
        """
        raise StoreError(f"the store {self.url} does not delete itself")

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of files and connections; closing twice does nothing."""
