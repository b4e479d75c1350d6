"""Logs for the checks of stores: opening an empty one, filling it, and reading all of it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.log.writes import rules
from aamc_sdk.testing.sample_data import POOL, make_dataset, make_request
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Decision, Experience, Preference, Record, Records

ID, CHOSEN = "decision-0", POOL.names[3]


@contextmanager
def empty_store(subject: Subject, **options: Any) -> Iterator[Store]:
    """Open an empty store with some options; its ``test_url`` removes its data afterwards."""
    with new_url(subject) as url, closing(open_log(subject, url, **options)) as store:
        yield store


def on_empty_store(check: Callable[[Store], None]) -> Callable[[Subject], None]:
    """Return the check of a component for a check of an empty store."""

    @wraps(check)
    def checked(subject: Subject) -> None:
        with empty_store(subject) as store:
            check(store)

    return checked


def open_log(subject: Subject, url: str, **options: Any) -> Store:
    """Return a store of a log, with some options on top of the subject's."""
    return open_store(url, subject.plugins, {**subject.options, **options})


@contextmanager
def new_url(subject: Subject) -> Iterator[str]:
    """Yield the URL of a new log and delete it afterwards; warnings of pending entries are kept out of the report."""
    logger = logging.getLogger(rules.__name__)
    before, logger.disabled = logger.disabled, True  # checks write such entries on purpose
    try:
        with tempfile.TemporaryDirectory() as folder, subject.target.test_url(subject.name, Path(folder)) as url:
            yield url
    finally:
        logger.disabled = before


def has_option(subject: Subject, name: str) -> bool:
    """Return whether the store has an option."""
    return name in {field.name for field in attrs.fields(subject.target.Config)}


def records(size: int, first: int = 0) -> Records:
    """Return decisions, numbered from ``first`` on."""
    request = make_request(make_dataset(size, first))
    decisions = [Decision(f"decision-{first + row}", CHOSEN, 0.5, Preference(), {CHOSEN: 0.5}, "kit") for row in range(size)]
    return Records(decisions, request)


def with_decision(record: Record, **fields: Any) -> Record:
    """Return a record with other fields of its decision."""
    return attrs.evolve(record, decision=attrs.evolve(record.decision, **fields))


def with_query(record: Record, **fields: Any) -> Record:
    """Return a record with other fields of its query."""
    return attrs.evolve(record, query=attrs.evolve(record.query, **fields))


def whole_log(store: Store, step: int) -> list[Experience]:
    """Return the log, read ``step`` entries at a time."""
    return list(store.experiences(limit=step))


def ids(parts: list[Experience]) -> tuple[list[str], list[str], list[tuple[str, int | None]]]:
    """Return the ids of decisions, feedback and attempts; a decision comes again with later entries on it."""
    return (
        list(dict.fromkeys(decision.id for part in parts for decision in part.decisions)),
        [feedback.id for part in parts for feedback in part.feedback],
        [(attempt.decision_id, attempt.n) for part in parts for attempt in part.attempts],
    )
