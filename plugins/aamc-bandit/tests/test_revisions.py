"""A revision counts where the first one was, in every router that learns from feedback, and nothing ages by it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from aamc_bandit.feedback_outcomes import MAX_PIECES
from aamc_bandit.linear.router import LinearThompson
from aamc_bandit.semantic_router.ratings import CandidateRating
from aamc_bandit.thompson.router import Thompson
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk.config import configure
from aamc_sdk.interfaces import OnlineRouter, Services
from aamc_sdk.routing import LinearReward
from aamc_sdk.serving import restore, state_of
from aamc_sdk.types import Attempt, Decision, Estimates, Experience, Feedback, ModelSpec, Pool, Preference, Query

POOL = Pool([ModelSpec("a"), ModelSpec("b"), ModelSpec("c")])
CATEGORIES = ("code", "chat")
OPTIONS = [{}, {"discount": 0.9}, {"discount": 1.0}, {"window": 3}]
ROUTERS = [("thompson", options) for options in OPTIONS] + [("linear-thompson", options) for options in OPTIONS[:3]]


def made(name: str, options: dict[str, Any]) -> OnlineRouter:
    kind: Any = Thompson if name == "thompson" else LinearThompson
    router: OnlineRouter = kind(configure(kind.Config, options), Services(pool=POOL, reward=LinearReward(), make=lambda *_: None, seed=0))
    return router


def learn(router: OnlineRouter, *entries: Feedback | Attempt, replaced: tuple[Feedback, ...] = (), user: str | None = None) -> None:
    """Learn entries on decisions whose user, session and category follow from their ids."""
    names = list(dict.fromkeys(entry.decision_id for entry in entries))
    numbers = [sum(name.encode()) for name in names]
    categories = np.array([[1.0, 0.0] if number % 2 else [0.0, 1.0] for number in numbers])
    nothing = np.full(len(names), np.nan)
    experience = Experience(
        len(entries),
        [Query("?", user=user or f"user {number % 3}", session=f"session {number % 5}") for number in numbers],
        Estimates(nothing, categories, CATEGORIES, nothing),
        [Decision(name, "a", 0.5, Preference()) for name in names],
        entries,
        replaced=replaced,
    )
    router.learn(experience)


def judged(decision: str, quality: float, revision: int = 0, **fields: Any) -> Feedback:
    return Feedback(decision_id=decision, **{"candidate": "a", "id": f"{decision}/1", **fields}, quality=quality, revision=revision)


def numbers(router: OnlineRouter) -> dict[str, list[float]]:
    """Return all that a router learned, by name."""
    if isinstance(router, LinearThompson):
        return {name: [*own.precision.ravel().tolist(), *own.response.tolist(), float(own.count)] for name, own in sorted(router._statistics.items())}
    assert isinstance(router, Thompson)
    levels = ("global", "category", "user", "session")
    return {
        f"{level} {entity} {name}": [*router.evidence.table(level, entity, [name])[0].tolist(), *msgspec.structs.astuple(known.candidates[name])[4:]]
        for level in levels
        for entity, known in router.evidence.entities(level).items()
        for name in sorted(known.candidates)
    }


VERDICT = st.tuples(st.integers(0, 11), st.sampled_from([0.0, 0.3, 0.7, 1.0]))


@pytest.mark.parametrize(("name", "options"), ROUTERS)
@settings(max_examples=25, deadline=None)
@given(verdicts=st.lists(VERDICT, max_size=40))
def test_revisions_equal_final_verdicts_at_the_places_of_the_first_ones(
    name: str, options: dict[str, Any], verdicts: list[tuple[int, float]]
) -> None:
    revised, known, final = made(name, options), {}, {}
    for number, quality in verdicts:
        decision = f"decision {number}"
        kind = {"candidate": POOL.names[number % 3], "weight": 0.5 + number / 8, "source": "implicit" if number % 4 == 0 else "explicit"}
        before = known.get(decision)
        if number % 5 == 0:  # a comparison, whose winner may change
            names = ("b", "c") if quality > 0.5 else ("c", "b")
            revision = 0 if before is None else before.revision + 1
            given_ = Feedback(
                decision_id=decision, id=decision, weight=kind["weight"], source="judge", candidate=names[0], over=names[1], revision=revision
            )
        else:
            given_ = judged(decision, quality, 0 if before is None else before.revision + 1, **kind)
        learn(revised, given_, replaced=() if before is None else (before,))
        known[decision] = final[decision] = given_
    at_once = made(name, options)
    for feedback in final.values():  # in the order of the first ones
        learn(at_once, feedback)
    expected, found = numbers(at_once), numbers(revised)
    assert list(expected) == list(found)
    for key, row in expected.items():
        assert found[key] == pytest.approx(row, rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize("name", ["thompson", "linear-thompson"])
def test_revising_old_verdicts_leaves_the_evidence_of_a_candidate(name: str) -> None:
    router, never = made(name, {}), made(name, {})
    old = [judged(f"old {n}", 1.0) for n in range(30)]
    for each in (router, never):
        for n, feedback in enumerate(old):
            learn(each, feedback if each is router else judged(f"old {n}", 0.9))
        learn(each, *(judged(f"new {n}", 0.7, candidate=name) for n in range(700) for name in "ab"))
    for n, feedback in enumerate(old):
        learn(router, judged(f"old {n}", 0.9, 1), replaced=(feedback,))
    for key, row in numbers(never).items():
        assert numbers(router)[key] == pytest.approx(row, rel=1e-9, abs=1e-9)


def evidence_on(router: OnlineRouter, candidate: str) -> Any:
    """Return what a router counts on a candidate: its wins, or the weights of its features in linear Thompson sampling."""
    if isinstance(router, LinearThompson):
        return np.diag(router._statistics[candidate].precision)
    assert isinstance(router, Thompson)
    return router.evidence.table("global", "", [candidate])[0, :1]


@pytest.mark.parametrize(("name", "options"), [each for each in ROUTERS if "window" not in each[1]])  # in a window, tiny pieces are pieces
def test_a_decision_ages_evidence_by_its_limit_at_most(name: str, options: dict[str, Any]) -> None:
    clicked, reference = made(name, options), made(name, options)
    aged = "b" if name == "linear-thompson" else "a"  # there each candidate's evidence ages by its own feedback alone
    for router in (clicked, reference):
        learn(router, *(judged(f"good {n}", 1.0, candidate=aged) for n in range(40)), user="others")
    others, before = evidence_on(reference, aged).copy(), None
    for n in range(300):  # by one person on one decision
        click = judged("d", float(n % 2), n, candidate="b", source="implicit:thumbs")
        learn(clicked, click, judged("d", 1.0, id=f"none {n}", confidence=0.0, source=f"s{n}"), replaced=() if before is None else (before,))
        before = click
    learn(clicked, *(judged("d", 1.0, id=f"tiny {n}", confidence=1e-6, source=f"t{n}", candidate="b") for n in range(300)))
    learn(reference, judged("d", 1.0, candidate="b", source="implicit:thumbs"))
    known = others > 0  # the least is kept of features that only the others have
    kept, expected = ((evidence_on(router, aged)[known] / others[known]).min() for router in (clicked, reference))
    assert kept == pytest.approx(expected, rel=1e-4)
    assert (expected < 1) == (options.get("discount") != 1.0)


def test_pieces_without_weight_are_few_in_memory_and_none_in_evidence() -> None:
    router = made("thompson", {})
    assert isinstance(router, Thompson)
    learn(router, *(judged("d", 1.0, id=f"none {n}", confidence=0.0, source=f"s{n}") for n in range(3 * MAX_PIECES)))
    assert len(router._ledger._decisions["d"]) == MAX_PIECES
    assert not router.evidence.entities("global")


def test_a_lighter_revision_frees_no_room_for_further_feedback() -> None:
    router = made("thompson", {"discount": 0.5})
    assert isinstance(router, Thompson)
    learn(router, judged("good", 1.0))
    for n in range(20):
        first = judged("d", 1.0, id=f"{n}", weight=3.0, candidate="b")
        learn(router, first)
        learn(router, judged("d", 1.0, 1, id=f"{n}", weight=0.0, candidate="c" if n % 2 else "b"), replaced=(first,))
    (wins, losses, total, _) = router.evidence.table("global", "", ["a"])[0]
    assert (wins, losses, total) == (0.5**3, 0, 1)


@pytest.mark.parametrize("options", [{"discount": 1.0}, {}])
def test_a_users_last_verdict_counts_however_often_it_was_revised(options: dict[str, Any]) -> None:
    router = made("thompson", {"max_user_weight": 5.0, **options})
    assert isinstance(router, Thompson)
    before = None
    for n in range(30):
        verdict = judged("d", float(n % 2), n)
        learn(router, verdict, replaced=() if before is None else (before,))
        before = verdict
        assert router.evidence.table("global", "", ["a"])[0].tolist() == [n % 2, 1 - n % 2, 1, n % 2]
    learn(router, *(judged(f"e{n}", 1.0) for n in range(30)), user=f"user {ord('d') % 3}")
    assert router.evidence.table("global", "", ["a"])[0, 2] == 5


def test_revisions_of_a_dropped_user_change_the_other_levels_only() -> None:
    router = made("thompson", {"max_users": 1, "discount": 0.5})
    assert isinstance(router, Thompson)
    first = judged("d", 1.0)
    learn(router, first, user="ann")
    for user in ("bob", "ann"):
        learn(router, judged(f"of {user}", 1.0, candidate="b"), user=user)
    learn(router, judged("d", 0.0, 1), replaced=(first,), user="ann")
    assert router.evidence.table("user", "ann", ["a", "b"])[:, :2].tolist() == [[0, 0], [1, 0]]
    assert router.evidence.table("global", "", ["a", "b"])[:, :2].tolist() == [[0, 0.25], [1.5, 0]]


def test_revisions_of_a_dropped_user_with_imported_ratings_leave_the_later_entity_alone() -> None:
    """The clock of imported ratings may be ahead of the global one, at which the later entity begins."""
    router, other = (made("thompson", {"max_users": 1, "discount": 0.5}) for _ in range(2))
    assert isinstance(router, Thompson)
    router.evidence.add_ratings("user", "ann", {"a": CandidateRating(30, 20, 50)}, 0.0)
    first = judged("d", 1.0)
    learn(router, first, user="ann")
    for user in ("bob", "ann"):
        learn(router, judged(f"of {user}", 1.0, candidate="b"), user=user)
    learn(router, judged("d", 0.0, 1), replaced=(first,), user="ann")
    assert router.evidence.table("user", "ann", ["a", "b"])[:, :2].tolist() == [[0, 0], [1, 0]]
    restore(other, state_of(router))


@pytest.mark.parametrize("name", ["thompson", "linear-thompson"])
def test_a_revision_to_other_candidates_ages_nothing(name: str) -> None:
    router = made(name, {"discount": 0.5})
    first, second = judged("d", 1.0, weight=2.0), judged("d", 1.0, 1, weight=2.0, candidate="b")
    for number in range(3):
        learn(router, judged(f"others {number}", 1.0, candidate="c"))
    learn(router, first)
    before = numbers(router)
    learn(router, second, replaced=(first,))
    learn(router, judged("d", 1.0, 2, weight=2.0), replaced=(second,))
    after = numbers(router)
    for key, row in before.items():
        assert after[key] == pytest.approx(row, abs=1e-12)


@pytest.mark.parametrize(("name", "options"), ROUTERS)
def test_a_failed_call_takes_the_place_of_withdrawn_feedback(name: str, options: dict[str, Any]) -> None:
    withdrawn, never = made(name, options), made(name, options)
    failure, first = Attempt("d", candidate="a", error="down"), judged("d", 1.0)
    for router, entries in ((withdrawn, (first, failure)), (never, (failure,))):
        learn(router, judged("before", 0.7), *entries, judged("after", 0.7), judged("other", 0.3, candidate="b"))
    learn(withdrawn, judged("d", 1.0, 1, weight=0.0), replaced=(first,))
    for key, row in numbers(never).items():
        assert numbers(withdrawn)[key] == pytest.approx(row, rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize("name", ["thompson", "linear-thompson"])
def test_places_survive_a_snapshot(name: str) -> None:
    router, other = made(name, {}), made(name, {})
    first = judged("d", 1.0)
    learn(router, first, *(judged(f"e{n}", 0.5) for n in range(50)))
    restore(other, state_of(router))
    for each in (router, other):
        learn(each, judged("d", 0.0, 1), replaced=(first,))
    assert state_of(router) == state_of(other)
