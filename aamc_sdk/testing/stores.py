"""Checks of stores."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aamc_sdk.config import configure
from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.testing.findings import require
from aamc_sdk.testing.parts import OPTION_CHECKS
from aamc_sdk.testing.subject import Subject, equal
from aamc_sdk.testing.world import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Preference, Records

SERVER = "AAMC_KIT_{}_URL"
"""The environment variable that names a server for the kit to write to, such as ``AAMC_KIT_REDIS_URL``."""


@contextmanager
def _store(subject: Subject) -> Iterator[Store]:
    """Open an empty store; what it keeps, in a folder or on a server, goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        url, options = f"{subject.name}:{Path(folder) / 'log.db'}", dict(subject.options)
        if subject.target.on_server:
            url = _server(subject.name)
            options |= {"prefix": f"kit_{uuid.uuid4().hex}", "spool": f"{folder}/spool.db"}
        config = configure(subject.target.Config, options, where=subject.name)
        store = subject.target(url, config)
        try:
            yield store
        finally:
            store.close()
            if subject.target.on_server:
                _drop(subject.target(url, config))


def _drop(store: Store) -> None:
    store.drop()
    store.close()


def _server(name: str) -> str:
    """Return the URL of the server that a store is checked on."""
    variable = SERVER.format(name.upper())
    require(variable in os.environ, f"not checked: set {variable} to the URL of a server that the kit may write to")
    return os.environ[variable]


def _records(size: int, first: int = 0) -> Records:
    request = make_request(make_dataset(size, first))
    decisions = [Decision(f"decision-{first + row}", POOL.names[3], 0.5, Preference(), {POOL.names[3]: 0.5}, "kit") for row in range(size)]
    return Records(decisions, request)


def _everything(store: Store, step: int) -> list[Experience]:
    """Return the log, read ``step`` entries at a time."""
    parts: list[Experience] = []
    position = 0
    while True:
        part = store.experience(after=position, limit=step)
        if part.position == position:
            return parts
        parts.append(part)
        position = part.position


def _ids(parts: list[Experience]) -> tuple[list[str], list[str], list[tuple[str, int]]]:
    """Return the ids of decisions, feedback and attempts; a decision comes again with what is said of it later."""
    return (
        list(dict.fromkeys(decision.id for part in parts for decision in part.decisions)),
        [feedback.id for part in parts for feedback in part.feedback],
        [(attempt.decision_id, attempt.n) for part in parts for attempt in part.attempts],
    )


def check_a_decision_is_returned_as_it_was_logged(subject: Subject) -> None:
    """``record`` returns the decision and the numbers that it was made from."""
    with _store(subject) as store:
        (given,) = _records(1)
        store.decided([given])
        found = store.record("decision-0")
        require(found.decision == given.decision, f"the decision came back as {found.decision}")
        require(found.candidates == given.candidates, "the candidates came back otherwise")
        require(found.masked_why == given.masked_why, "the reasons of masks came back otherwise")
        for name in ("cost_usd", "latency_ms", "known_quality"):
            require(equal(getattr(found.expected, name), getattr(given.expected, name)), f"expected.{name} came back otherwise")
        require(equal(found.estimates.complexity, given.estimates.complexity), "the estimates came back otherwise")


def check_records_go_with_decisions(subject: Subject) -> None:
    """Experience has the records of its decisions, one each and in their order, or none at all."""
    with _store(subject) as store:
        store.decided(_records(3))
        for part in _everything(store, 2):
            found = [record.decision for record in part.records]
            require(found in ([], list(part.decisions)), "experience must have a record for each of its decisions, in their order, or none at all")


def check_an_unknown_decision_is_an_error(subject: Subject) -> None:
    """``record`` of an id that is not there is an UnknownDecisionError."""
    with _store(subject) as store:
        _must_raise(UnknownDecisionError, lambda: store.record("no-such-decision"), "record of an unknown id")


def check_the_same_feedback_counts_once(subject: Subject) -> None:
    """The same id and content counts once; the same id with other content is refused."""
    with _store(subject) as store:
        store.decided(_records(1))
        feedback = Feedback(decision_id="decision-0", quality=1.0)
        require(store.judged(feedback) is True, "new feedback must return True")
        require(store.judged(feedback) is False, "the same feedback again must return False")
        _must_raise(StoreError, lambda: store.judged(Feedback(decision_id="decision-0", quality=0.0)), "other content under one id")
        store.judged(Feedback(decision_id="decision-0", quality=0.0, source="implicit"))
        found = _ids(_everything(store, 100))[1]
        require(found == ["decision-0/explicit", "decision-0/implicit"], f"experience must have each feedback once, not {found}")


def check_early_feedback_waits_for_its_decision(subject: Subject) -> None:
    """Feedback before its decision is pending until that comes, and is not lost."""
    with _store(subject) as store:
        early = Feedback(decision_id="decision-0", quality=1.0)
        store.judged(early)
        require(list(store.pending()) == [early], "feedback without a decision must be pending")
        store.decided(_records(1))
        require(not store.pending(), "feedback must not be pending once its decision is there")
        require(early.id in _ids(_everything(store, 100))[1], "feedback that waited must be in the experience")


def check_the_same_attempt_counts_once(subject: Subject) -> None:
    """An attempt that is logged twice is in the experience once."""
    with _store(subject) as store:
        store.decided(_records(1))
        attempt = Attempt("decision-0", 0, POOL.names[3], cost_usd=0.001, latency_ms=20.0)
        store.attempted(attempt)
        store.attempted(attempt)
        require(_ids(_everything(store, 100))[2] == [("decision-0", 0)], "an attempt that is logged twice must count once")


def check_experience_keeps_the_order_of_the_log(subject: Subject) -> None:
    """Read in pieces of any size, the log gives the same entries in the same order, each once."""
    with _store(subject) as store:
        for first in range(0, 12, 3):
            store.decided(_records(3, first))
            store.judged(Feedback(decision_id=f"decision-{first}", quality=0.5))
        whole = _ids(_everything(store, 1000))
        require(whole[0] == [f"decision-{n}" for n in range(12)], f"decisions must be in the order of the log, not {whole[0]}")
        require(len(whole[1]) == 4, f"four pieces of feedback were given, and experience has {len(whole[1])}")
        for step in (1, 2, 5):
            require(_ids(_everything(store, step)) == whole, f"reading {step} entries at a time gives another experience")


def check_several_threads_write(subject: Subject) -> None:
    """What several threads write at once is all there."""
    with _store(subject) as store, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.decided(_records(1, n)), range(32)))
        list(threads.map(lambda n: store.judged(Feedback(decision_id=f"decision-{n}", quality=1.0)), range(32)))
        decisions, feedback, _ = _ids(_everything(store, 1000))
        require(sorted(decisions) == sorted(f"decision-{n}" for n in range(32)), "decisions of several threads were lost or doubled")
        require(len(feedback) == len(set(feedback)) == 32, "feedback of several threads was lost or doubled")


def check_closing_twice_does_nothing(subject: Subject) -> None:
    """A second ``close`` is harmless."""
    with _store(subject) as store:
        store.close()


def _must_raise(error: type[Exception], action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except error:
        return
    raise AssertionError(f"{what} must raise {error.__name__}")


CHECKS = (
    *OPTION_CHECKS,
    check_a_decision_is_returned_as_it_was_logged,
    check_records_go_with_decisions,
    check_an_unknown_decision_is_an_error,
    check_the_same_feedback_counts_once,
    check_early_feedback_waits_for_its_decision,
    check_the_same_attempt_counts_once,
    check_experience_keeps_the_order_of_the_log,
    check_several_threads_write,
    check_closing_twice_does_nothing,
)
