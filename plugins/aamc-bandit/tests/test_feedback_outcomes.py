"""How feedback and failed calls count: limits by source, decision, user and tenant, and the loss of a failure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.feedback_outcomes import DAY_S, OutcomeLedger, OutcomeOptions, candidate_qualities
from aamc_bandit.linear.router import LinearThompsonOptions
from aamc_bandit.thompson.options import ThompsonOptions

from aamc_sdk import MetaController, get_plugin_manager
from aamc_sdk.errors import CheckpointError
from aamc_sdk.log import open_store
from aamc_sdk.types import Attempt, Decision, Estimates, Experience, Feedback, ModelSpec, Pool, Preference, Prices, Query, Record, tenant_user

ROUTERS = ["thompson", "epsilon-greedy", "linear-thompson"]


def experience(*entries: Attempt | Feedback, user: str | None = None, tenant: str | None = None, replaced: Iterable[Feedback] = ()) -> Experience:
    """Return entries on decisions of the candidate small, in their order."""
    names = list(dict.fromkeys(entry.decision_id for entry in entries))
    return Experience(
        len(entries),
        [Query("?", user=user, tenant=tenant)] * len(names),
        Estimates.unknown(len(names)),
        [Decision(name, "small", 0.5, Preference()) for name in names],
        entries,
        replaced=tuple(replaced),
    )


def judged(decision: str = "d", quality: float = 1.0, **fields: Any) -> Feedback:
    return Feedback(decision_id=decision, candidate="small", quality=quality, **fields)


def failed(decision: str = "d", candidate: str = "small") -> Attempt:
    return Attempt(decision, candidate=candidate, error="refused")


def counted(*batches: Experience, **options: Any) -> dict[str, tuple[float, float]]:
    """Return the weighted wins and losses of each candidate."""
    ledger, found = OutcomeLedger(OutcomeOptions(**options)), {}
    for batch in batches:
        for outcome in ledger.outcomes(batch):
            for name, quality in outcome.qualities:
                wins, losses = found.get(name, (0.0, 0.0))
                weight = outcome.weight if outcome.added else -outcome.weight
                found[name] = wins + weight * quality, losses + weight * (1 - quality)
    return found


def test_feedback_on_the_answer_of_an_orchestrator_counts_for_no_candidate_and_its_failed_calls_do() -> None:
    made = [Decision(name, "small", float("nan"), Preference(), episode="e") for name in ("first", "last")]
    steps = [Record.of_step(decision, Query("?"), ["small"]).decision for decision in made]
    given = attrs.evolve(experience(failed("first"), judged("last")), decisions=steps)
    assert counted(given) == {"small": (0.0, 1.0)}


def test_one_piece_of_feedback_counts_up_to_its_sources_limit(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert counted(experience(judged(weight=1_000_000.0), judged("e", weight=1_000_000.0))) == {"small": (6.0, 0.0)}
    assert caplog.text.count("weighs more than max_source_weight allows (3)") == 1


def test_a_source_counts_up_to_its_limit_under_any_ids() -> None:
    assert counted(experience(*(judged(id=f"{n}") for n in range(10)))) == {"small": (3.0, 0.0)}
    assert counted(experience(*(judged(id=f"{n}") for n in range(10))), max_source_weight=7.0) == {"small": (5.0, 0.0)}


def test_new_sources_on_a_decision_count_up_to_the_decisions_limit() -> None:
    assert counted(experience(*(judged(source=f"bot {n}") for n in range(100)))) == {"small": (5.0, 0.0)}
    assert counted(*(experience(judged(source=f"bot {n}")) for n in range(100)), max_decision_weight=8.5) == {"small": (8.5, 0.0)}


def test_many_pieces_without_weight_are_not_kept() -> None:
    tiny = [judged(source=f"bot {n}", weight=1e-6) for n in range(300)]
    assert counted(experience(*tiny))["small"][0] == pytest.approx(1e-4)


def test_the_pairs_of_a_match_count_in_full() -> None:
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    match = [Feedback(decision_id="d", candidate=won, over=lost, weight=1 / 3, id=won + lost, source="judge") for won, lost in pairs]
    found = counted(experience(*match))
    assert [found[name][0] for name in "abcd"] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert [sum(found[name]) for name in "abcd"] == pytest.approx([1] * 4)


def day(number: int, user: str | None = "ann", pieces: int = 30, tenant: str | None = None) -> Experience:
    """Return feedback of weight 1 on a user's decisions at the beginning of a day."""
    pieces_of_day = [judged(f"{tenant} {user} {number} {n}", time=number * DAY_S + n) for n in range(pieces)]
    return experience(*pieces_of_day, user=user, tenant=tenant)


OTHER = day(0, None, 1, tenant="other")
"""Feedback of a second tenant, which puts the limit of tenants in force."""


def test_a_user_counts_up_to_a_limit_a_day(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert counted(day(0, "ann"), max_user_weight=10) == {"small": (10.0, 0.0)}
    assert "max_user_weight" in caplog.text
    assert counted(day(0, "ann"), day(0, "bob"), day(1, "ann"), max_user_weight=10) == {"small": (30.0, 0.0)}
    assert counted(*map(day, (1, 0, 1, 0)), max_user_weight=10) == {"small": (20.0, 0.0)}
    assert counted(day(0, None), max_user_weight=10) == {"small": (30.0, 0.0)}


def test_a_tenant_counts_up_to_a_limit_a_day_under_any_users(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        users = [day(0, user, tenant="acme") for user in (None, "ann", "bob")]
        assert counted(OTHER, *users, max_tenant_weight=40) == {"small": (41.0, 0.0)}
    assert "one tenant's decisions weighs more than max_tenant_weight allows (40)" in caplog.text
    others = day(0, tenant="other"), day(1, tenant="acme"), day(0, None)
    assert counted(OTHER, *users, *others, max_tenant_weight=40) == {"small": (131.0, 0.0)}
    assert counted(OTHER, *users, max_user_weight=10, max_tenant_weight=40) == {"small": (41.0, 0.0)}  # 30 without a user, 10 by ann


def test_a_single_tenant_has_no_limit_until_a_second_one_gives_feedback() -> None:
    first, rest = day(0, None, tenant="acme"), day(0, "ann", tenant="acme")
    assert counted(day(0, None), first, rest, max_tenant_weight=10) == {"small": (90.0, 0.0)}
    assert counted(first, OTHER, rest, max_tenant_weight=10) == {"small": (31.0, 0.0)}
    without_weight = experience(judged("w", weight=0.0), tenant="other")
    assert counted(first, without_weight, rest, max_tenant_weight=10) == {"small": (60.0, 0.0)}


@pytest.mark.parametrize("forgotten", [(), ("acme",), ("acme", "other")])
def test_forgetting_a_tenant_leaves_the_limit_of_the_others(forgotten: tuple[str, ...], tmp_path: Path) -> None:
    options = OutcomeOptions(max_tenant_weight=1)
    ledger, restored, follower = (OutcomeLedger(options) for _ in range(3))
    for batch in (day(0, tenant="acme"), OTHER):
        list(ledger.outcomes(batch))
    with closing(open_store("memory:", get_plugin_manager())) as store:
        for tenant in forgotten:
            store.forget(None, tenant)
        ledger.drop_users(store.forgotten)
    ledger.save(tmp_path)
    restored.load(tmp_path)
    follower.apply_delta(ledger.delta())
    for each in (ledger, restored, follower):
        assert sum(outcome.weight for outcome in each.outcomes(day(0, tenant="third"))) == 1


def test_the_only_tenant_is_forgotten_by_name(tmp_path: Path) -> None:
    ledger = OutcomeLedger(OutcomeOptions(max_tenant_weight=1))
    list(ledger.outcomes(day(0, tenant="acme")))
    with closing(open_store("memory:", get_plugin_manager())) as store:
        store.forget(None, "acme")
        ledger.drop_users(store.forgotten)
    ledger.save(tmp_path)
    assert b'"tenants":{"only":null,"several":false}' in (tmp_path / "counted.json").read_bytes()
    assert sum(outcome.weight for outcome in ledger.outcomes(day(0, tenant="other"))) == 30  # as in a log without the first tenant


def test_a_warning_says_how_much_feedback_did_not_count(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        counted(OTHER, *(day(number, None, 101, tenant="acme") for number in range(2)), max_tenant_weight=1)
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [f"a weight of {weight} so far" for weight in (1, 10, 100)]


def test_weight_above_the_limit_of_a_tenant_uses_up_no_limit_of_a_user() -> None:
    first, later = (day(number, "ann", tenant="acme") for number in range(2))
    bob = day(0, "bob", tenant="acme")
    assert counted(OTHER, first, bob, later, max_user_weight=25, max_tenant_weight=30) == {"small": (56.0, 0.0)}


def test_feedback_with_a_date_in_the_future_leaves_the_days_before_it_their_limits() -> None:
    ahead = day(40, pieces=1)
    assert counted(day(1), ahead, day(2), day(3), max_user_weight=10) == {"small": (31.0, 0.0)}
    assert counted(ahead, day(1), day(2), day(3), max_user_weight=10) == {"small": (31.0, 0.0)}
    assert counted(ahead, day(1), day(2), day(1), day(2), max_user_weight=10) == {"small": (21.0, 0.0)}
    assert counted(ahead, day(1), day(40), day(41), max_user_weight=10) == {"small": (30.0, 0.0)}


@pytest.mark.parametrize(("days", "most"), [(range(1, 4), 30.0), (range(9, 17), 80.0), (range(16, 0, -1), 80.0)])
def test_dates_in_any_order_do_not_renew_a_users_limit(days: range, most: float) -> None:
    assert counted(*(day(number) for _ in range(3) for number in days), max_user_weight=10) == {"small": (most, 0.0)}


def test_a_revision_takes_back_what_was_counted_and_no_more() -> None:
    first, second = judged(weight=50.0), judged(quality=0.0, weight=2.0, revision=1)
    assert counted(experience(first), experience(second, replaced=[first])) == {"small": (0.0, 2.0)}
    others = [judged(source=f"bot {n}") for n in range(5)]
    assert counted(experience(*others, first), experience(second, replaced=[first])) == {"small": (5.0, 0.0)}


def test_a_failed_call_counts_once_for_each_candidate_of_a_decision() -> None:
    assert counted(experience(failed(), failed(), failed(candidate="large"))) == {"small": (0.0, 1.0), "large": (0.0, 1.0)}
    assert counted(experience(*(failed(f"d{n}") for n in range(200)))) == {"small": (0.0, 200.0)}
    assert counted(experience(failed()), failure_quality=0.25) == {"small": (0.25, 0.75)}
    assert counted(experience(failed()), failure_quality=None) == {}
    assert counted(experience(failed()), failure_weight=0.5) == {"small": (0.0, 0.5)}
    for status in ("cancelled", "refused"):
        assert counted(experience(attrs.evolve(failed(), status=status))) == {}


def test_another_answer_or_judgement_takes_the_place_of_a_failure() -> None:
    answered = Attempt("d", candidate="small")
    assert counted(experience(failed(), answered)) == {"small": (0.0, 0.0)}
    assert counted(experience(failed()), experience(answered)) == {"small": (0.0, 0.0)}
    assert counted(experience(answered, failed())) == counted(experience(answered), experience(failed())) == {}  # calls come in any order
    assert counted(experience(answered, failed(), judged(quality=0.75))) == {"small": (0.75, 0.25)}
    assert counted(experience(failed()), experience(judged(quality=0.75))) == {"small": (0.75, 0.25)}
    assert counted(experience(judged(quality=0.75), failed())) == {"small": (0.75, 0.25)}


@pytest.mark.parametrize("revision", [judged(confidence=0.0, revision=1), attrs.evolve(judged(revision=1), candidate="large")], ids=["0", "other"])
def test_a_failure_counts_again_once_feedback_no_longer_judges_its_candidate(revision: Feedback) -> None:
    first, again = judged(), judged(quality=0.75, revision=2)
    for before in ([failed(), first], [first, failed()]):
        withdrawn = experience(*before), experience(revision, replaced=[first])
        assert counted(*withdrawn)["small"] == (0.0, 1.0)
        assert counted(*withdrawn, experience(again, replaced=[revision]))["small"] == (0.75, 0.25)
        assert counted(*withdrawn, experience(failed()))["small"] == (0.0, 1.0)
        assert counted(*withdrawn, experience(Attempt("d", candidate="small")))["small"] == (0.0, 0.0)
        assert counted(experience(judged(source="ann")), *withdrawn)["small"] == (1.0, 0.0)


def test_feedback_that_does_not_count_leaves_a_failure() -> None:
    doubtful = judged(confidence=0.0)
    lost = {"small": (0.0, 1.0)}
    assert counted(experience(failed()), experience(doubtful)) == counted(experience(doubtful), experience(failed())) == lost
    assert counted(experience(judged("e"), failed(), judged(), user="ann"), max_user_weight=1.0) == {"small": (1.0, 1.0)}
    certain = judged(quality=0.75, revision=1)
    assert counted(experience(doubtful, failed()), experience(certain, replaced=[doubtful])) == {"small": (0.75, 0.25)}
    assert counted(experience(Attempt("d", candidate="small"), doubtful, failed())) == {}


def test_decisions_that_were_only_answered_share_their_outcomes_until_one_is_judged() -> None:
    ledger = OutcomeLedger(OutcomeOptions())
    list(ledger.outcomes(experience(*(Attempt(name, candidate="small") for name in ("a", "b", "c")))))
    answered = ledger._decisions["a"]
    assert [answered] * 3 == list(ledger._decisions.values())
    assert answered is ledger._decisions["c"]
    list(ledger.outcomes(experience(judged("b"))))
    assert "".join(name for name, found in ledger._decisions.items() if found is answered) == "ac"


def test_what_was_counted_survives_a_save(tmp_path: Path) -> None:
    ledger = OutcomeLedger(OutcomeOptions(max_user_weight=5))
    batch = experience(judged(source="a"), judged(source="b", weight=2.0), failed("e"), user="ann")
    assert len(list(ledger.outcomes(batch))) == 3
    ledger.save(tmp_path)
    restored = OutcomeLedger(OutcomeOptions(max_user_weight=5))
    restored.load(tmp_path)
    later = experience(*(judged(source=f"later {n}") for n in range(9)), failed("e"), user="ann")
    assert list(restored.outcomes(later)) == list(ledger.outcomes(later))
    for damaged in (
        b'{"decisions": 1}',
        b'{"decisions": {}, "users": {"ann": ["today", 1.0]}}',
        b'{"decisions": {}, "users": {"\xff": [1, 1.0]}}',
        b"[" * 100_000,
    ):
        (tmp_path / "counted.json").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="counted feedback"):
            restored.load(tmp_path)


def test_a_loaded_ledger_saves_the_same_bytes_with_whole_numbers_as_weights_too(tmp_path: Path) -> None:
    options = OutcomeOptions(failure_weight=2, implicit_feedback_weight=1)
    ledger, restored = OutcomeLedger(options), OutcomeLedger(options)
    assert list(ledger.outcomes(experience(failed("e"), judged(source="implicit click", weight=2, confidence=1), user="ann")))
    ledger.save(tmp_path)
    saved = (tmp_path / "counted.json").read_bytes()
    restored.load(tmp_path)
    restored.save(tmp_path)
    assert (tmp_path / "counted.json").read_bytes() == saved


@pytest.mark.parametrize("router", ROUTERS)
def test_200_failed_attempts_make_a_candidate_rare(router: str, pool: Pool) -> None:
    with MetaController.build(router=router, pool=pool, store="memory:", seed=1) as controller:
        before = controller.route("What?").probabilities
        for decision in controller.route_batch(["What?"] * 200):
            controller.attempt(decision.id, candidate="small", error="500 Internal Server Error")
        controller.learner.flush()
        after = controller.route("What?").probabilities
    assert after["small"] < before["small"] / 2


@pytest.mark.parametrize("router", ROUTERS)
def test_batches_of_any_size_count_alike(router: str, pool: Pool) -> None:
    rng = np.random.default_rng(3)
    entries: list[Attempt | Feedback] = []
    for n in range(120):
        decision = f"d{rng.integers(20)}"
        entries.append(
            failed(decision) if rng.random() < 0.3 else judged(decision, float(rng.random()), id=f"f{n}", source=f"s{n % 3}", weight=float(1 + n % 4))
        )
    scores = []
    for size in (1, 7, 120):
        with MetaController.build(router=router, pool=pool, store="memory:", seed=1) as controller:
            for start in range(0, 120, size):
                controller.router.learn(experience(*entries[start : start + size], user="ann"))
            scores.append(controller.route("What?").probabilities)
    assert scores[0] == scores[1] == scores[2]


def test_users_of_two_tenants_have_limits_of_their_own() -> None:
    assert tenant_user("ann", "acme") != tenant_user("ann", "globex")
    ledger = OutcomeLedger(OutcomeOptions(max_user_weight=1))
    batches = [attrs.evolve(experience(judged(tenant)), queries=[Query("?", user="ann", tenant=tenant)]) for tenant in ("acme", "globex")]
    assert [outcome.weight for batch in batches for outcome in ledger.outcomes(batch)] == [1.0, 1.0]


@pytest.mark.parametrize("forgotten", [("ann", "acme"), (None, "acme")])
def test_a_forgotten_user_of_a_tenant_is_dropped(forgotten: tuple[str | None, str]) -> None:
    ledger = OutcomeLedger(OutcomeOptions(max_user_weight=1))
    batches = {tenant: attrs.evolve(experience(judged(tenant)), queries=[Query("?", user="ann", tenant=tenant)]) for tenant in ("acme", "globex")}
    again = {tenant: attrs.evolve(experience(judged(f"{tenant}2")), queries=batch.queries) for tenant, batch in batches.items()}
    for batch in batches.values():
        list(ledger.outcomes(batch))
    with closing(open_store("memory:", get_plugin_manager())) as store:
        store.forget(*forgotten)
        ledger.drop_users(store.forgotten)
    assert {tenant: [outcome.weight for outcome in ledger.outcomes(batch)] for tenant, batch in again.items()} == {"acme": [1.0], "globex": []}


def compared(winner: str, loser: str, notes: Any = None, tie: bool = False, options: OutcomeOptions | None = None) -> list[float]:
    decision = Decision("d", "small", 0.5, Preference(), notes={} if notes is None else {"expected_quality": notes})
    feedback = Feedback(decision_id="d", candidate=winner, over=loser, tie=tie)
    return [quality for _, quality in candidate_qualities(feedback, decision, options or OutcomeOptions())]


@pytest.mark.parametrize(
    ("expected", "won", "tied"),
    [
        ({"small": 0.5, "large": 0.5}, [1.0, 0.0], [0.5, 0.5]),
        ({"small": 0.75, "large": 0.875}, [1.0, 0.625], [0.8125, 0.8125]),
        ({"small": 0.125, "large": 0.25}, [0.375, 0.0], [0.1875, 0.1875]),
        *(
            (unknown, [1.0, 0.0], [0.5, 0.5])
            for unknown in (None, {}, {"small": 0.9}, {"small": 0.9, "large": None}, {"small": 0.9, "large": 7}, "0.9")
        ),
    ],
)
def test_a_comparison_keeps_the_mean_that_was_expected_of_both(expected: Any, won: list[float], tied: list[float]) -> None:
    assert compared("small", "large", expected) == won
    assert compared("small", "large", expected, tie=True) == tied


def test_a_regression_learns_the_whole_distance_and_published_blends_wins_and_losses() -> None:
    expected = {"small": 0.75, "large": 1.0}
    assert compared("small", "large", expected, options=LinearThompsonOptions()) == [1.375, 0.375]
    for blend in ("linear", "published"):
        assert compared("small", "large", expected, options=ThompsonOptions(blend=blend)) == [1.0, 0.0]
        assert compared("small", "large", expected, tie=True, options=ThompsonOptions(blend=blend)) == [0.5, 0.5]


@pytest.mark.parametrize("router", ROUTERS)
def test_a_newcomer_that_wins_its_comparisons_replaces_a_well_rated_candidate(router: str) -> None:
    """Ratings are near 1 and the share of won comparisons is near a half, so counted alike they would keep the candidate that is rated."""
    pool = Pool([ModelSpec(name, prices=Prices(1.0, 1.0)) for name in ("rated", "newcomer")])
    with MetaController.build(router=router, pool=pool, store="memory:", seed=0) as controller:
        for n in range(200):
            controller.route("hello", decision_id=f"r{n}", unavailable=["newcomer"])
            controller.feedback(f"r{n}", quality=float(n % 10 != 0))
        controller.learner.flush()
        for n in range(150):
            controller.route("hello", decision_id=f"c{n}")
            winner, loser = ("rated", "newcomer") if n % 5 < 2 else ("newcomer", "rated")
            controller.feedback(f"c{n}", candidate=winner, over=loser)
            controller.learner.flush()
        decision = controller.route("hello", decision_id="last")
    expected = decision.notes["expected_quality"]
    assert expected["newcomer"] > expected["rated"] > 0.8
