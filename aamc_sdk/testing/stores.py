"""Checks of stores."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_sdk.errors import AamcError, DataError, StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store, rules
from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.findings import checks_in, require, skip
from aamc_sdk.testing.subject import Subject, equal
from aamc_sdk.testing.world import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Preference, Records, Snapshot, StateDelta

ID, CHOSEN = "decision-0", POOL.names[3]


@contextmanager
def empty_store(subject: Subject, **options: Any) -> Iterator[Store]:
    """Open an empty store with some options; its ``test_url`` removes its data afterwards."""
    with new_url(subject) as url, closing(open_store(url, subject.plugins, {**subject.options, **options})) as store:
        yield store


@contextmanager
def new_url(subject: Subject) -> Iterator[str]:
    """Return the URL of a new log, whose data goes afterwards; warnings of pending entries are kept out of the report."""
    with _no_warnings(), tempfile.TemporaryDirectory() as folder, subject.target.test_url(subject.name, Path(folder)) as url:
        yield url


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep the log's warnings of pending entries out of the report: checks write such entries on purpose."""
    logger = logging.getLogger(rules.__name__)
    before, logger.disabled = logger.disabled, True
    try:
        yield
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


def check_a_decision_is_returned_as_it_was_logged(subject: Subject) -> None:
    """``record`` returns the decision and the numbers that it was made from."""
    with empty_store(subject) as store:
        (given,) = records(1)
        added = store.add_decisions([given])
        require(list(added) == [given.decision], f"add_decisions must return the decisions in the log, not {added!r:.200}")
        found = store.record(ID)
        require(found.decision == given.decision, f"the decision came back as {found.decision}")
        require(found.candidates == given.candidates, "the candidates came back otherwise")
        require(found.masked_why == given.masked_why, "the reasons of masks came back otherwise")
        for name in ("cost_usd", "latency_ms", "known_quality"):
            require(equal(getattr(found.expected, name), getattr(given.expected, name)), f"expected.{name} came back otherwise")
        require(equal(found.estimates.complexity, given.estimates.complexity), "the estimates came back otherwise")


def check_an_unknown_propensity_stays_unknown(subject: Subject) -> None:
    """A propensity of NaN comes back as NaN, so that it is never counted off-policy."""
    with empty_store(subject) as store:
        (given,) = records(1)
        store.add_decisions([attrs.evolve(given, decision=attrs.evolve(given.decision, propensity=math.nan))])
        require(math.isnan(store.record(ID).decision.propensity), "an unknown propensity must come back as NaN")
        require(math.isnan(store.outcomes().propensity[0]), "outcomes must give an unknown propensity as NaN")


def check_asking_again_returns_the_logged_decision(subject: Subject) -> None:
    """A known id with the same request adds nothing; with another request it is refused."""
    with empty_store(subject) as store:
        (given,) = records(1)
        store.add_decisions([given])
        again = attrs.evolve(given, decision=attrs.evolve(given.decision, candidate=POOL.names[0], propensity=0.25), wait_ms=given.wait_ms + 1)
        found = store.add_decisions([again])
        require([decision.candidate for decision in found] == [CHOSEN], "asking again must return the decision that is in the log")
        require(ids(whole_log(store, 100))[0] == [ID], "asking again must add nothing")
        other = attrs.evolve(given, query=attrs.evolve(given.query, session="another"))
        must_raise(StoreError, lambda: store.add_decisions([records(1, 1)[0], other]), "another request under a known id")
        require(ids(whole_log(store, 100))[0] == [ID], "of a batch that is refused nothing may be kept")


def check_records_go_with_decisions(subject: Subject) -> None:
    """Experience has the records of its decisions, one each and in their order, or none at all."""
    with empty_store(subject) as store:
        store.add_decisions(records(3))
        for part in whole_log(store, 2):
            found = [record.decision for record in part.records]
            require(found in ([], list(part.decisions)), "experience must have a record for each of its decisions, in their order, or none at all")


def check_an_unknown_decision_is_an_error(subject: Subject) -> None:
    """``record`` of an id that is not there is an UnknownDecisionError."""
    with empty_store(subject) as store:
        must_raise(UnknownDecisionError, lambda: store.record("no-such-decision"), "record of an unknown id")


def check_the_same_feedback_counts_once(subject: Subject) -> None:
    """The same id and content counts once; the same id with other content is refused."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        feedback = Feedback(decision_id=ID, quality=1.0)
        require(store.add_feedback([(feedback, None)]) == [True], "new feedback must return [True]")
        require(store.add_feedback([(feedback, None)]) == [False], "the same feedback again must return [False]")
        must_raise(StoreError, lambda: store.add_feedback([(Feedback(decision_id=ID, quality=0.0), None)]), "other content under one id")
        store.add_feedback([(Feedback(decision_id=ID, quality=0.0, source="implicit"), None)])
        found = ids(whole_log(store, 100))[1]
        require(found == ["decision-0/explicit", "decision-0/implicit"], f"experience must have each feedback once, not {found}")


def check_feedback_comes_with_its_attempt(subject: Subject) -> None:
    """The attempt of a piece of feedback is logged with it, once, under the decision's next number; both name the candidate that served."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        store.add_attempts([Attempt(ID, 0, CHOSEN, error="timed out")])
        given = Feedback(decision_id=ID, quality=1.0), Attempt(ID, 7, cost_usd=0.5)
        require([store.add_feedback([given]), store.add_feedback([given])] == [[True], [False]], "feedback with an attempt must count once")
        parts = whole_log(store, 100)
        found = [(call.n, call.candidate, call.cost_usd) for part in parts for call in part.attempts[-1:]]
        expected = [(1, CHOSEN, 0.5)]
        require(found == expected, f"the feedback's attempt must be in the log as (number, candidate, cost) {expected}, not {found}")
        served = [feedback.candidate for part in parts for feedback in part.feedback]
        require(served == [CHOSEN], f"feedback without a candidate must come with the one that served, {CHOSEN!r}, not {served}")


def check_unknown_candidates_are_refused(subject: Subject) -> None:
    """Attempts and feedback on a candidate that the decision did not have are refused, and nothing of a refused batch of attempts is kept."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        calls, judged = [Attempt(ID, 0), Attempt(ID, 1, "nobody")], Feedback(decision_id=ID, quality=1.0, candidate="nobody")
        must_raise(StoreError, lambda: store.add_attempts(calls), "an attempt of a candidate that the decision did not have")
        must_raise(StoreError, lambda: store.add_feedback([(judged, None)]), "feedback on a candidate that the decision did not have")
        _, feedback, attempts = ids(whole_log(store, 100))
        require((feedback, attempts) == ([], []), f"nothing that is refused may be kept; experience has {feedback + attempts}")


def check_early_feedback_waits_for_its_decision(subject: Subject) -> None:
    """Feedback before its decision is pending until that comes, and is not lost."""
    with empty_store(subject) as store:
        early = Feedback(decision_id=ID, quality=1.0)
        store.add_feedback([(early, None)])
        require(list(store.pending()) == [early], "feedback without a decision must be pending")
        store.add_decisions(records(1))
        require(not store.pending(), "feedback must not be pending once its decision is there")
        require(early.id in ids(whole_log(store, 100))[1], "feedback that waited must be in the experience")


def check_a_later_revision_replaces_feedback(subject: Subject) -> None:
    """A later revision of an id is new, and experience carries the replaced one along; other content under an earlier one is refused."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        first = Feedback(decision_id=ID, quality=1.0)
        second = attrs.evolve(first, quality=0.0, revision=1)
        store.add_feedback([(first, None)])
        require(store.add_feedback([(second, None), (second, None), (first, None)]) == [True, False, False], "a revision must count once")
        must_raise(StoreError, lambda: store.add_feedback([(attrs.evolve(first, quality=0.5), None)]), "other content under an earlier revision")
        parts = whole_log(store, 1)
        require([item.quality for part in parts for item in part.feedback] == [1.0, 0.0], "both revisions must stay in the log, in their order")
        replaced = [item.quality for part in parts for item in part.replaced]
        require(replaced == [1.0], f"experience must carry the replaced revision along, and carries {replaced}")


def check_the_same_attempt_counts_once(subject: Subject) -> None:
    """An attempt that is logged twice is in the experience once; other content under its number is refused."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        attempt = Attempt(ID, 0, CHOSEN, cost_usd=0.001, latency_ms=20.0)
        require(list(store.add_attempts([attempt])) == [0], "add_attempts must return the attempts' numbers")
        store.add_attempts([attempt])
        require(ids(whole_log(store, 100))[2] == [(ID, 0)], "an attempt that is logged twice must count once")
        must_raise(StoreError, lambda: store.add_attempts([attrs.evolve(attempt, cost_usd=0.002)]), "other content under an attempt's number")


def check_attempts_without_a_number_take_the_next(subject: Subject) -> None:
    """Attempts may come before their decision and without feedback; all their fields come back."""
    with empty_store(subject) as store:
        early = Attempt(
            ID, None, CHOSEN, error="timed out", status="cancelled", first_token_ms=5.0, prompt_tokens=7, cached_tokens=3, reasoning_tokens=2
        )
        require(list(store.add_attempts([early, Attempt(ID)])) == [0, 1], "attempts without a number must take the decision's next ones")
        store.add_decisions(records(1))
        require(list(store.add_attempts([Attempt(ID, cost_usd=0.5)])) == [2], "attempts without a number must take the decision's next ones")
        found = [attempt for part in whole_log(store, 100) for attempt in part.attempts]
        require([attempt.n for attempt in found] == [0, 1, 2], f"three attempts were given, and experience has {found}")
        given = attrs.asdict(attrs.evolve(early, n=0))
        returned = attrs.asdict(found[0])
        wrong = [name for name, value in given.items() if value == value and returned[name] != value]  # NaN is unequal to itself
        require(not wrong, f"an attempt came back otherwise in {', '.join(wrong)}")


def check_an_episode_is_read_in_log_order(subject: Subject) -> None:
    """``episode`` returns the records of decisions that share an episode's id."""
    with empty_store(subject) as store:
        given = [attrs.evolve(record, decision=attrs.evolve(record.decision, episode=f"task-{n % 2}")) for n, record in enumerate(records(4))]
        store.add_decisions(given)
        found = [record.decision.id for record in store.episode("task-1")]
        require(found == ["decision-1", "decision-3"], f"an episode must have its decisions in log order, not {found}")


def check_health_counts_pending_feedback(subject: Subject) -> None:
    """``health`` gives plain numbers, among them the feedback whose decision is not in the log."""
    with empty_store(subject) as store:
        store.add_feedback([(Feedback(decision_id="unknown", quality=1.0), None)])
        found = store.health()
        require(found.get("pending_feedback") == 1, f"health must count pending_feedback, and gives {dict(found)}")
        require(all(isinstance(value, int | float) for value in found.values()), "health must give plain numbers")


def check_experience_keeps_the_order_of_the_log(subject: Subject) -> None:
    """Read in pieces of any size, the log gives the same entries in the same order, each once."""
    with empty_store(subject) as store:
        for first in range(0, 12, 3):
            store.add_decisions(records(3, first))
            store.add_feedback([(Feedback(decision_id=f"decision-{first}", quality=0.5), None)])
        whole = ids(whole_log(store, 1000))
        require(whole[0] == [f"decision-{n}" for n in range(12)], f"decisions must be in the order of the log, not {whole[0]}")
        require(len(whole[1]) == 4, f"four pieces of feedback were given, and experience has {len(whole[1])}")
        for step in (1, 2, 5):
            parts = whole_log(store, step)
            require(ids(parts) == whole, f"reading {step} entries at a time gives another experience")
            sizes = np.diff([sum(len(entries) for entries in ids(parts[:count])) for count in range(len(parts) + 1)])
            require(max(sizes) <= step, f"experience(limit={step}) must return at most {step} new entries, and returned {max(sizes)}")
        end = parts[-1].position
        require(store.position() == end, f"position must be {end}, where the experience of the whole log ends, not {store.position()}")


def check_outcomes_of_a_time(subject: Subject) -> None:
    """``outcomes`` gives the figures of decisions from ``since`` and before ``until``; an unknown column is a DataError."""
    with empty_store(subject) as store:
        store.add_decisions([attrs.evolve(each, decision=attrs.evolve(each.decision, time=100.0 * n)) for n, each in enumerate(records(4), 1)])
        store.add_attempts([Attempt(f"decision-{n}", 0, CHOSEN, cost_usd=0.1 * n, latency_ms=10.0 * n) for n in range(4)])
        store.add_feedback([(Feedback(decision_id=f"decision-{n}", quality=0.25 * n), None) for n in range(4)])
        for since, until, rows in ((None, None, [0, 1, 2, 3]), (200.0, 400.0, [1, 2]), (250.0, None, [2, 3]), (None, 200.0, [0])):
            found, asked = store.outcomes(since, until), f"outcomes(since={since}, until={until})"
            expected = [f"decision-{n}" for n in rows]
            require(list(found.decision_ids) == expected, f"{asked} must give {expected}, not {list(found.decision_ids)}")
            for name, unit in (("quality", 0.25), ("cost_usd", 0.1), ("latency_ms", 10.0)):
                figures = unit * np.array(rows)
                require(equal(getattr(found, name), figures), f"{asked} must give {name} {figures}, not {getattr(found, name)}")
        must_raise(DataError, lambda: store.outcomes(columns=["no-such-column"]), "an unknown column of outcomes")


def check_several_threads_write(subject: Subject) -> None:
    """Several threads write at once, and every entry is in the log."""
    with empty_store(subject) as store, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.add_decisions(records(1, n)), range(32)))
        list(threads.map(lambda n: store.add_feedback([(Feedback(decision_id=f"decision-{n}", quality=1.0), None)]), range(32)))
        decisions, feedback, _ = ids(whole_log(store, 1000))
        require(sorted(decisions) == sorted(f"decision-{n}" for n in range(32)), "decisions of several threads were lost or doubled")
        require(len(feedback) == len(set(feedback)) == 32, "feedback of several threads was lost or doubled")


def check_the_newest_snapshot_is_kept(subject: Subject) -> None:
    """``put_snapshot`` replaces an older snapshot and no newer one; a store may keep none."""
    with empty_store(subject) as store:
        store.put_snapshot("kit", Snapshot(5, b"five", last="x"))
        if store.snapshot("kit") is None:
            skip("it keeps no snapshots (snapshot returns None after put_snapshot): a restart learns the whole log again")
        for position, content in ((4, b"older"), (5, b"as new")):
            store.put_snapshot("kit", Snapshot(position, content))
            require(store.snapshot("kit") == Snapshot(5, b"five", last="x"), "a snapshot must stay until a newer one comes")
        store.put_snapshot("kit", Snapshot(6, b"six"))
        require(store.snapshot("kit") == Snapshot(6, b"six"), "a newer snapshot must replace an older one")


def check_deltas_are_a_chain(subject: Subject) -> None:
    """``put_delta`` takes only the next delta, ``deltas`` gives all that follow a state, and a snapshot ends them; a store may keep none."""
    with empty_store(subject) as store:
        store.put_snapshot("kit", Snapshot(2, b"whole"))
        first, second = StateDelta(2, 3, b"first", last="x"), StateDelta(3, 6, b"second")
        if store.snapshot("kit") is None or not store.put_delta("kit", first):
            require(store.deltas("kit", 2, 0) is None, "a store that keeps no deltas must return None for them")
            skip("it keeps no changes of snapshots (put_delta returns False)")
        require(not store.put_delta("kit", first), "a delta that arrives twice must be refused")
        require(not store.put_delta("kit", StateDelta(5, 7, b"")), "a delta on a state that is not the newest must be refused")
        require(not store.put_delta("kit", StateDelta(3, 6, b"", epoch=1)), "a delta of another epoch must be refused")
        require(store.put_delta("kit", second), "the next delta must be kept")
        for after, expected in ((2, [first, second]), (3, [second]), (6, [])):
            found = store.deltas("kit", after, 0)
            require(found is not None and list(found) == expected, f"the deltas after {after} must be {expected}, not {found}")
        require(store.deltas("kit", 4, 0) is None and store.deltas("kit", 2, 1) is None, "deltas must be None where nothing continues from the state")
        store.put_snapshot("kit", Snapshot(6, b"whole again"))
        require(store.deltas("kit", 2, 0) is None, "a full snapshot must end the deltas before it")
        require(list(store.deltas("kit", 6, 0) or ()) == [], "no delta continues from the newest state")
        for delta in (StateDelta(6, 9, b"third"), StateDelta(9, 12, b"fourth")):
            store.put_delta("kit", delta)
        store.put_snapshot("kit", Snapshot(8, b"between two deltas"))
        whole = store.snapshot("kit")
        require(whole is not None and whole.position == 6, "a full snapshot that is older than the deltas and apart from them must be left out")
        require(len(store.deltas("kit", 6, 0) or ()) == 2, "the deltas must lead on to the newest state")
        store.put_snapshot("kit", Snapshot(9, b"where a delta continues"))
        require(len(store.deltas("kit", 9, 0) or ()) == 1, "a full snapshot from which a delta continues must keep that one")
        store.put_snapshot("kit", Snapshot(13, b"newer than all deltas"))
        require(store.deltas("kit", 12, 0) is None, "a full snapshot that is newer than the deltas must end all of them")
        require(store.put_delta("kit", StateDelta(13, 14, b"fifth")), "the next delta must lead on from the full snapshot")


def check_forgetting_erases_what_was_logged(subject: Subject) -> None:
    """``forget`` erases a user's decisions and no others, drops the snapshots, which were learned from them, and begins a new epoch."""
    options = {"store_text": True} if has_option(subject, "store_text") else {}
    with empty_store(subject, **options) as store:
        store.add_decisions([attrs.evolve(each, query=attrs.evolve(each.query, user=f"user-{n}", session="s")) for n, each in enumerate(records(2))])
        store.put_snapshot("kit", Snapshot(store.position(), b"learned"))
        before, kept = store.experience().epoch, store.record("decision-1").query
        erased = _forget(store, "user-0")
        require(erased == 1, f"forget must return the number of erased decisions, 1, not {erased}")
        found = store.record(ID)
        left = [name for name in ("text", "user", "session") if getattr(found.query, name)]
        left += ["embedding"] if found.estimates.embedding is not None else []
        require(not left, f"forget must erase the decision's {', '.join(left)}")
        require(store.record("decision-1").query == kept, "forget must leave other users' decisions")
        require(store.snapshot("kit") is None, "forget must drop the snapshots: they were learned from the erased decisions")
        require(store.experience().epoch > before, "forget must begin a new epoch, so that routers learn the log again")


def _forget(store: Store, user: str) -> int:
    """Forget a user; the check is skipped where the store cannot."""
    try:
        return store.forget(user)
    except StoreError as error:
        skip(str(error))


def check_a_forgotten_user_stays_forgotten(subject: Subject) -> None:
    """A decision of before ``forget`` that comes later is erased as it is written; a store that cannot forget says so."""
    with empty_store(subject) as store:
        (given,) = records(1)
        early = attrs.evolve(given, decision=attrs.evolve(given.decision, time=time.time() - 60.0), query=attrs.evolve(given.query, user="ann"))
        _forget(store, "ann")
        store.add_decisions([early])
        require(store.record(ID).query.user is None, "a decision that its user made before being forgotten must be erased as it is written")
        later = attrs.evolve(early, decision=attrs.evolve(early.decision, id="decision-1", time=time.time() + 60.0))
        store.add_decisions([later])
        require(store.record("decision-1").query.user == "ann", "a user who comes back later is a new user")
        _forget(store, "ann")
        store.add_decisions([attrs.evolve(later, decision=attrs.evolve(later.decision, id="copy"))])
        require(store.record("copy").query.user is None, "a decision whose time was ahead of the clock must be erased in a copy that comes later too")


def check_retention_drops_whole_decisions_that_were_learned(subject: Subject) -> None:
    """``retain`` drops the oldest decisions with all their entries once snapshots cover them; the remaining ones are read as before."""
    if not has_option(subject, "retention"):
        skip("it has no option retention")
    with empty_store(subject, retention={"max_gb": 1e-6}) as store:
        for n in range(4):
            store.add_decisions(records(1, n))
        if not store.partitions():
            skip("it does not divide its log (partitions is empty)")
        store.add_feedback([(Feedback(decision_id=ID, quality=0.5), None)])
        store.put_snapshot("kit", Snapshot(store.experience().position - 1, b"without the feedback"))
        require(store.retain() == 0, "a decision whose feedback a router has not learned must stay")
        position = store.experience().position
        store.put_snapshot("kit", Snapshot(position, b"whole"))
        dropped = store.retain()
        require(0 < dropped < 4, f"of four partitions beyond the limit all but the newest must go, not {dropped} decisions")
        must_raise(UnknownDecisionError, lambda: store.record(ID), "record of a decision that was dropped")
        start = store.experience(position - 1).start
        require(start == position, f"experience must give the position of the last dropped entry, here late feedback, {position} and not {start}")
        left = [f"decision-{n}" for n in range(dropped, 4)]
        require(ids(whole_log(store, 1)) == (left, [], []), "a decision must go with all its entries, and the others must stay")
        require(sum(each.decisions for each in store.aggregates()) == dropped, "aggregates must count the decisions that were dropped")
        store.add_decisions(records(1, 4))
        found = store.experience(position)
        require([decision.id for decision in found.decisions] == ["decision-4"], "positions must ascend although entries were dropped")
        store.put_snapshot("kit", Snapshot(found.position, b"newer"))
        store.forget("ann")
        require(store.snapshot("kit") == Snapshot(position, b"whole"), "forget must leave the snapshot that covers what was dropped")


def check_a_closed_store_takes_no_entries(subject: Subject) -> None:
    """Writes after ``close`` are refused, since nothing would make them durable; a second ``close`` is harmless."""
    with empty_store(subject) as store:
        store.add_decisions(records(1))
        store.close()
        store.close()
        must_raise(StoreError, lambda: store.add_decisions(records(1, 1)), "add_decisions after close")
        must_raise(StoreError, lambda: store.add_attempts([Attempt(ID)]), "add_attempts after close")
        must_raise(StoreError, lambda: store.add_feedback([(Feedback(decision_id=ID, quality=1.0), None)]), "add_feedback after close")


def check_entries_are_there_when_the_log_is_opened_again(subject: Subject) -> None:
    """Entries are durable when a write returns: a second store of the same URL reads them, before the first is closed and after."""
    if not subject.target.persistent:
        skip("persistent is False: its log ends with the process")
    with new_url(subject) as url:
        with closing(open_store(url, subject.plugins, subject.options)) as store:
            store.add_decisions(records(2))
            store.add_attempts([Attempt(ID, 0)])
            store.add_feedback([(Feedback(decision_id=ID, quality=1.0), None), (Feedback(decision_id="early", quality=1.0), None)])
            store.put_snapshot("kit", Snapshot(store.position(), b"learned"))
            expected = _state(store)
            try:
                second = open_store(url, subject.plugins, subject.options)
            except AamcError:  # only one process may open it
                pass
            else:
                with closing(second):
                    _require_state(second, expected, "opened while the store that wrote it is open")
        with closing(open_store(url, subject.plugins, subject.options)) as again:
            _require_state(again, expected, "closed and opened again")


def _state(store: Store) -> tuple[Any, ...]:
    return (*ids(whole_log(store, 100)), list(store.pending()), store.snapshot("kit"))


def _require_state(store: Store, expected: tuple[Any, ...], when: str) -> None:
    names = ("decisions", "feedback", "attempts", "pending feedback", "the snapshot")
    lost = [name for name, before, after in zip(names, expected, _state(store), strict=True) if before != after]
    advice = "make each write durable before it returns, or set persistent = False if the log ends with its process"
    require(not lost, f"{', '.join(lost)} differ in a log that was {when}: {advice}")


def check_files_that_are_no_log_are_refused(subject: Subject) -> None:
    """A store in a file says whether the file is there, and refuses one that is not a log with a StoreError, and leaves it as it was."""
    with new_url(subject) as url:
        with closing(open_store(url, subject.plugins, subject.options)) as store:
            store.add_decisions(records(1))
        file, noise = Path(url.partition(":")[2].partition("?")[0]), bytes(range(256))
        if not file.is_file():
            skip("it keeps its log in no file of the kit's folder")
        require(subject.target.exists(url), "exists must return True for a log that is there")
        missing = f"{subject.name}:{file.with_name('missing')}"
        require(not subject.target.exists(missing), "exists must return False for a missing file, so that a wrong path is refused")
        file.write_bytes(noise)
        must_raise(StoreError, lambda: open_store(url, subject.plugins, subject.options).close(), "opening a file that is not a log")
        require(file.read_bytes() == noise, "a file that is not a log must stay as it was")


def must_raise(error: type[Exception], action: Callable[[], Any], what: str) -> None:
    """Require that an action raises an error."""
    try:
        action()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} must raise {error.__name__}, not {type(other).__name__}: {other}") from other
    raise AssertionError(f"{what} must raise {error.__name__}, but raised nothing")


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
