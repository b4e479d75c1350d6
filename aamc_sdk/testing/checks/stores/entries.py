"""Checks of logged decisions, attempts and feedback; each gets an empty store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import attrs
import numpy as np

from aamc_sdk.errors import StoreError, UnknownDecisionError
from aamc_sdk.interfaces import Store
from aamc_sdk.testing.checks.components import THREADS, from_threads
from aamc_sdk.testing.checks.stores.logs import CHOSEN, ID, ids, on_empty_store, records, whole_log, with_decision, with_query
from aamc_sdk.testing.findings import checks_in, must_raise, require
from aamc_sdk.testing.sample_data import POOL
from aamc_sdk.testing.subject import equal
from aamc_sdk.types import Attempt, Feedback


def check_a_decision_is_returned_as_it_was_logged(store: Store) -> None:
    """``record`` returns the decision and the numbers that it was made from."""
    (given,) = records(1)
    added = store.add_decisions([given])
    is_logged = isinstance(added, Sequence) and list(added) == [given.decision]
    require(is_logged, f"add_decisions must return the decisions in the log, not {added!r:.200}")
    found = store.record(ID)
    require(found.decision == given.decision, f"the decision came back as {found.decision}")
    require(found.candidates == given.candidates, "the candidates came back changed")
    require(found.masked_why == given.masked_why, "the reasons of masks came back changed")
    for name in ("cost_usd", "latency_ms", "known_quality"):
        require(equal(getattr(found.expected, name), getattr(given.expected, name)), f"expected.{name} came back changed")
    for name in ("complexity", "embedding"):
        require(equal(getattr(found.estimates, name), getattr(given.estimates, name), 1e-5), f"estimates.{name} came back changed")


def check_an_unknown_propensity_stays_unknown(store: Store) -> None:
    """A propensity of NaN comes back as NaN, so that it is never counted off-policy."""
    (given,) = records(1)
    store.add_decisions([with_decision(given, propensity=math.nan)])
    require(math.isnan(store.record(ID).decision.propensity), "an unknown propensity must come back as NaN")
    require(math.isnan(store.outcomes().propensity[0]), "outcomes must give an unknown propensity as NaN")


def check_asking_again_returns_the_logged_decision(store: Store) -> None:
    """A known id with the same request adds nothing; with another request it is refused."""
    (given,) = records(1)
    store.add_decisions([given])
    again = attrs.evolve(with_decision(given, candidate=POOL.names[0], propensity=0.25), wait_ms=given.wait_ms + 1)
    found = store.add_decisions([again])
    require([decision.candidate for decision in found] == [CHOSEN], "asking again must return the decision that is in the log")
    require(ids(whole_log(store, 100))[0] == [ID], "asking again must add nothing")
    other = with_query(given, session="another")
    must_raise(StoreError, lambda: store.add_decisions([records(1, 1)[0], other]), "another request under a known id")
    require(ids(whole_log(store, 100))[0] == [ID], "of a batch that is refused nothing may be kept")


def check_records_go_with_decisions(store: Store) -> None:
    """Experience has the records of its decisions, one each and in their order, or none at all."""
    store.add_decisions(records(3))
    for part in whole_log(store, 2):
        found = [record.decision for record in part.records]
        require(found in ([], list(part.decisions)), "experience must have a record for each of its decisions, in their order, or none at all")


def check_an_unknown_decision_is_an_error(store: Store) -> None:
    """``record`` of an id that is not there is an UnknownDecisionError."""
    must_raise(UnknownDecisionError, lambda: store.record("no-such-decision"), "record of an unknown id")


def check_the_same_feedback_counts_once(store: Store) -> None:
    """The same id and content counts once; the same id with other content is refused."""
    store.add_decisions(records(1))
    feedback = Feedback(decision_id=ID, quality=1.0)
    require(store.add_feedback([(feedback, None)]) == [True], "new feedback must return [True]")
    require(store.add_feedback([(feedback, None)]) == [False], "the same feedback again must return [False]")
    must_raise(StoreError, lambda: store.add_feedback([(Feedback(decision_id=ID, quality=0.0), None)]), "other content under one id")
    store.add_feedback([(Feedback(decision_id=ID, quality=0.0, source="implicit"), None)])
    found = ids(whole_log(store, 100))[1]
    require(found == ["decision-0/explicit", "decision-0/implicit"], f"experience must have each feedback once, not {found}")


def check_feedback_comes_with_its_attempt(store: Store) -> None:
    """The attempt of a piece of feedback is logged with it, once, under the decision's next number; both name the candidate that served."""
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


def check_unknown_candidates_are_refused(store: Store) -> None:
    """Attempts and feedback on a candidate that the decision did not have are refused, and nothing of a refused batch of attempts is kept."""
    store.add_decisions(records(1))
    calls, judged = [Attempt(ID, 0), Attempt(ID, 1, "nobody")], Feedback(decision_id=ID, quality=1.0, candidate="nobody")
    must_raise(StoreError, lambda: store.add_attempts(calls), "an attempt of a candidate that the decision did not have")
    must_raise(StoreError, lambda: store.add_feedback([(judged, None)]), "feedback on a candidate that the decision did not have")
    _, feedback, attempts = ids(whole_log(store, 100))
    require((feedback, attempts) == ([], []), f"nothing that is refused may be kept; experience has {feedback + attempts}")


def check_early_feedback_waits_for_its_decision(store: Store) -> None:
    """Feedback before its decision is pending until that comes, and is not lost."""
    early = Feedback(decision_id=ID, quality=1.0)
    store.add_feedback([(early, None)])
    require(list(store.pending()) == [early], "feedback without a decision must be pending")
    store.add_decisions(records(1))
    require(not store.pending(), "feedback must not be pending once its decision is there")
    require(early.id in ids(whole_log(store, 100))[1], "feedback that waited must be in the experience")


def check_a_later_revision_replaces_feedback(store: Store) -> None:
    """A later revision is new, and experience carries the replaced one along; other content or another decision is refused."""
    store.add_decisions(records(2))
    first = Feedback(decision_id=ID, quality=1.0)
    second = attrs.evolve(first, quality=0.0, revision=1)
    store.add_feedback([(first, None)])
    require(store.add_feedback([(second, None), (second, None), (first, None)]) == [True, False, False], "a revision must count once")
    must_raise(StoreError, lambda: store.add_feedback([(attrs.evolve(first, quality=0.5), None)]), "other content under an earlier revision")
    for decision_id in ("decision-1", "unknown"):
        other = attrs.evolve(first, decision_id=decision_id, quality=0.0, revision=2)
        must_raise(StoreError, partial(store.add_feedback, [(other, None)]), f"a revision on another decision, {decision_id!r}")
    parts = whole_log(store, 1)
    require([item.quality for part in parts for item in part.feedback] == [1.0, 0.0], "both revisions must stay in the log, in their order")
    replaced = [item.quality for part in parts for item in part.replaced]
    require(replaced == [1.0], f"experience must carry the replaced revision along, and carries {replaced}")


def check_the_same_attempt_counts_once(store: Store) -> None:
    """An attempt that is logged twice is in the experience once; other content under its number is refused."""
    store.add_decisions(records(1))
    attempt = Attempt(ID, 0, CHOSEN, cost_usd=0.001, latency_ms=20.0)
    require(list(store.add_attempts([attempt])) == [0], "add_attempts must return the attempts' numbers")
    store.add_attempts([attempt])
    require(ids(whole_log(store, 100))[2] == [(ID, 0)], "an attempt that is logged twice must count once")
    must_raise(StoreError, lambda: store.add_attempts([attrs.evolve(attempt, cost_usd=0.002)]), "other content under an attempt's number")


def check_attempts_without_a_number_take_the_next(store: Store) -> None:
    """Attempts may come before their decision and without feedback; all their fields come back, and no figure is rounded."""
    called = Attempt(ID, None, CHOSEN, cost_usd=1.2345678901e-7, latency_ms=12.345678901, first_token_ms=5.0123456789)
    early = attrs.evolve(called, error="timed out", status="cancelled", prompt_tokens=7, cached_tokens=3, reasoning_tokens=2)
    require(list(store.add_attempts([early, Attempt(ID)])) == [0, 1], "attempts without a number must take the decision's next ones")
    store.add_decisions(records(1))
    require(list(store.add_attempts([Attempt(ID, cost_usd=0.5)])) == [2], "attempts without a number must take the decision's next ones")
    found = [attempt for part in whole_log(store, 100) for attempt in part.attempts]
    require([attempt.n for attempt in found] == [0, 1, 2], f"three attempts were given, and experience has {found}")
    given = attrs.asdict(attrs.evolve(early, n=0))
    returned = attrs.asdict(found[0])
    wrong = [name for name, value in given.items() if value == value and returned[name] != value]  # NaN is unequal to itself
    require(not wrong, f"an attempt came back changed in {', '.join(wrong)}")


def check_an_episode_is_read_in_log_order(store: Store) -> None:
    """``episode`` returns the records of decisions that share an episode's id."""
    given = [with_decision(record, episode=f"task-{n % 2}") for n, record in enumerate(records(4))]
    store.add_decisions(given)
    found = [record.decision.id for record in store.episode("task-1")]
    require(found == ["decision-1", "decision-3"], f"an episode must have its decisions in log order, not {found}")


def check_health_counts_pending_feedback(store: Store) -> None:
    """``health`` gives plain numbers, among them the feedback whose decision is not in the log."""
    store.add_feedback([(Feedback(decision_id="unknown", quality=1.0), None)])
    found = store.health()
    require(found.get("pending_feedback") == 1, f"health must count pending_feedback, and gives {dict(found)}")
    require(all(isinstance(value, int | float) for value in found.values()), "health must give plain numbers")


def check_experience_keeps_the_order_of_the_log(store: Store) -> None:
    """Read in pieces of any size, the log gives the same entries in the same order, each once."""
    for first in range(0, 12, 3):
        store.add_decisions(records(3, first))
        store.add_feedback([(Feedback(decision_id=f"decision-{first}", quality=0.5), None)])
    whole = ids(whole_log(store, 1000))
    require(whole[0] == [f"decision-{n}" for n in range(12)], f"decisions must be in the order of the log, not {whole[0]}")
    require(len(whole[1]) == 4, f"four pieces of feedback were given, and experience has {len(whole[1])}")
    for step in (1, 2, 5):
        parts = whole_log(store, step)
        known = all({entry.decision_id for entry in part.entries} <= set(part.rows) for part in parts)
        require(known, "a batch must bring the decisions of its feedback and attempts, also those that earlier batches had: routers read them")
        require(ids(parts) == whole, f"reading {step} entries at a time gives another experience")
        for before, after in pairwise(parts):
            follows = after.follows is None or before.last is None or after.follows == before.last
            why = "routers take a log with another entry there for one that lost entries, and learn it again from the start"
            require(follows, f"follows must name the entry before the batch, {before.last!r}, and not be {after.follows!r}: {why}")
        sizes = np.diff([sum(len(entries) for entries in ids(parts[:count])) for count in range(len(parts) + 1)])
        require(max(sizes) <= step, f"experience(limit={step}) must return at most {step} new entries, and returned {max(sizes)}")
    end = parts[-1].position
    require(store.position() == end, f"position must be {end}, where the experience of the whole log ends, not {store.position()}")


def check_outcomes_of_a_time(store: Store) -> None:
    """``outcomes`` gives the figures of decisions from ``since`` and before ``until``."""
    store.add_decisions([with_decision(each, time=100.0 * n) for n, each in enumerate(records(4), 1)])
    store.add_attempts([Attempt(f"decision-{n}", 0, CHOSEN, cost_usd=0.1 * n, latency_ms=10.0 * n) for n in range(4)])
    store.add_feedback([(Feedback(decision_id=f"decision-{n}", quality=0.25 * n), None) for n in range(4)])
    for since, until, rows in ((None, None, [0, 1, 2, 3]), (200.0, 400.0, [1, 2]), (250.0, None, [2, 3]), (None, 200.0, [0])):
        found, asked = store.outcomes(since, until), f"outcomes(since={since}, until={until})"
        expected = [f"decision-{n}" for n in rows]
        require(list(found.decision_ids) == expected, f"{asked} must give {expected}, not {list(found.decision_ids)}")
        for name, unit in (("quality", 0.25), ("cost_usd", 0.1), ("latency_ms", 10.0)):
            figures = unit * np.array(rows)
            require(equal(getattr(found, name), figures), f"{asked} must give {name} {figures}, not {getattr(found, name)}")


def check_several_threads_write(store: Store) -> None:
    """Several threads write at once, and every entry is in the log."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.add_decisions(records(1, n)), range(32)))
        list(threads.map(lambda n: store.add_feedback([(Feedback(decision_id=f"decision-{n}", quality=1.0), None)]), range(32)))
        decisions, feedback, _ = ids(whole_log(store, 1000))
        require(sorted(decisions) == sorted(f"decision-{n}" for n in range(32)), "decisions of several threads were lost or doubled")
        require(len(feedback) == len(set(feedback)) == 32, "feedback of several threads was lost or doubled")


def check_several_threads_write_to_one_decision(store: Store) -> None:
    """Attempts without a number that several threads add to one decision take numbers 0, 1, 2 and so on, each once."""
    store.add_decisions(records(1))
    given = from_threads(lambda attempt: store.add_attempts([attempt])[0], [Attempt(ID)] * THREADS)
    numbers = sorted(number for of_thread in given for number in of_thread)
    advice = "choose the number and write the entry under one lock, or in one transaction"
    require(numbers == list(range(len(numbers))), f"attempts of several threads must take each number once, and took {numbers!r:.80}: {advice}")
    logged = sorted(number for _, number in ids(whole_log(store, 1000))[2] if number is not None)
    require(logged == numbers, f"the log must have each of {len(numbers)} attempts of several threads once, and has {len(logged)}: {advice}")


CHECKS = tuple(map(on_empty_store, checks_in(__name__)))
