"""The verdict on a candidate: by hand, from a log, and how often it is wrong when it is looked at all the time."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.trials.trial_log import read_trials
from aamc_bandit.trials.trial_notes import RoleNote, TrialNote, serving_role
from aamc_bandit.trials.trial_statistics import JudgedDecision, Trial, betting_terms
from aamc_experiments.off_policy import LOG_WEALTH_BOUND, log_wealth

from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request, run_command
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Records

OLD, NEW, OTHER = POOL.names[:3]
CANARY = {
    "share": 0.2,
    "stable": {"router": "old", "probabilities": {OLD: 1.0}},
    "candidate": {"router": "new", "probabilities": {NEW: 1.0}},
}
MIXED = {OLD: 0.8, NEW: 0.2}


@pytest.fixture
def store() -> Store:
    return open_store("memory:", get_plugin_manager())


def decide(
    store: Store, name: str, candidate: str = OLD, note: Any = CANARY, probabilities: Any = MIXED, kind: str = "canary", **request: Any
) -> None:
    drawn = probabilities.get(candidate, 1.0)
    decision = Decision(name, candidate, drawn, Preference(), probabilities, notes={kind: note} if note else {})
    store.add_decisions(list(Records([decision], attrs.evolve(make_request(make_dataset(1)), **request))))


def judge(store: Store, name: str, quality: float = 1.0, **fields: Any) -> None:
    store.add_feedback([(Feedback(decision_id=name, quality=quality, **fields), None)])


def simulated(seed: int, decisions: int, share: float, chances: tuple[float, float]) -> list[JudgedDecision]:
    """Return a trial of routers that never choose alike, whose candidates succeed with given chances."""
    generator = np.random.default_rng(seed)
    theirs = generator.random(decisions) < share
    quality = generator.random(decisions) < np.where(theirs, chances[1], chances[0])
    bound = max(1 / share, 1 / (1 - share))
    weights = [(0.0, 1 / share) if new else (1 / (1 - share), 0.0) for new in theirs]
    return [JudgedDecision(float(q), *each, bound) for q, each in zip(quality, weights, strict=True)]


def alarm(judgements: list[JudgedDecision]) -> bool:
    """Return whether a verdict stood at any time."""
    _, differences, low = betting_terms(judgements)
    return any(log_wealth(side * differences, low, 0.0).max() >= LOG_WEALTH_BOUND for side in (1.0, -1.0))


def test_a_judged_decision_by_hand(store) -> None:
    decide(store, "a", NEW)
    decide(store, "b", OLD)
    judge(store, "a", 0.9)
    judge(store, "b", 0.4)
    (trial,) = read_trials(store).trials
    assert (trial.kind, trial.stable, trial.candidate) == ("canary", "old", "new")
    assert trial.judgements == [JudgedDecision(0.9, 0.0, 5.0, 5.0), JudgedDecision(0.4, 1.25, 0.0, 5.0)]
    assert trial.served == {"stable": 1, "candidate": 1}
    gains, differences, low = betting_terms(trial.judgements)
    assert gains.tolist() == [5.0, -1.25]
    assert differences == pytest.approx([(0.9 - 0.5) * 5, (0.4 - (0.5 + 0.9) / 2) * -1.25])
    assert low.tolist() == [-5.0, -5.0]


@pytest.mark.parametrize(("share", "judged"), [(0.2, (1.0, 1.0, 5.0, 4.0)), (0.4, (1.0, 1.0, 2.5, 1.5))])
def test_a_shadow_is_compared_by_the_serving_routers_probabilities(share, judged, store) -> None:
    note = {"stable": {"router": "old"}, "candidate": {"router": "new", "probabilities": {NEW: 1.0}}}
    for name, quality in (("a", 0.0), ("b", 1.0)):
        decide(store, name, NEW, note, {OLD: 1 - share, NEW: share}, kind="shadow")
        judge(store, name, quality)
    (trial,) = read_trials(store).trials
    assert trial.kind == "shadow"
    assert [tuple(each) for each in trial.judgements] == [pytest.approx(judged)]
    assert trial.left_out == {"beyond_bound": 1}  # the first: nobody knew before it how much a decision can weigh
    assert trial.served == {"stable": 2}


def test_a_model_that_both_routers_may_choose_is_attributed_by_the_odds_of_its_choice() -> None:
    roles = (RoleNote("old", probabilities={OLD: 0.5, OTHER: 0.5}), RoleNote("new", probabilities={OLD: 0.25, NEW: 0.75}))
    served = [serving_role(TrialNote(*roles, share=0.2), str(n), OLD) for n in range(4000)]
    assert served.count("candidate") / 4000 == pytest.approx(0.2 * 0.25 / (0.8 * 0.5 + 0.2 * 0.25), abs=0.015)


def test_a_canarys_bound_is_its_shares_whatever_the_request(store) -> None:
    alike = {**CANARY, "candidate": {"router": "new", "probabilities": {OLD: 1.0}}}
    decide(store, "a", OLD, alike, {OLD: 1.0})
    decide(store, "b", NEW, {**CANARY, "share": 0.5}, {OLD: 0.5, NEW: 0.5})
    decide(store, "c", NEW, {**CANARY, "share": 0.9}, {OLD: 0.1, NEW: 0.9})
    for name in "abc":
        judge(store, name)
    (trial,) = read_trials(store).trials
    assert [judgement.bound for judgement in trial.judgements] == pytest.approx([5.0, 5.0, 10.0])
    assert not trial.left_out


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_a_decision_with_one_allowed_candidate_does_not_count_and_agreement_of_both_routers_does(store, kind) -> None:
    alike = {role: {"router": role, "probabilities": {OLD: 1.0}} for role in ("stable", "candidate")} | {"share": 0.2}
    decide(store, "named", OLD, alike, {OLD: 1.0}, kind, mask=np.array([[name == OLD for name in POOL.names]]))
    decide(store, "agreed", OLD, alike, {OLD: 1.0}, kind)
    for name in ("named", "agreed"):
        judge(store, name)
    (trial,) = read_trials(store).trials
    assert trial.left_out == {"one_candidate": 1}
    assert (len(trial.judgements), trial.served.total()) == (1, 1)


def test_feedback_counts_in_the_order_in_which_it_came_and_once_a_decision(store) -> None:
    for name in "abc":
        decide(store, name)
    for name, quality in (("c", 0.1), ("a", 0.2), ("b", 0.3)):
        judge(store, name, quality)
    judge(store, "a", 1.0, source="late")  # the first was looked at already
    judge(store, "b", 0.9, source="nobody", weight=0.0)
    (trial,) = read_trials(store).trials
    assert [judgement.quality for judgement in trial.judgements] == [0.1, 0.2, 0.3]


def test_a_hint_is_no_verdict_and_leaves_the_decision_to_a_rating_or_a_thumb(store) -> None:
    for name in ("hinted", "rated", "thumbed"):
        decide(store, name)
        judge(store, name, 0.0, source="implicit:escalation", confidence=0.01)
    judge(store, "rated", 0.9)
    judge(store, "thumbed", 1.0, source="implicit:thumbs")
    (trial,) = read_trials(store).trials
    assert [judgement.quality for judgement in trial.judgements] == [0.9, 1.0]


def test_what_cannot_be_compared_is_counted(store) -> None:
    decide(store, "fallback")
    store.add_attempts([Attempt("fallback", 0, OTHER)])
    decide(store, "elsewhere", note={**CANARY, "candidate": {"router": "new", "probabilities": {OTHER: 1.0}}})
    failed = {"stable": {"router": "old"}, "candidate": {"router": "new", "error": "x"}}
    decide(store, "failed", note=failed, kind="shadow")
    for name in ("fallback", "elsewhere", "failed"):
        judge(store, name)
    found, shadowed = read_trials(store).trials
    assert found.left_out == {"fallback": 1, "no_overlap": 1}
    assert shadowed.left_out == {"candidate_failed": 1}
    assert found.verdict()["verdict"] is None
    assert "nothing to compare" in found.verdict()["why"]


def test_a_failed_call_of_the_chosen_candidate_is_a_loss_where_the_fallback_was_judged(store) -> None:
    for name in ("judged", "unjudged", "retried"):
        decide(store, name, NEW)
        store.add_attempts([Attempt(name, 0, NEW, error="timeout"), Attempt(name, 1, NEW if name == "retried" else OTHER)])
    judge(store, "judged", 0.9)
    judge(store, "retried", 0.8)
    (trial,) = read_trials(store).trials
    assert [judgement.quality for judgement in trial.judgements] == [0.0, 0.8]
    assert [judgement.candidate for judgement in trial.judgements] == [5.0, 5.0]


def test_trials_of_other_routers_are_apart_and_other_decisions_are_none(store) -> None:
    decide(store, "a")
    decide(store, "b", note={**CANARY, "candidate": {"router": "newer", "probabilities": {NEW: 1.0}}})
    decide(store, "c", note=None)
    assert [trial.candidate for trial in read_trials(store).trials] == ["new", "newer"]


def test_routers_that_choose_alike_have_nothing_to_compare() -> None:
    trial = Trial("canary", "old", "new", [JudgedDecision(1.0, 1.0, 1.0, 0.0)] * 50)
    assert trial.verdict() == {
        "quality": {"stable": 1.0, "candidate": 1.0},
        "difference": None,
        "ci95": None,
        "verdict": None,
        "why": "nothing to compare: both routers made the same choices",
    }


@pytest.mark.parametrize(("chances", "verdict"), [((0.5, 0.8), "better"), ((0.8, 0.5), "worse"), ((0.6, 0.6), "no difference yet")])
def test_a_real_difference_is_found_and_none_is_not(chances, verdict) -> None:
    trial = Trial("canary", "old", "new", simulated(0, 1500, 0.3, chances))
    found = trial.verdict()
    assert found["verdict"] == verdict
    assert found["ci95"][0] <= chances[1] - chances[0] <= found["ci95"][1]
    assert found["quality"]["candidate"] == pytest.approx(chances[1], abs=0.06)


def test_a_verdict_stands_from_the_moment_that_betting_against_no_difference_has_won_enough() -> None:
    judgements = simulated(3, 600, 0.3, (0.5, 0.75))
    for count in range(50, 601, 50):
        stands = Trial("canary", "old", "new", judgements[:count]).verdict()["verdict"] == "better"
        assert stands == alarm(judgements[:count])
    assert stands


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_looking_after_every_feedback_raises_few_false_alarms(share) -> None:
    streams = 200
    assert sum(alarm(simulated(seed, 1000, share, (0.7, 0.7))) for seed in range(streams)) <= 0.05 * streams


def test_feedback_that_depends_on_who_was_chosen_gives_no_verdict() -> None:
    judgements = [judgement for n, judgement in enumerate(simulated(0, 2000, 0.3, (0.6, 0.6))) if judgement.candidate or n % 2]
    found = Trial("canary", "old", "new", judgements).verdict()
    assert found["verdict"] is None
    assert "feedback depends on the chosen candidate" in found["why"]


def test_a_difference_that_turned_round_gives_no_verdict() -> None:
    found = Trial("canary", "old", "new", simulated(0, 1500, 0.5, (0.3, 0.9)) + simulated(1, 4000, 0.5, (0.9, 0.3))).verdict()
    assert found["verdict"] is None
    assert "has changed during the trial" in found["why"]


@pytest.fixture
def aamc(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    return run_command


def test_the_command_says_it_in_json_and_in_a_table(aamc) -> None:
    log = open_store("sqlite:log.db", get_plugin_manager())
    for number in range(150):
        decide(log, str(number), NEW if number % 5 == 0 else OLD)
        judge(log, str(number), float(number % 5 == 0))
    log.close()
    status, out, err = aamc("canary", "--store", "sqlite:log.db", "--json")
    assert status == 0, err
    (row,) = json.loads(out)["trials"]
    assert (row["judged"], row["compared"], row["verdict"]) == (150, 150, "better")
    assert row["served"] == {"stable": 120, "candidate": 30}
    assert math.isclose(row["quality"]["candidate"], 1.0)
    assert "better" in aamc("canary", "--store", "sqlite:log.db")[1]


def test_the_command_names_each_trial_of_two_routers(aamc) -> None:
    log = open_store("sqlite:log.db", get_plugin_manager())
    for version in ("0a", "0a/second"):
        decide(log, version, note={**CANARY, "candidate": {**CANARY["candidate"], "version": version}})
    log.close()
    trials = json.loads(aamc("canary", "--store", "sqlite:log.db", "--json")[1])["trials"]
    assert [trial["trial"] for trial in trials] == ["", "second"]
    assert "second" in aamc("canary", "--store", "sqlite:log.db")[1]


def test_a_log_without_a_trial_is_an_error_that_says_what_to_do(aamc) -> None:
    open_store("sqlite:log.db", get_plugin_manager()).close()
    status, _, err = aamc("canary", "--store", "sqlite:log.db")
    assert status == 1
    assert "serve with the router canary or shadow first" in err
    status, _, err = aamc("canary", "--store", "sqlite:log.db", "--since", "2099-01-01")
    assert status == 1
    assert "no decision of a trial in that time; give an earlier --since or a later --until" in err
