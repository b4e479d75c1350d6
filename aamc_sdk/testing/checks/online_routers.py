"""Checks of routers that learn from the log."""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import TypeVar

import attrs
import numpy as np

from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import OnlineRouter
from aamc_sdk.log import MemoryStore
from aamc_sdk.serving import state_of
from aamc_sdk.serving.learner.component_state import restore
from aamc_sdk.testing.checks.components import require_same
from aamc_sdk.testing.checks.scores import request_of, require_scores, same_scores
from aamc_sdk.testing.findings import after, checks_in, must_raise, require, require_type, skip
from aamc_sdk.testing.sample_data import POOL, estimates_of, make_dataset
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Attempt, Decision, Experience, Feedback, Preference, RoutingRequest

_ROUNDING = 1e-6
_Asked = TypeVar("_Asked", RoutingRequest, Experience)


def _skip_unless_it_learns(subject: Subject) -> None:
    if not issubclass(subject.target, OnlineRouter):
        skip("it does not learn from the log: it is not an OnlineRouter")


def _skip_without_snapshots(subject: Subject) -> None:
    if not subject.target.snapshots:
        skip("snapshots is False: a restart learns the whole log again")


def check_learning_does_not_depend_on_batches(subject: Subject) -> None:
    """The log may be divided into batches anywhere, with requests between them: a decision comes again with later feedback, and counts once."""
    whole, divided, request = subject.reloaded(subject.trained), subject.reloaded(subject.trained), users_request(subject)
    whole.learn(example_log())
    for row, batch in enumerate(_batches()):
        divided.learn(batch)
        divided.score(request.take(np.array([row])))
    advice = "learn a decision when it is made (the last `made` of a batch), and feedback when it comes; learn from the log alone, not in score"
    require(same_scores(whole.score(request), divided.score(request)), f"the scores depend on how the log is divided into batches: {advice}")
    if same_scores(whole.score(request), subject.trained.score(request)):
        skip(f"learning the kit's log of {len(example_log().decisions)} decisions, each with feedback, changes no score")


def check_the_log_stays_as_it_is(subject: Subject) -> None:
    """``learn`` changes nothing in its experience, which is the log's own in a store in memory."""
    given, before = example_log(), example_log()
    subject.reloaded(subject.trained).learn(given)
    require_same(before, given, "experience", "learn")


def check_learning_survives_a_save(subject: Subject) -> None:
    """Learning with a save and a load between any two batches gives the same scores as learning without, also for feedback that comes later."""
    _skip_without_snapshots(subject)
    whole, saved = subject.reloaded(subject.trained), subject.reloaded(subject.trained)
    for batch in _batches():
        whole.learn(batch)
        saved = subject.reloaded(saved)
        saved.learn(batch)
    request = users_request(subject)
    alike = all(same_scores(whole.score(request), router.score(request), 1e-9) for router in (saved, subject.reloaded(saved)))
    require(alike, "a save and a load between two batches change the learned state: save everything that learn adds, unrounded")


def check_a_load_replaces_what_was_learned(subject: Subject) -> None:
    """Loading an earlier state removes everything learned since, as forgetting a user requires."""
    _skip_without_snapshots(subject)
    router, request = subject.reloaded(subject.trained), users_request(subject)
    before, state = router.score(request), state_of(router)
    router.learn(example_log())
    restore(router, state)
    require(same_scores(router.score(request), before), "scores after a load depend on learning before it")
    _require_same_state(state, state_of(router), "a state saved after a load depends on learning before it", "load must replace all that was learned")


def check_a_copy_follows_the_deltas(subject: Subject) -> None:
    """A copy that applies each ``delta``, of one or several batches, is in the learner's state to the bit."""
    _skip_without_snapshots(subject)
    learner, copied, request = subject.reloaded(subject.trained), subject.reloaded(subject.trained), users_request(subject)
    log = _batches()
    for batches in (log[:3], log[3:]):
        for batch in batches:
            learner.learn(batch)
        delta = learner.delta()
        if delta is None:
            skip("delta returns None: copies load its whole state")
        require_type(delta, bytes, "delta must return bytes, which are sent to other processes, or None")
        copied.apply_delta(delta)
        advice = "delta must bring all that was learned since its last call"
        require(same_scores(learner.score(request), copied.score(request), 0.0), f"a copy that applied the delta scores differently: {advice}")
        _require_same_state(state_of(learner), state_of(copied), "a copy that applied the delta saves another state", advice)
    nothing = learner.delta()
    require_type(nothing, bytes, "delta must return bytes where nothing has changed too")
    copied.apply_delta(nothing)
    _require_same_state(state_of(learner), state_of(copied), "a delta without anything learned changes a copy's state", "it must bring no changes")
    must_raise(CheckpointError, lambda: copied.apply_delta(delta[: len(delta) // 2]), "apply_delta of a delta cut in half")


def _require_same_state(expected: bytes, found: bytes, failure: str, advice: str) -> None:
    """Raise AssertionError with the first file that differs between two states."""
    saved, again = _files(expected), _files(found)
    for name in sorted(saved.keys() | again.keys()):
        if saved.get(name) != again.get(name):
            is_reordered = name.endswith(".json") and name in saved and name in again and json.loads(saved[name]) == json.loads(again[name])
            how = "has the same values in another order; save them sorted" if is_reordered else f"differs; {advice}"
            raise AssertionError(f"{failure}: {name} {how}")


def _files(state: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(state)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def check_a_revision_replaces_what_it_revises(subject: Subject) -> None:
    """Feedback that was revised from 1 to 0 counts as feedback of 0 alone, or nearly so where older feedback counts less."""
    log, request = example_log(8, feedback=False), users_request(subject)
    again, decision = log.take(np.array([0])), log.decisions[0]
    first = Feedback(decision_id=decision.id, candidate=decision.candidate, quality=1.0, confidence=0.5)
    last = attrs.evolve(first, quality=0.0)
    revision, other = attrs.evolve(last, revision=1), attrs.evolve(last, id="another")
    revised, both, alone = (subject.reloaded(subject.trained) for _ in range(3))
    for router, feedback, later, replaced in ((revised, first, [revision], [first]), (both, first, [other], ()), (alone, last, (), ())):
        router.learn(attrs.evolve(log, entries=[*log.attempts, feedback]))
        router.learn(attrs.evolve(again, position=log.position + 1, made=0, entries=later, replaced=replaced))
    wanted = alone.score(request).utility
    off, off_of_both = (np.abs(router.score(request).utility - wanted).max() for router in (revised, both))
    advice = "take back what a revision replaced (experience.replaced_by), with the weight that it had"
    require(off <= max(off_of_both / 2, _ROUNDING), f"feedback that was revised from 1 to 0 does not count as feedback of 0: {advice}")


def check_feedback_of_no_weight_teaches_nothing(subject: Subject) -> None:
    """Feedback of weight 0, or of confidence 0, changes no score: both are in its ``average_weight``."""
    log, request = example_log(8, feedback=False), users_request(subject)
    without = subject.reloaded(subject.trained)
    without.learn(log)
    for name, weight, confidence in (("weight", 0.0, 1.0), ("confidence", 1.0, 0.0)):
        weightless = [
            Feedback(decision_id=one.id, candidate=one.candidate, quality=row % 2, weight=weight, confidence=confidence)
            for row, one in enumerate(log.decisions)
        ]
        router = subject.reloaded(subject.trained)
        router.learn(attrs.evolve(log, entries=[*log.attempts, *weightless]))
        alike = same_scores(without.score(request), router.score(request))
        require(alike, f"feedback of {name} 0 changes the scores: count each piece by its average_weight, which is weight times confidence")


def check_feedback_counts_for_the_candidate_that_it_names(subject: Subject) -> None:
    """Feedback on a candidate other than the chosen one, such as after a fallback, is not learned as feedback on the chosen one."""
    log, request = example_log(8, feedback=False), users_request(subject)
    decision = log.decisions[0]
    found = []
    for named in (decision.candidate, POOL.names[1], None):
        router = subject.reloaded(subject.trained)
        judged = [Feedback(decision_id=decision.id, candidate=named, quality=0.25)] if named else []
        router.learn(attrs.evolve(log, entries=[*log.attempts, *judged]))
        found.append(router.score(request))
    chosen, other, nothing = found
    alike = same_scores(chosen, other, 1e-9) and not same_scores(chosen, nothing, 1e-9)
    require(not alike, "feedback on another candidate counts for the chosen one: feedback.candidate is the candidate that was judged")


def check_comparisons_do_not_stop_learning(subject: Subject) -> None:
    """A comparison, which has no quality, is learned or left out; an error would end learning for good."""
    router, log = subject.reloaded(subject.trained), example_log(8)
    names = POOL.names
    compared = [Feedback(decision_id=decision.id, candidate=names[1], over=names[0], tie=n % 2 == 1) for n, decision in enumerate(log.decisions)]
    router.learn(attrs.evolve(log, entries=[*log.attempts, *compared]))
    require_scores(router.score(users_request(subject)), users_request(subject))


def check_unknown_figures_do_not_spread(subject: Subject) -> None:
    """Attempts, users and sessions that are unknown (NaN, None) end no learning, and leave the scores finite."""
    router, request = subject.reloaded(subject.trained), users_request(subject)
    router.learn(example_log())
    require_scores(router.score(request), request)


def check_forgotten_users_leave_the_state(subject: Subject) -> None:
    """After ``prepare_replay``, no saved file has the name of a user whom the log has forgotten, and such a user scores as a new one does.

    So too where users belong to a tenant: equal names of two tenants are two users.
    """
    _skip_without_snapshots(subject)
    _require_forgotten(subject, None, "")
    _require_forgotten(subject, "tenant", "; name users by aamc_sdk.types.tenant_user(query.user, query.tenant)")


def _require_forgotten(subject: Subject, tenant: str | None, hint: str) -> None:
    learned, request = subject.reloaded(subject.trained), _of_tenant(users_request(subject), tenant)
    names = sorted({query.user for query in request.queries if query.user})
    unseen = attrs.evolve(request, queries=[attrs.evolve(query, user=f"new-{query.user}") for query in request.queries])
    alike = same_scores(learned.score(request), learned.score(unseen))  # otherwise the name itself decides, as where it divides the traffic
    learned.learn(_of_tenant(example_log(), tenant))
    router = subject.reloaded(learned)
    log = MemoryStore("memory:", MemoryStore.Config(store_text=True))
    for name in names:
        log.forget(name, tenant)
    router.prepare_replay(log)
    advice = f"override prepare_replay and drop the users in log.forgotten(users), as retention may have dropped their decisions{hint}"
    left = [f"{file} has {name!r}" for file, content in _files(state_of(router)).items() for name in names if name.encode() in content]
    require(not left, f"users whom the log has forgotten are still in the state ({', '.join(left)}): {advice}")
    kept = alike and not same_scores(router.score(request), router.score(unseen))
    require(not kept, f"a user whom the log has forgotten does not score as a new user does: {advice}")


def _of_tenant(batch: _Asked, tenant: str | None) -> _Asked:
    """Return a request or an experience whose queries are of a tenant, and of users whom the training data, which has no tenants, does not name."""
    if tenant is None:
        return batch
    named = [attrs.evolve(query, tenant=tenant, user=query.user and f"{tenant}-{query.user}") for query in batch.queries]
    return attrs.evolve(batch, queries=named)


def users_request(subject: Subject) -> RoutingRequest:
    """Return a request of the users and sessions of :func:`example_log`, and of a user that it lacks."""
    request = request_of(subject)
    queries = [attrs.evolve(query, user=f"user-{row % 5}", session=f"session-{row % 2}") for row, query in enumerate(request.queries)]
    return attrs.evolve(request, queries=queries)


def example_log(size: int = 16, feedback: bool = True) -> Experience:
    """Return decisions of four users, with attempts, of which every other one has no known cost, and with feedback as a log has it.

    The sixth has no user, and the seventh no session, as requests may lack both. The last pieces of feedback are a revision of the first, and a
    second source that judges a candidate other than the chosen one.
    """
    dataset = make_dataset(size, first=3000)
    queries = [
        attrs.evolve(query, user=None if row == 5 else f"user-{row % 4}", session=None if row == 6 else f"session-{row % 2}")
        for row, query in enumerate(dataset.queries)
    ]
    decisions = [Decision(f"{row}", POOL.names[row % len(POOL)], 0.25, Preference()) for row in range(size)]
    attempts = [Attempt(one.id, 0, one.candidate, cost_usd=(math.nan, 0.001)[row % 2]) for row, one in enumerate(decisions)]
    judged = [Feedback(decision_id=one.id, candidate=one.candidate, quality=row * 0.618034 % 1) for row, one in enumerate(decisions)]
    last = [attrs.evolve(judged[0], quality=0.123456, revision=1), Feedback(decision_id="1", candidate=POOL.names[0], quality=0.9, source="judge")]
    experience = Experience(3 * size + 2, queries, estimates_of(dataset), decisions, attempts, made=size)
    return attrs.evolve(experience, entries=[*attempts, *judged, *last], replaced=judged[:1]) if feedback else experience


def _batches() -> list[Experience]:
    """Return the entries of :func:`example_log` as a store gives them: two halves, each with its decisions, then their calls and feedback."""
    log, half = example_log(), 8
    early, late, again = np.arange(half), np.arange(half, 2 * half), np.array([0, 1, *range(half, 2 * half)])
    parts = [(early, half, slice(0)), (early, 0, slice(half)), (late, half, slice(0)), (again, 0, slice(half, None))]
    batches, position = [], 0
    for rows, made, followed in parts:
        entries: list[Attempt | Feedback] = [*log.attempts[followed], *log.feedback[followed]]
        position += made + len(entries)
        part = attrs.evolve(log.take(rows), made=made, position=position, entries=entries)
        batches.append(attrs.evolve(part, replaced=[one for one in log.replaced if any(new.revision for new in part.feedback)]))
    return batches


ONLINE_CHECKS = tuple(after(_skip_unless_it_learns, check) for check in checks_in(__name__))
