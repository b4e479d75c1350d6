"""Votes on the answers of the arena: one vote of each voter, on the answers that were shown."""

from __future__ import annotations

import asyncio

import pytest
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.shared import SharedState
from aamc_gateway.access.shared.sqlite_backend import SqliteBackend
from aamc_gateway.arena.ballots import Ballots
from aamc_gateway.server.settings import ArenaSettings

from aamc_sdk import MetaController
from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.routing import uniform
from aamc_sdk.types import ModelSpec, Pool, Prices

ANN, BEN = Caller(key_id="1", name="ann"), Caller(key_id="2", name="ben", admin=True)


@pytest.fixture
def controller():
    pool = Pool([ModelSpec(name, prices=Prices(1.0, 2.0)) for name in ("small", "middle", "large")])
    with MetaController.build(router="thompson", pool=pool) as made:
        yield made


@pytest.fixture
def shared():
    return SharedState(SqliteBackend(None))


def ballots_of(controller, shared, **settings):
    return Ballots(ArenaSettings(**settings), shared, ErasableValues(shared, controller.store), controller)


async def offered(controller, ballots, names=("small", "middle", "large")):
    """Offer answers to Ann for a vote, and return the decision's id."""
    decision = controller.route("hello")
    await ballots.offer(controller.store.record(decision.id), "hello", [(name, f"Answer of {name}.") for name in names], ANN)
    return decision.id


def compared(controller):
    """Return the comparisons in the log: source, winner and loser."""
    return [(feedback.source, feedback.candidate, feedback.over) for feedback in controller.store.experience().feedback]


async def label(ballots, decision_id, candidate):
    """Return the label of a candidate's answer."""
    match = await ballots.find(decision_id, ANN)
    return "ABC"[[name for name, _ in match["answers"]].index(candidate)]


def test_answers_that_wait_are_voted_on_after_the_number_of_candidates_has_changed(controller, shared):
    async def vote() -> int:
        decision_id = await offered(controller, ballots_of(controller, shared, candidates=3))
        later = ballots_of(controller, shared, candidates=2)
        return (await later.vote(decision_id, await label(later, decision_id, "small"), ANN))["new"]

    assert asyncio.run(vote()) == 2
    assert {("vote:1", "small", "middle"), ("vote:1", "small", "large")} == set(compared(controller))


def test_no_tenant_displaces_the_answers_that_wait_for_the_vote_of_another(controller, shared):
    answers = [(name, f"Answer of {name}.") for name in ("small", "large")]

    async def waiting() -> list[bool]:
        ballots, ids = ballots_of(controller, shared, keep_mb=0.1), []
        for tenant in (None, "acme", *["other"] * 5):
            decision = controller.route("hello", tenant=tenant)
            caller = Caller(key_id="1", tenant=tenant)
            await ballots.offer(controller.store.record(decision.id), "x" * 40_000, answers, caller)
            ids.append((decision.id, caller))
        found = await asyncio.gather(*(ballots.find(*each) for each in ids), return_exceptions=True)
        return [not isinstance(each, Refused) for each in found]

    assert asyncio.run(waiting()) == [True, True, False, False, False, True, True]


def test_the_ids_of_comparisons_stay_as_they_are_so_that_a_vote_is_known_again_after_an_upgrade(controller, shared):
    async def vote() -> list[str]:
        ballots = ballots_of(controller, shared)
        controller.route("hello", decision_id="d")
        answers = [(name, f"Answer of {name}.") for name in ("small", "middle", "large")]
        await ballots.offer(controller.store.record("d"), "hello", answers, ANN)
        shown = [candidate for candidate, _ in (await ballots.find("d", ANN))["answers"]]
        await ballots.vote("d", "B", ANN)
        await ballots.vote("d", "tie", Caller(key_id="", name="", admin=True))
        return shown

    first, second, third = asyncio.run(vote())
    assert sorted(("small", "middle", "large"), key=lambda name: uniform(controller.seed, f"d/shown/{name}")) == [first, second, third]
    assert {each.id: (each.candidate, each.over, each.tie) for each in controller.store.experience().feedback} == {
        "d/vote:1/1": (second, first, False),
        "d/vote:1/2": (second, third, False),
        "d/vote/1": (first, second, True),
        "d/vote/2": (first, third, True),
    }


@pytest.mark.parametrize("other", [Caller(key_id="admin", name="ann", admin=True), Caller(key_id="3", name="x" * 512, admin=True)])
def test_each_key_has_a_vote_of_its_own_whatever_its_name(controller, shared, other):
    async def vote() -> list[int]:
        ballots = ballots_of(controller, shared)
        decision_id = await offered(controller, ballots)
        return [(await ballots.vote(decision_id, winner, voter))["new"] for winner, voter in (("A", ANN), ("B", other))]

    assert asyncio.run(vote()) == [2, 2]


@pytest.mark.parametrize("votes", [("A", "B", "C"), ("A", "tie"), ("tie", "C")], ids=lambda votes: "-".join(votes))
def test_of_different_votes_at_the_same_time_one_counts(controller, shared, votes):
    async def vote() -> list[int]:
        ballots, statuses = ballots_of(controller, shared), []
        for _ in range(10):
            decision_id = await offered(controller, ballots)
            found = await asyncio.gather(*(ballots.vote(decision_id, winner, ANN) for winner in votes), return_exceptions=True)
            statuses.append(sorted(each.status if isinstance(each, Refused) else 200 for each in found))
        return statuses

    assert [[200, *[409] * (len(votes) - 1)]] * 10 == asyncio.run(vote())
    assert len(compared(controller)) == 20


def test_a_vote_that_the_log_did_not_take_can_be_repeated_or_changed(controller, shared, monkeypatch):
    def fail(comparisons):
        raise StoreError("the disk is full")

    async def vote() -> list[int]:
        ballots = ballots_of(controller, shared)
        decision_id = await offered(controller, ballots)
        with monkeypatch.context() as patch:
            patch.setattr(controller, "feedback_batch", fail)
            with pytest.raises(StoreError):
                await ballots.vote(decision_id, "A", ANN)
        return [(await ballots.vote(decision_id, winner, voter))["new"] for winner, voter in (("B", ANN), ("B", ANN), ("A", BEN))]

    assert asyncio.run(vote()) == [2, 0, 2]


def test_answers_are_not_lost_while_they_cannot_be_kept_for_a_vote(controller, shared, monkeypatch):
    async def away(*arguments, **options):
        raise StoreAwayError("the shared state is away")

    async def offer() -> bool:
        monkeypatch.setattr(shared, "put", away)
        decision = controller.route("hello")
        return await ballots_of(controller, shared).offer(controller.store.record(decision.id), "hello", [("small", "a"), ("large", "b")], ANN)

    assert asyncio.run(offer()) is False


def test_a_tie_is_a_comparison_of_all_answers(controller, shared):
    async def vote() -> int:
        ballots = ballots_of(controller, shared)
        return (await ballots.vote(await offered(controller, ballots), "tie", ANN))["new"]

    assert asyncio.run(vote()) == 2
    assert [(feedback.tie, feedback.weight) for feedback in controller.store.experience().feedback] == [(True, 0.5)] * 2
