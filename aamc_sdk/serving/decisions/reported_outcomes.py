"""Writing attempts and feedback to the log."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from aamc_sdk.interfaces import Store
from aamc_sdk.serving.decisions.close_guard import CloseGuard
from aamc_sdk.serving.decisions.commit_queue import CommitQueue
from aamc_sdk.serving.decisions.plugin_events import PluginEvents
from aamc_sdk.serving.learner.learner import Learner
from aamc_sdk.types import Attempt, Feedback


class ReportedOutcomes:
    """Writes attempts and feedback, and tells the learner or the plugins.

    Args:
        store: The log.
        guard: Admits work until it is closed.
        events: Announces feedback where nothing learns from it.

    Attributes:
        commits: Writes entries that need not be durable at once.
        learner: Learns from the log; None for a router that does not learn.
    """

    def __init__(self, store: Store, guard: CloseGuard, events: PluginEvents) -> None:
        self._store, self._guard, self._events = store, guard, events
        self.commits = CommitQueue(store, events.decided, self._calls_written)
        self.learner: Learner | None = None

    def add_attempt(self, attempt: Attempt) -> int:
        """Write an attempt and return its number among the decision's attempts."""
        with self._guard:
            (number,) = self._store.add_attempts([attempt])
            self._wake_learner()
        return number

    def add_finished_call(self, attempt: Attempt) -> None:
        """Write the attempt of a call under way, which closing waits for by itself."""
        self._store.add_attempts([attempt])
        self._wake_learner()

    def add_feedback(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Write feedback, each with the call that it reports, and return whether each is new."""
        with self._guard:
            self.commits.flush()  # feedback is on the candidate that served, which the calls tell
            new = self._store.add_feedback(judgements)
            self._wake_learner()
            if self.learner is None:
                for feedback, _ in itertools.compress(judgements, new):
                    self._events.learned(feedback)
        return new

    def forget(self, user: str, tenant: str | None) -> int:
        """Erase a user from the log and from the router's state; return the number of decisions."""
        with self._guard:
            decisions = self._store.forget(user, tenant)
            self._wake_learner()
        return decisions

    def _wake_learner(self) -> None:
        if self.learner is not None:
            self.learner.wake()

    def _calls_written(self) -> None:
        if self.learner is not None and self.learner.learns_calls:
            self.learner.wake()
