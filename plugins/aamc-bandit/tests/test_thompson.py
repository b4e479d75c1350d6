"""The routers ``thompson`` and ``epsilon-greedy``."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY
from aamc_bandit.thompson.beta_quadrature import beta_best_probabilities
from aamc_bandit.thompson.evidence_keys import EvidenceKeys, own_id, session_key
from aamc_bandit.thompson.options import BLENDS
from aamc_bandit.thompson.router import EpsilonGreedy, Thompson, cheap_exploration, epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk import MetaController, get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import Services, Training
from aamc_sdk.log import open_store
from aamc_sdk.routing import LinearReward, build_request, decide, expected_cost
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import (
    Dataset,
    Decision,
    Estimates,
    Experience,
    Feedback,
    ModelSpec,
    Outcomes,
    Pool,
    Preference,
    Prices,
    Query,
    RoutingRequest,
    tenant_user,
)

QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
NAMES = ("chat", "code")
PRICES = {"small": 1.0, "middle": 2.0, "large": 10.0}
POOL = Pool(ModelSpec(name, prices=Prices(price, price)) for name, price in PRICES.items())
RATIOS = Pool(ModelSpec(name, prices=Prices(*prices)) for name, prices in {"small": (1, 3), "large": (10, 40)}.items())
"""Candidates whose costs have another ratio for each length of the prompt."""
JUDGED = st.lists(st.tuples(st.sampled_from(sorted(PRICES)), st.floats(0, 1), st.sampled_from(["anna", "otto", None])), max_size=20)


def make(pool: Pool = POOL, kind: type[Thompson] = Thompson, **options: Any) -> Thompson:
    reward = LinearReward()
    queries = [Query("?", prompt_tokens=256, output_tokens=256)]
    reward.fit(Outcomes(None, expected_cost(queries, pool), pool.arrays.latency_ms[None, :]))
    ageing = {} if "window" in options else {"discount": 1.0}  # counts stay whole numbers
    return kind(configure(kind.Config, ageing | options), Services(pool=pool, reward=reward, make=lambda *_: None))


def estimates(categories: Sequence[str]) -> Estimates:
    nothing = np.full(len(categories), np.nan)
    one_hot = np.array([float(name == category) for category in categories for name in NAMES]).reshape(-1, len(NAMES))
    return Estimates(nothing, one_hot, NAMES, nothing)


def ask(pool: Pool = POOL, user: str | None = None, session: str | None = None, category: str | None = None, **rest: Any) -> RoutingRequest:
    known = None if category is None else estimates([category])
    rest = {"preferences": QUALITY_ONLY, **rest}
    return build_request([Query("?", user=user, session=session)], pool, estimates=known, **rest)


def log(*judged: Feedback | tuple[str, float] | tuple[str, float, str | None], user: str | None = None, category: str | None = None) -> Experience:
    """Return a log in which each feedback is about a decision of its own; a tuple is the candidate, its quality and perhaps the user."""
    decisions, queries, feedback = [], [], []
    for n, said in enumerate(judged):
        named = said if isinstance(said, Feedback) else Feedback(decision_id="?", candidate=said[0], quality=said[1])
        queries.append(Query("?", user=said[2] if isinstance(said, tuple) and len(said) == 3 else user))
        decisions.append(Decision(str(n), named.candidate or "small", 0.3, Preference()))
        feedback.append(attrs.evolve(named, decision_id=str(n), id=str(n)))
    known = Estimates.unknown(len(judged)) if category is None else estimates([category] * len(judged))
    return Experience(len(judged), queries, known, decisions, feedback, made=len(judged))


def counts(router: Thompson, level: str = "global", name: str = GLOBAL_ENTITY, pool: Pool = POOL) -> list[list[float]]:
    table: list[list[float]] = router.evidence.table(level, name, pool.names)[:, :2].tolist()
    return table


def probabilities(router: Thompson, request: RoutingRequest) -> np.ndarray:
    found = router.score(request).probabilities
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", ["thompson", "epsilon-greedy"])
@pytest.mark.parametrize("options", [{}, {"blend": "linear"}, {"blend": "published"}, {"discount": 0.9}, {"window": 4}])
def test_it_conforms(name: str, options: dict[str, Any]) -> None:
    assert_conforms("router", name, get_plugin_manager(), options)


def test_showing_it_does_not_import_scipy() -> None:
    program = "import sys, aamc_bandit.thompson.router; raise SystemExit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_wins_losses_ties_and_grades_are_counted() -> None:
    router = make()
    tie = Feedback(decision_id="?", candidate="middle", over="large", tie=True)
    router.learn(log(("small", 1.0), ("small", 0.0), ("small", 0.3), Feedback(decision_id="?", candidate="small", over="large"), tie))
    assert counts(router) == [pytest.approx([2.3, 1.7]), [0.5, 0.5], [0.5, 1.5]]


def test_a_tie_is_no_success_however_it_is_said() -> None:
    router = make()
    router.learn(log(Feedback(decision_id="?", candidate="middle", over="large", tie=True), ("small", 0.5), ("small", 0.75)))
    assert router.evidence.table("global", GLOBAL_ENTITY, POOL.names)[:, 3].tolist() == [1, 0, 0]


def test_posterior_means_follow_from_the_prior_and_the_counts() -> None:
    router = make(prior_alpha=3.0, prior_beta=2.0)
    router.learn(log(("small", 1.0), ("middle", 0.0)))
    assert router.score(ask()).expected_quality == pytest.approx(np.array([[4 / 6, 3 / 6, 3 / 5]]))


def test_the_belief_is_that_of_the_scores_for_every_candidate_while_another_thread_learns() -> None:
    router = make(prior_alpha=3.0, prior_beta=2.0, discount=0.999)
    belief, samples = router.belief(EvidenceKeys(category="code"), POOL)
    assert (belief.alpha.tolist(), belief.beta.tolist(), samples.tolist()) == ([3.0] * 3, [2.0] * 3, [0.0] * 3)
    thread = threading.Thread(target=lambda: [router.learn(log(("small", 1.0), category=NAMES[n % 2])) for n in range(500)])
    thread.start()
    while thread.is_alive():
        beliefs = [router.belief(EvidenceKeys(category=name), POOL)[0] for name in (None, *NAMES)]
        assert all(np.isfinite((each.alpha, each.beta)).all() and each.mean[0] >= 0.6 for each in beliefs)
    thread.join()
    belief, samples = router.belief(EvidenceKeys(category="code"), POOL)
    assert router.score(ask(category="code")).expected_quality[0].tolist() == belief.mean.tolist()
    assert (belief.mean[1], samples.tolist()) == (pytest.approx(0.6), [500, 0, 0])


@pytest.mark.parametrize(("quality", "expected"), [(1.0, [0.4, 0.0]), (0.0, [0.0, 0.4])])
def test_implicit_feedback_counts_less_and_its_polarity_is_honoured(quality: float, expected: list[float]) -> None:
    router = make()
    router.learn(log(Feedback(decision_id="?", candidate="small", quality=quality, confidence=0.8, source="implicit:rephrased")))
    assert counts(router)[0] == pytest.approx(expected)


def test_explicit_feedback_counts_by_its_weight_and_confidence() -> None:
    router = make()
    router.learn(log(Feedback(decision_id="?", candidate="small", quality=1.0, confidence=0.5, weight=3.0)))
    assert counts(router)[0] == [1.5, 0.0]


@pytest.mark.parametrize("zero", [0, 0.0])
def test_an_implicit_weight_of_zero_is_honoured(zero: float) -> None:
    router = make(implicit_feedback_weight=zero)
    router.learn(log(Feedback(decision_id="?", candidate="small", quality=1.0, source="implicit")))
    assert counts(router)[0] == [0.0, 0.0]


def test_feedback_about_nobody_in_particular_is_about_who_served() -> None:
    router = make()
    router.learn(log(Feedback(decision_id="?", quality=1.0)))
    assert counts(router)[0] == [1.0, 0.0]


def test_feedback_whose_decision_is_not_there_is_left_out() -> None:
    router, experience = make(), log(("small", 1.0))
    router.learn(attrs.evolve(experience, entries=[attrs.evolve(experience.feedback[0], decision_id="another")]))
    assert counts(router) == [[0, 0]] * 3


def test_draws_have_the_frequencies_of_the_posteriors_and_propensities_are_these() -> None:
    router = make(min_samples=0)
    router.learn(log(*[("small", 0.6)] * 10, *[("middle", 0.7)] * 10, *[("large", 0.65)] * 5))
    batch = build_request([Query("?")] * 4000, POOL, QUALITY_ONLY)
    decisions = decide(router.score(batch), batch, [str(n) for n in range(4000)], router="thompson", sample=router.samples, seed=0)
    expected = beta_best_probabilities(np.array([7.0, 8.0, 4.25]), np.array([5.0, 4.0, 2.75]), np.ones(3), np.zeros(3))
    shares = np.array([sum(decision.candidate == name for decision in decisions) for name in POOL.names]) / 4000
    assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / 4000)
    assert {decision.candidate: decision.propensity for decision in decisions} == pytest.approx(dict(zip(POOL.names, expected, strict=True)))


def test_a_category_is_believed_by_itself_where_it_has_evidence() -> None:
    router = make()
    router.learn(log(*[("small", 1.0), ("middle", 0.5), ("large", 0.0)] * 40, category="chat"))
    router.learn(log(*[("small", 0.0), ("middle", 0.5), ("large", 1.0)] * 40, category="code"))
    chat, code, unknown = (probabilities(router, ask(category=category)) for category in ("chat", "code", None))
    assert chat[0] > 0.95
    assert code[2] > 0.95
    assert abs(unknown[0] - unknown[2]) < 1e-9


@pytest.mark.parametrize("judged", [[("small", 1.0)] * 500 + [("large", 1.0)] * 150, [("small", 0.0)] * 500 + [("large", 0.0)] * 150])
def test_candidates_that_always_or_never_succeed_have_the_probabilities_of_their_posteriors(judged: list[tuple[str, float]]) -> None:
    router = make(min_samples=0)
    router.learn(log(*judged, category="code"))
    belief, _ = router.belief(EvidenceKeys(category="chat"), POOL)
    draws = np.random.default_rng(0).beta(belief.alpha, belief.beta, size=(200_000, 3))
    expected = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    assert probabilities(router, ask(category="chat")) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(draws)))


@pytest.mark.parametrize("blend", BLENDS)
def test_a_users_own_evidence_is_theirs(blend: str) -> None:
    router = make(blend=blend)
    router.learn(log(*[("small", 0.5), ("large", 0.5)] * 30, user="otto"))
    router.learn(log(*[("small", 1.0), ("large", 0.0)] * 11, user="anna"))
    assert probabilities(router, ask(user="anna"))[0] > probabilities(router, ask(user="otto"))[0] + 0.1


@pytest.mark.parametrize("options", [{"enable_personalization": False}, {"personalization_blend": 0}, {"personalization_blend": 0.0}])
def test_without_personalization_all_users_are_one(options: dict[str, Any]) -> None:
    router = make(**options)
    router.learn(log(*[("small", 1.0)] * 11, user="anna"))
    assert probabilities(router, ask(user="anna")) == pytest.approx(probabilities(router, ask()))


def test_users_are_not_even_remembered_without_personalization() -> None:
    router = make(enable_personalization=False)
    router.learn(log(("small", 1.0), user="anna"))
    assert not router.evidence.entities("user")


def test_cost_decides_among_equals_and_not_against_five_points_of_quality() -> None:
    router = make(use_thompson_sampling=False, exploration_rate=0, min_exploration=0)
    router.learn(log(*[("small", 0.75)] * 5000, *[("large", 0.8)] * 5000))
    unasked = ask(preference_given=False)
    assert probabilities(router, unasked).tolist() == [0, 0, 1]
    router.learn(log(*[("small", 0.85)] * 5000))  # now 0.8 as well
    assert probabilities(router, unasked).tolist() == [1, 0, 0]


def test_without_a_preference_utility_is_quality_and_a_bonus_of_at_most_four_points() -> None:
    utility = make().score(ask(preference_given=False)).utility
    assert utility[0] == pytest.approx(0.5 + 0.2 * 0.2 * (1 - np.array([0.1, 0.2, 1.0])))


def test_requests_whose_costs_have_the_same_ratios_in_percent_share_their_scores() -> None:
    judged = log(*[("small", 0.7)] * 20, *[("large", 0.8)] * 20)
    router = make(RATIOS)
    router.learn(judged)
    scores = {}
    for tokens in (100, 101, 5000, 101):  # 100 tokens: .077 of the cost of large, 5000: .096
        request = build_request([Query("?", prompt_tokens=tokens, output_tokens=256)], RATIOS, QUALITY_ONLY, preference_given=False)
        found = scores[tokens] = router.score(request)
        fresh = make(RATIOS)
        fresh.learn(judged)
        assert found.probabilities.tolist() == fresh.score(request).probabilities.tolist()
    assert scores[100] is scores[101]
    assert scores[100].utility.tolist() != scores[5000].utility.tolist()


def test_the_cheapest_of_equals_is_exploited_however_small_the_difference() -> None:
    pool = Pool(ModelSpec(name, prices=Prices(price, price)) for name, price in {"nano": 0.1, "mini": 0.4, "opus": 100.0}.items())
    router = make(pool, EpsilonGreedy, exploration_rate=0, min_exploration=0)
    assert probabilities(router, ask(pool, preference_given=False)).tolist() == [1, 0, 0]


@pytest.mark.parametrize("options", [{"cost_awareness": False}, {"cost_weight": 0}, {"cost_weight": 0.0}])
def test_cost_awareness_can_be_switched_off(options: dict[str, Any]) -> None:
    assert make(**options).score(ask(preference_given=False)).utility[0] == pytest.approx([0.5] * 3)


def test_with_a_preference_cost_enters_only_through_the_reward() -> None:
    utility = make(cost_weight=5.0).score(ask(preferences=np.array([0.5, 0.5, 0.0]), category=None)).utility
    plain = make(cost_weight=0.0).score(ask(preferences=np.array([0.5, 0.5, 0.0]), category=None)).utility
    assert utility.tolist() == plain.tolist()
    assert utility[0, 0] > utility[0, 2]


def test_too_few_outcomes_keep_a_candidate_explored() -> None:
    judged = [*[("small", 1.0)] * 200, *[("large", 0.0)] * 9]
    router = make(min_samples=10, min_exploration=0.06)
    router.learn(log(*judged))
    assert probabilities(router, ask())[2] == pytest.approx(0.06 / 3, abs=1e-6)
    router.learn(log(("large", 0.0)))
    assert probabilities(router, ask())[2] < 1e-4


def test_epsilon_follows_its_schedule() -> None:
    config = configure(Thompson.Config, {"exploration_rate": 0.5, "exploration_decay": 0.9, "min_exploration": 0.1})
    assert [epsilon(config, n) for n in (0, 100, 200, 10_000)] == pytest.approx([0.5, 0.45, 0.405, 0.1])


def test_epsilon_greedy_knows_its_propensities_and_counts_decisions_not_feedback() -> None:
    router = make(kind=EpsilonGreedy, exploration_rate=0.5, exploration_decay=0.9, min_exploration=0.1)
    router.learn(attrs.evolve(log(("middle", 1.0)), made=100))
    assert probabilities(router, ask()) == pytest.approx([0.075 + 0.225, 0.55 + 0.075, 0.075])  # half of the exploration goes to the cheapest
    indifferent = make(kind=EpsilonGreedy, exploration_rate=0.5, exploration_decay=0.9, min_exploration=0.1, cost_awareness=False)
    indifferent.learn(attrs.evolve(log(("middle", 1.0)), made=100))
    assert probabilities(indifferent, ask()) == pytest.approx([0.15, 0.55 + 0.15, 0.15])


@pytest.mark.parametrize(
    ("cost", "allowed", "expected"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], [1 / 6, 4 / 6, 1 / 6]),
        ([3.0, 1.0, 2.0], [1, 0, 1], [1 / 2, 0, 1 / 2]),  # of two, both alike, as in vLLM Semantic Router
        ([2.0, 2.0, 2.0], [1, 1, 1], [1 / 3, 1 / 3, 1 / 3]),
        ([np.nan, np.nan, np.nan], [1, 1, 1], [1 / 3, 1 / 3, 1 / 3]),
        ([np.nan, 5.0, 9.0], [1, 1, 1], [1 / 6, 4 / 6, 1 / 6]),  # an unknown cost is not a low one
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1] * 6, [1 / 12] * 4 + [1 / 3] * 2),
    ],
)
def test_exploration_prefers_the_cheapest_third(cost: list[float], allowed: list[int], expected: list[float]) -> None:
    assert cheap_exploration(np.array(cost), np.array(allowed, dtype=bool)) == pytest.approx(expected)


def test_published_epsilon_greedy_exploits_the_plain_mean() -> None:
    router = make(blend="published", kind=EpsilonGreedy, exploration_rate=0.0, min_exploration=0.0, cost_weight=1.0, shared_sessions=True)
    router.learn(log(*[("large", 0.9)] * 50, *[("small", 0.8)] * 50, *[("middle", 0.1)] * 50))
    experience = attrs.evolve(log(*[("small", 1.0)] * 3), queries=[Query("?", session="s")] * 3)
    router.learn(experience)
    assert probabilities(router, ask(session="s")).tolist() == [0, 0, 1]  # neither the cost bonus nor the session counts


def test_epsilon_greedy_shares_among_equals() -> None:
    router = make(kind=EpsilonGreedy, exploration_rate=0.0, min_exploration=0.0)
    assert probabilities(router, ask()) == pytest.approx([1 / 3] * 3)


def test_an_exploration_of_zero_is_honoured() -> None:
    router = make(kind=EpsilonGreedy, exploration_rate=0, min_exploration=0)
    router.learn(log(("large", 1.0)))
    assert probabilities(router, ask()).tolist() == [0, 0, 1]


def test_the_published_algorithm_is_drawn_from_with_its_own_frequencies() -> None:
    router = make(blend="published", shared_sessions=True)
    router.learn(log(*[("small", 0.6)] * 5, *[("large", 0.9)] * 4, user="anna", category="code"))
    router.learn(log(*[("large", 0.2)] * 6, *[("middle", 0.7)] * 3, category="code"))
    router.evidence.add(EvidenceKeys(session="s"), [], 1.0, implicit=False, time=0.0)
    experience = log(("small", 1.0), ("small", 0.0), ("large", 1.0))
    router.learn(attrs.evolve(experience, queries=[Query("?", session="s")] * 3))
    rng, draws = np.random.default_rng(0), 200_000

    def posterior(level: str, name: str) -> np.ndarray:
        return 1 + np.array(counts(router, level, name))

    everywhere, category, user = posterior("global", ""), posterior("category", "code"), posterior("user", "anna")
    user[1] = everywhere[1]  # Anna never judged it
    blended = 0.7 * (0.3 * everywhere + 0.7 * user) + 0.3 * category
    bonus = 1 + 0.2 * (1 - np.array([0.0, 1 / 9, 1.0]))
    share = np.array([0.5, np.nan, 1.0])
    sampled = rng.beta(blended[:, 0], blended[:, 1], size=(draws, 3)) * bonus
    mixed = np.where(np.isnan(share), sampled, 0.5 * sampled + 0.5 * share)
    expected = np.bincount(mixed.argmax(axis=1), minlength=3) / draws
    assert probabilities(router, ask(user="anna", session="s", category="code")) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / draws))


def test_a_new_candidate_starts_from_the_prior() -> None:
    router = make()
    router.learn(log(*[("small", 1.0)] * 20))
    grown = Pool([*POOL, ModelSpec("new", prices=Prices(1, 1))])
    expected = router.score(ask(grown)).expected_quality
    assert expected is not None
    assert expected[0] == pytest.approx([21 / 22, 0.5, 0.5, 0.5])


def test_scores_are_kept_until_something_is_learned() -> None:
    router, request = make(), ask(user="anna")
    before = router.score(request)
    router.learn(attrs.evolve(log(("small", 1.0)), entries=()))
    assert router.score(request) is before
    router.learn(log(("small", 1.0), user="otto"))
    assert router.score(request) is not before


@pytest.mark.parametrize(
    ("options", "preference", "kept"),
    [
        ({}, None, False),
        ({"cost_awareness": False}, None, True),
        ({"cost_weight": 0.0}, None, True),
        ({"cost_awareness": False}, (0.5, 0.5, 0.0), False),
        ({}, (1.0, 0.0, 0.0), True),
    ],
)
def test_scores_are_kept_whatever_they_cost_where_cost_does_not_count(options: dict[str, Any], preference: Any, kept: bool) -> None:
    router = make(RATIOS, **options)
    router.learn(log(("small", 1.0)))
    weights, given = QUALITY_ONLY if preference is None else np.array(preference), preference is not None
    first, second = (build_request([Query("?", prompt_tokens=tokens)], RATIOS, weights, preference_given=given) for tokens in (10, 5000))
    assert (router.score(first) is router.score(second)) == kept


def test_users_and_sessions_of_whom_nothing_was_heard_share_their_scores() -> None:
    router = make()
    router.learn(log(("small", 1.0), user="anna"))
    assert router.score(ask(user="otto", session="1")) is router.score(ask(user="berta", session="2"))
    assert router.score(ask(user="otto")) is not router.score(ask(user="anna"))
    assert router.score(ask(user="otto")) is not router.score(ask())


def test_kept_scores_follow_prices_that_change_under_the_same_names() -> None:
    expensive = Pool(ModelSpec(name, prices=Prices(1000.0 - price, price)) for name, price in PRICES.items())
    router = make(blend="published")
    assert probabilities(router, ask()).tolist() != probabilities(router, ask(expensive)).tolist()


def test_kept_scores_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_bandit.thompson.router.CACHED_SCORES", 30)
    router = make()
    router.score(build_request([Query("?", prompt_tokens=n) for n in range(100)], POOL, QUALITY_ONLY))
    assert 0 < len(router._scores) <= 30


def test_scores_by_earlier_evidence_are_not_kept() -> None:
    router = make()
    for n in range(20):
        router.score(build_request([Query("?", prompt_tokens=n)], POOL, QUALITY_ONLY))
        router.learn(log(("small", 1.0), user="otto"))
    assert len(router._scores) == 2  # the last, by costs and by utility


@settings(max_examples=25, deadline=None)
@given(JUDGED, st.data())
def test_a_log_teaches_the_same_however_it_is_cut(judged: list[tuple[str, float, str | None]], data: Any) -> None:
    whole, cut = make(discount=0.95), make(discount=0.95)
    experience = log(*judged, category="code")
    whole.learn(experience)
    ends = sorted({0, len(judged), *data.draw(st.lists(st.integers(0, len(judged)), max_size=4))})
    for first, last in pairwise(ends):
        rows = np.arange(first, last)
        cut.learn(
            attrs.evolve(
                experience,
                queries=experience.queries[first:last],
                estimates=experience.estimates.take(rows),
                decisions=experience.decisions[first:last],
                entries=experience.entries[first:last],
                made=last - first,
            )
        )
    assert cut.evidence.to_json() == whole.evidence.to_json()


def test_a_decision_without_an_estimator_is_of_no_category_whatever_others_are_of() -> None:
    router, experience = make(), log(("small", 0.0), ("small", 1.0))
    router.learn(attrs.evolve(experience, estimates=Estimates.stack([Estimates.unknown(1), estimates(["code"])])))
    assert list(router.evidence.entities("category")) == ["code"]
    assert counts(router, "category", "code") == [[1, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("names", [("chat", "code"), ("code", "chat")])
def test_of_equally_likely_categories_the_first_by_name_counts(names: tuple[str, str]) -> None:
    router, experience = make(), log(("small", 1.0))
    nothing = np.full(1, np.nan)
    router.learn(attrs.evolve(experience, estimates=Estimates(nothing, np.array([[0.5, 0.5]]), names, nothing)))
    assert list(router.evidence.entities("category")) == ["chat"]


@settings(max_examples=25, deadline=None)
@given(JUDGED, st.sampled_from(BLENDS), st.sampled_from(["anna", None]))
def test_another_win_makes_a_candidate_no_less_likely(judged: list[tuple[str, float, str | None]], blend: str, user: str | None) -> None:
    router, request = make(blend=blend, min_samples=0), ask(user=user, category="code")
    router.learn(log(*judged, category="code"))
    before = probabilities(router, request)[0]
    router.learn(log(("small", 1.0, user), category="code"))
    assert probabilities(router, request)[0] >= before - 1e-4


@settings(max_examples=25, deadline=None)
@given(JUDGED, st.sampled_from(BLENDS), st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
def test_a_masked_candidate_has_no_probability_and_the_others_share_it(
    judged: list[tuple[str, float, str | None]], blend: str, mask: list[bool]
) -> None:
    router = make(blend=blend)
    router.learn(log(*judged))
    found = probabilities(router, attrs.evolve(ask(user="anna"), mask=np.array([mask])))
    assert (found[~np.array(mask)] == 0).all()
    assert found.sum() == pytest.approx(1)


def test_training_counts_every_known_outcome() -> None:
    quality = np.array([[1.0, 0.0, np.nan], [0.5, 1.0, 1.0]])
    queries = [Query("one", user="anna"), Query("two")]
    dataset = Dataset(queries, POOL, Outcomes(quality, np.ones((2, 3)), np.ones((2, 3))))
    router = make()
    assert router.train(Training(dataset=dataset)) == {"outcomes": 5}
    assert counts(router) == [[1.5, 0.5], [1, 1], [1, 0]]
    assert counts(router, "user", "anna") == [[1, 0], [0, 1], [0, 0]]


def test_training_without_outcomes_learns_the_log_that_is_there() -> None:
    router, experience = make(), log(("small", 1.0), ("large", 0.0))
    assert router.train(Training(dataset=Dataset(experience.queries, experience=experience))) == {"outcomes": 2}
    assert counts(router) == [[1, 0], [0, 0], [0, 1]]


def test_router_model_path_starts_from_a_checkpoint(tmp_path: Path) -> None:
    first = make()
    first.learn(log(("small", 1.0)))
    first.save(tmp_path)
    assert counts(make(router_model_path=str(tmp_path))) == [[1, 0], [0, 0], [0, 0]]


def test_a_checkpoint_that_the_state_file_takes_the_place_of_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def serve(wins: int) -> None:
        folder = tmp_path / f"{wins} wins"
        folder.mkdir(exist_ok=True)
        trained = make()
        trained.learn(log(*[("small", 1.0)] * wins))
        trained.save(folder)
        router = {"name": "thompson", "router_model_path": str(folder), "storage_path": str(tmp_path / "state.json")}
        with MetaController.build(router=router, store=f"sqlite:{tmp_path / 'log.db'}") as controller:
            controller.feedback(controller.route("?").id, quality=1.0, source=f"after {wins}")

    for _ in range(2):
        serve(10)
    assert "replaces" not in caplog.text
    serve(30)
    assert f"{tmp_path / 'state.json'} replaces the evidence that the router was trained on" in caplog.text


def test_a_router_model_path_without_a_valid_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"evidence\.json is missing"):
        make(router_model_path=str(tmp_path))
    (tmp_path / "evidence.json").write_bytes(b'{"selections": 0, "columns": [], "levels": {"\xff": {}}}')
    with pytest.raises(CheckpointError, match="not the evidence of a bandit"):
        make(router_model_path=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"router_model_path": "policy.pt"}, "can run code when it is read.*checkpoint folder"),
        ({"discount": 0.9, "window": 5}, "discount 0.9 and window 5 exclude each other"),
        ({"discount": 0.0}, "discount must be above 0"),
        ({"prior_alpha": 0.1}, "prior_alpha must be at least 0.5"),
        ({"blend": "linaer"}, "did you mean 'linear'"),
        ({"personalization_blend": 1.5}, "at most 1"),
        ({"use_thompson_sampling": "false"}, "true or false"),
        ({"exploration_rte": 0.1}, "did you mean 'exploration_rate'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_the_program_in_the_reference_page_runs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "bandit.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "LLM-Code\n"


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(
    "other",
    [{"user": "bob"}, {"user": None}, {"user": "ann", "tenant": "globex"}, {"user": "ann", "tenant": None}],
    ids=["another user", "no user", "another tenant", "no tenant"],
)
def test_a_session_counts_for_its_tenant_and_user_alone(blend: str, other: dict[str, Any]) -> None:
    def request(**about: Any) -> RoutingRequest:
        return build_request([Query("?", session="1", **about)], POOL, preferences=QUALITY_ONLY)

    def choices(router: Thompson, asked: RoutingRequest) -> list[float]:
        return [round(float(p), 9) for p in router.score(asked).probabilities[0]]

    own = {"user": "ann", "tenant": "acme"}
    router, without_session = (make(blend=blend, enable_personalization=False) for _ in range(2))
    for learner in (router, without_session):
        learner.learn(log(*[("small", 1.0), ("middle", 0.0)] * 40))
    for name, p in (("middle", 1.0), ("small", 0.0), ("large", 0.0)) * 6:
        feedback = Feedback(decision_id="d", candidate=name, quality=p)
        for learner, session in ((router, "1"), (without_session, None)):
            asked = [Query("?", session=session, **own)]
            learner.learn(Experience(1, asked, Estimates.unknown(1), [Decision("d", name, 0.3, Preference())], [feedback], made=1))
    assert choices(router, request(**own)) != choices(router, request(**other))
    assert choices(router, request(**other)) == choices(without_session, request(**other))


def test_a_user_of_another_tenant_is_another_user() -> None:
    router = make()
    feedback = Feedback(decision_id="d", candidate="middle", quality=1.0)
    asked = [Query("?", user="ann", tenant="acme")]
    router.learn(Experience(1, asked, Estimates.unknown(1), [Decision("d", "middle", 0.3, Preference())], [feedback], made=1))
    assert counts(router, "user", tenant_user("ann", "acme"))[1] == [1, 0]
    assert counts(router, "user", tenant_user("ann", "globex")) == counts(router, "user", "ann") == [[0, 0]] * 3


def test_shared_sessions_count_for_whoever_names_them() -> None:
    router = make(shared_sessions=True)
    router.learn(log(*[("small", 1.0), ("middle", 0.0)] * 10))
    feedback = Feedback(decision_id="d", candidate="middle", quality=1.0)
    asked = [Query("?", user="ann", session="1")]
    router.learn(Experience(1, asked, Estimates.unknown(1), [Decision("d", "middle", 0.3, Preference())], [feedback], made=1))
    assert list(router.evidence.entities("session")) == ["1"]
    assert probabilities(router, ask(user="bob", session="1")).tolist() != probabilities(router, ask(user="bob", session="2")).tolist()


def test_forgetting_a_user_leaves_the_sessions_of_others() -> None:
    router = make()
    for user, tenant in (("ann", "acme"), ("bob", "acme"), ("ann", None), (None, None)):
        key = session_key("1", user, tenant)
        router.evidence.add(EvidenceKeys(None, user and tenant_user(user, tenant), key), [], 1.0, implicit=False, time=0.0)
    router.evidence.drop_users(lambda users: {user for user in users if own_id(user) == "ann"})  # as a store: in all tenants
    assert list(router.evidence.entities("user")) == [tenant_user("bob", "acme")]
    assert list(router.evidence.entities("session")) == [session_key("1", "bob", "acme"), session_key("1")]


def test_forgetting_a_tenant_drops_its_sessions_without_a_user() -> None:
    router = make()
    for tenant in ("acme", "globex", None):
        router.evidence.add(EvidenceKeys(None, None, session_key("1", None, tenant)), [], 1.0, implicit=False, time=0.0)
    with closing(open_store("memory:", get_plugin_manager())) as store:
        store.forget(None, "acme")
        router.evidence.drop_users(store.forgotten)
    assert list(router.evidence.entities("session")) == [session_key("1", None, "globex"), session_key("1")]
