"""The simple routers."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_gmtrouter.baselines import BradleyTerry, UserBaselineConfig, UserElo, UserRidge

from aamc_sdk import Decision, Experience, Feedback, ModelSpec, Pool, Preference, Query, Services, get_plugin_manager
from aamc_sdk.interfaces import Training
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.serving import restore, state_of
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Dataset, Estimates, Floats, Outcomes, Record

POOL = Pool([ModelSpec("a"), ModelSpec("b"), ModelSpec("c")])
SERVICES = Services(pool=POOL, reward=LinearReward(), make=lambda *_: None)


def experience(user: str, *pairs: tuple[str, str]) -> Experience:
    queries = [Query("q", user=user) for _ in pairs]
    decisions = [Decision(f"{user}-{n}", better, 1.0, Preference()) for n, (better, _) in enumerate(pairs)]
    feedback = [Feedback(decision_id=f"{user}-{n}", over=worse) for n, (_, worse) in enumerate(pairs)]
    return Experience(len(pairs), queries, Estimates.unknown(len(pairs)), decisions, feedback)


def scores(router: object, user: str) -> Floats:
    found: Floats = router.score(build_request([Query("q", user=user)], POOL, np.array([1.0, 0, 0]))).utility[0]  # type: ignore[attr-defined]  # a router
    return found


@pytest.mark.parametrize(
    ("name", "options"), [("bradley-terry", {}), ("user-elo", {}), ("user-ridge", {}), ("gmtrouter", {"steps": 4, "evaluate_every": 2})]
)
def test_each_router_keeps_the_contract(name: str, options: dict[str, int]) -> None:
    assert_conforms("router", name, get_plugin_manager(), options)


def test_user_ridge_is_the_closed_form_of_own_judgements() -> None:
    router = UserRidge(UserBaselineConfig(), SERVICES)
    router.learn(experience("ann", ("a", "b")))
    assert scores(router, "ann") == pytest.approx([1 / 3, -1 / 3, 0])  # (A'A + I)^-1 A'y
    assert not scores(router, "bob").any()


@pytest.mark.parametrize("router", [BradleyTerry, UserElo, UserRidge])
def test_training_data_without_judgements_is_warned_of(router: type, caplog: pytest.LogCaptureFixture) -> None:
    rated = experience("ann", ("a", "b"))
    made = router(UserBaselineConfig(), SERVICES)
    made.train(Training(dataset=Dataset(rated.queries, POOL, experience=rated, source="rated")))
    assert not caplog.messages
    made.train(Training(dataset=Dataset([Query("q")], POOL, source="a table")))
    assert caplog.messages == ["a table has no judgement of a user, so all models have equal scores for users without ratings of their own"]


@pytest.mark.parametrize("router", [BradleyTerry, UserElo])
def test_the_last_user_counts_as_much_as_the_others(router: type) -> None:
    users = [experience(f"user {n}", *[("b", "a") if n == 9 else ("a", "b")] * 30) for n in range(10)]
    together = Experience(
        300,
        [query for user in users for query in user.queries],
        Estimates.unknown(300),
        [decision for user in users for decision in user.decisions],
        [feedback for user in users for feedback in user.feedback],
    )
    made = router(UserBaselineConfig(), SERVICES)
    made.train(Training(dataset=Dataset(together.queries, POOL, experience=together, source="rated")))
    first, second, _ = scores(made, "nobody")
    assert first - second == pytest.approx(np.log(9), abs=0.5)  # a wins nine of ten


def test_rows_of_outcomes_with_users_are_their_judgements(caplog: pytest.LogCaptureFixture) -> None:
    made = UserRidge(UserBaselineConfig(), SERVICES)
    queries = [Query("q", user=user) for user in ("ann", "bob", None)]
    outcomes = Outcomes(np.array([[1.0, 0, np.nan], [0, 1.0, np.nan], [0, 0, 1.0]]), np.zeros((3, 3)), np.zeros((3, 3)))
    assert made.train(Training(dataset=Dataset(queries, POOL, outcomes, source="a table"))) == {"users": 2}
    assert not caplog.messages
    assert scores(made, "ann") == pytest.approx([1 / 3, -1 / 3, 0])
    assert scores(made, "bob") == pytest.approx([-1 / 3, 1 / 3, 0])
    assert not scores(made, "carl").any()


def test_a_revision_that_makes_a_rating_neutral_takes_it_back() -> None:
    router = UserRidge(UserBaselineConfig(), SERVICES)
    rated = experience("ann", ("a", "b"))
    router.learn(attrs.evolve(rated, entries=[Feedback(id="f", decision_id="ann-0", quality=1.0)]))
    assert scores(router, "ann").any()
    router.learn(attrs.evolve(rated, entries=[Feedback(id="f", decision_id="ann-0", quality=0.5, revision=1)]))
    assert not scores(router, "ann").any()


def test_feedback_on_the_answer_of_an_orchestrator_judges_no_model() -> None:
    router = UserRidge(UserBaselineConfig(), SERVICES)
    rated = experience("ann", ("a", "b"))
    step = Record.of_step(rated.decisions[0], rated.queries[0], ["a", "b"]).decision
    given = [Feedback(id="f", decision_id="ann-0", quality=1.0)]
    router.learn(attrs.evolve(rated, decisions=[step, *rated.decisions[1:]], entries=given))
    assert not scores(router, "ann").any()


@pytest.mark.parametrize("at_once", [True, False])
def test_the_revision_of_a_judgement_that_has_left_the_history_changes_nothing(at_once: bool) -> None:
    router = UserRidge(UserBaselineConfig(history=2), SERVICES)
    given = [*(("ann", turn, 1.0, "explicit", 0) for turn in range(3)), ("ann", 0, 0.0, "explicit", 1)]
    whole = judged(*given)
    first, last = whole.feedback[0], whole.feedback[-1]
    batches = [list(whole.feedback)] if at_once else [whole.feedback[:3], [last]]
    for entries in batches:
        router.learn(attrs.evolve(whole, entries=entries, replaced=[first] if last in entries else []))
    assert scores(router, "ann") == pytest.approx([0, 1 / 2, 1 / 2])  # turns 1 and 2


def judged(*given: tuple[str, int, float, str, int]) -> Experience:
    """Return feedback in log order, each a user, the number of a turn, a quality, a source, and a revision."""
    decisions = {(user, turn): Decision(f"{user}-{turn}", "abc"[turn % 3], 1.0, Preference()) for user, turn, *_ in given}
    feedback = [Feedback(decision_id=f"{user}-{turn}", quality=quality, source=source, revision=n) for user, turn, quality, source, n in given]
    queries = [Query("q", user=user) for user, _ in decisions]
    return Experience(len(given), queries, Estimates.unknown(len(queries)), list(decisions.values()), feedback)


GIVEN = [
    *(("ann", turn, 1.0, "explicit", 0) for turn in range(3)),
    ("ann", 0, 0.0, "later", 0),  # its turn was dropped
    *(("ann", turn, 1.0, "explicit", 0) for turn in range(3, 6)),
    ("ann", 5, 0.5, "explicit", 1),  # taken back, as the turn before was dropped
    ("ben", 0, 1.0, "explicit", 0),
    ("ann", 4, 0.0, "explicit", 1),
    ("cho", 0, 1.0, "explicit", 0),
]


def test_a_replay_in_one_batch_gives_the_live_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_gmtrouter.history.MAX_USERS", 2)
    live, replayed = (UserRidge(UserBaselineConfig(history=2), SERVICES) for _ in range(2))
    for each in GIVEN:
        live.learn(judged(each))
    replayed.learn(judged(*GIVEN))
    assert state_of(replayed) == state_of(live)
    assert scores(live, "ann")[1] < 0  # turn 4, which was asked after the others


def test_the_users_who_judged_longest_ago_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_gmtrouter.history.MAX_USERS", 2)
    router = UserRidge(UserBaselineConfig(), SERVICES)
    for user in ("ann", "ben", "ann", "cho"):
        router.learn(experience(user, ("a", "b")))
    assert [scores(router, user).any() for user in ("ann", "ben", "cho")] == [True, False, True]


def test_user_elo_moves_from_all_users_toward_the_user() -> None:
    found = []
    for shrinkage in (1e-9, 9.0):
        router = UserElo(UserBaselineConfig(shrinkage=shrinkage), SERVICES)
        router.train(Training(dataset=Dataset([Query("q")], experience=experience("x", ("a", "b"), ("a", "b")))))
        common = scores(router, "ann")
        router.learn(experience("ann", *[("b", "a")] * 9))
        found.append(scores(router, "ann"))
    own, shrunk = found
    assert common[0] > 0 > common[1]
    assert own[1] > own[0]
    assert shrunk == pytest.approx((own + common) / 2)  # 9 judgements weigh as much as the shrinkage


@pytest.mark.parametrize("router", [BradleyTerry, UserElo])
def test_a_bad_rating_is_a_defeat_by_the_average_model(router: type) -> None:
    made, rated = router(UserBaselineConfig(), SERVICES), experience("x", ("a", "b"), ("b", "c"))
    feedback = [Feedback(decision_id="x-0", quality=0.0), Feedback(decision_id="x-1", quality=1.0)]
    made.train(Training(dataset=Dataset(rated.queries, POOL, experience=attrs.evolve(rated, entries=feedback), source="rated")))
    bad, good, unrated = scores(made, "nobody")
    assert bad < unrated < good


def test_bradley_terry_is_the_same_for_all_users_and_survives_saving() -> None:
    router = BradleyTerry(UserBaselineConfig(), SERVICES)
    router.train(Training(dataset=Dataset([Query("q")], experience=experience("x", ("a", "b"), ("b", "c")))))
    found = scores(router, "ann")
    router.learn(experience("ann", ("c", "a")))
    assert (scores(router, "ann") == found).all()
    copy = BradleyTerry(UserBaselineConfig(), SERVICES)
    restore(copy, state_of(router))
    assert (scores(copy, "ann") == found).all()
    assert found[0] > found[1] > found[2]
