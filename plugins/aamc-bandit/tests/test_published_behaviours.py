"""The behaviours that vLLM Semantic Router's own tests expect of ``rl_driven``, asked of our routers.

Its suite: ``rl_driven_test.go``, ``rl_driven_storage_test.go``, ``auto_save_interval_test.go`` and the end-to-end cases. Here each
is asked of every blend where it is about choosing, so that nobody who comes from there misses something.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.leaderboard import leaderboard
from aamc_bandit.thompson import session_key
from aamc_bandit.thompson.autosave import auto_save_seconds
from aamc_bandit.thompson.hierarchy import average_posteriors
from aamc_bandit.thompson.options import BLENDS, ThompsonOptions
from aamc_bandit.thompson.router import epsilon

from aamc_sdk import MetaController, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import AamcError, PoolError
from aamc_sdk.interfaces import Estimator
from aamc_sdk.routing import build_request
from aamc_sdk.serving import components_from_settings
from aamc_sdk.types import Decision, Estimates, ModelSpec, Pool, Preference, Prices, Query

NAMES = ("gpt-4", "claude-3-sonnet", "mistral-7b")
every_blend = pytest.mark.parametrize("blend", BLENDS)


class ByFirstWord(Estimator):
    """Takes a query's first word for its category: coding or reasoning."""

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        names = ("coding", "reasoning")
        categories = np.array([[float(query.text.startswith(name)) for name in names] for query in queries])
        return attrs.evolve(Estimates.unknown(len(queries)), categories=categories, category_names=names)


@pytest.fixture
def build():
    """Return what makes controllers, and closes them in the end."""
    opened: list[MetaController] = []

    def make(
        names: Sequence[str] = NAMES, prices: Sequence[float] | None = None, router: str = "thompson", estimator: bool = False, **options: Any
    ) -> MetaController:
        priced = prices or [1.0] * len(names)
        pool = Pool([ModelSpec(name, prices=Prices(price, price)) for name, price in zip(names, priced, strict=True)])
        settings = ServingSettings.of({"router": {"name": router, "blend": "linear", "discount": 1.0, **options}, "seed": 7})
        components = components_from_settings(settings, get_plugin_manager(), pool=pool)
        controller = MetaController(attrs.evolve(components, estimator=ByFirstWord(None, components.router.services) if estimator else None))
        opened.append(controller)
        return controller

    yield make
    for controller in opened:
        controller.close()


def say(controller: MetaController, winner: str, loser: str | None = None, times: int = 1, text: str = "test query", **about: Any) -> None:
    """Give feedback so many times: one candidate beat another, or was good."""
    asked = {key: about.pop(key) for key in ("user", "session") if key in about}
    judgement = {"quality": 1.0} if loser is None else {"over": loser}
    for decision in controller.route_batch([Query(text, **asked)] * times):
        controller.feedback(decision.id, candidate=winner, **judgement, **about)
    controller.learner.flush()


def choose(controller: MetaController, times: int = 100, text: str = "test query", **asked: Any) -> Counter[str]:
    """Return how often each candidate is chosen."""
    decisions = controller.route_batch([Query(text, **asked)] * times, ids=[f"{number} {text} {asked}" for number in range(times)])
    return Counter(decision.candidate for decision in decisions)


def counted(controller: MetaController, candidate: str, level: str = "global", name: str = "") -> Any:
    return controller.router.evidence.entities(level)[name].candidates[candidate]


@pytest.mark.parametrize(("wins", "losses", "mean"), [(0, 0, 1 / 2), (9, 0, 10 / 11), (0, 9, 1 / 11), (4, 4, 1 / 2), (9, 1, 10 / 12), (1, 9, 2 / 12)])
def test_the_mean_of_a_posterior(build, wins, losses, mean) -> None:
    controller = build(["only", "other"])
    say(controller, "only", times=wins)
    for decision in controller.route_batch(["test query"] * losses):
        controller.feedback(decision.id, candidate="only", quality=0.0)
    controller.learner.flush()
    scores = controller.router.score(build_request([Query("test query")], controller.pool, Preference().array))
    assert scores.expected_quality[0] == pytest.approx([mean, 0.5])


@every_blend
def test_a_basic_selection_is_one_of_the_candidates_and_says_who_decided(build, blend) -> None:
    decision = build(blend=blend).route("What is the capital of France?")
    assert isinstance(decision, Decision)
    assert decision.candidate in NAMES
    assert decision.router == "thompson"


def test_a_good_answer_raises_alpha_and_a_lost_comparison_beta(build) -> None:
    controller = build()
    say(controller, "gpt-4")
    assert (counted(controller, "gpt-4").wins, counted(controller, "gpt-4").losses) == (1, 0)
    say(controller, "gpt-4", "mistral-7b")
    assert (counted(controller, "gpt-4").wins, counted(controller, "mistral-7b").losses) == (2, 1)


@every_blend
@pytest.mark.parametrize("events", [3, 11])
def test_a_users_model_is_chosen_at_least_60_of_100_times(build, blend, events) -> None:
    controller = build(["gpt-4", "mistral-7b"], blend=blend)
    say(controller, "gpt-4", "mistral-7b", events, user="user-123")
    assert counted(controller, "gpt-4", "user", "user-123").wins == events
    assert choose(controller, user="user-123")["gpt-4"] >= 60


def test_personalization_can_be_off(build) -> None:
    controller = build(enable_personalization=False)
    say(controller, "gpt-4", "mistral-7b", 11, user="user-123")
    assert controller.router.evidence.entities("user") == {}


def test_implicit_feedback_counts_its_weight_times_its_confidence(build) -> None:
    controller = build(implicit_feedback_weight=0.5)
    say(controller, "gpt-4", source="implicit/satisfied", confidence=0.8)
    assert counted(controller, "gpt-4").wins == pytest.approx(0.4)
    assert (counted(controller, "gpt-4").implicit, counted(controller, "gpt-4").explicit) == (1, 0)


def test_implicit_dissatisfaction_counts_against_the_model(build) -> None:
    controller = build(implicit_feedback_weight=0.5)
    decision = controller.route("test query")
    controller.feedback(decision.id, candidate="gpt-4", quality=0.0, source="implicit/wrong_answer", confidence=0.8)
    controller.learner.flush()
    assert (counted(controller, "gpt-4").wins, counted(controller, "gpt-4").losses) == (0, pytest.approx(0.4))


def test_a_session_counts_its_selections_and_successes(build) -> None:
    controller = build()
    say(controller, "gpt-4", "mistral-7b", session="session-abc")
    winner, loser = (counted(controller, name, "session", session_key("session-abc")) for name in ("gpt-4", "mistral-7b"))
    assert (winner.total, winner.successes) == (1, 1)
    assert (loser.total, loser.successes) == (1, 0)


@every_blend
def test_a_sessions_successes_make_its_model_the_preferred_one(build, blend) -> None:
    controller = build(blend=blend)
    say(controller, "claude-3-sonnet", times=3, session="session-abc")
    chosen = choose(controller, session="session-abc")
    assert chosen.most_common(1)[0][0] == "claude-3-sonnet"
    assert chosen["claude-3-sonnet"] > 40


def test_exploration_decays_by_the_hundred_down_to_its_least() -> None:
    options = ThompsonOptions(exploration_rate=0.5, exploration_decay=0.9, min_exploration=0.1)
    assert epsilon(options, 0) == pytest.approx(0.5)
    assert epsilon(options, 100) == pytest.approx(0.5 * 0.9)
    assert epsilon(options, 10_000) == 0.1


def test_the_exploration_of_a_decision_is_that_of_its_number(build) -> None:
    controller = build(["a", "b"], router="epsilon-greedy", exploration_rate=0.5, exploration_decay=0.9, min_exploration=0.1)
    say(controller, "a", "b", 100)
    assert controller.router.evidence.selections == 100
    assert controller.route("test query").probabilities["b"] == pytest.approx(0.45 / 2)


@every_blend
def test_a_cheaper_model_is_preferred_among_equals(build, blend) -> None:
    controller = build(["gpt-4", "mistral-7b"], [30.0, 0.5], blend=blend, cost_awareness=True, cost_weight=0.3)
    cheap = controller.route("Simple question").probabilities["mistral-7b"]
    indifferent = build(["gpt-4", "mistral-7b"], [30.0, 0.5], blend=blend, cost_awareness=False).route("Simple question").probabilities["mistral-7b"]
    assert indifferent == pytest.approx(0.5, abs=1e-4)
    assert cheap > indifferent + 0.01


def test_a_leaderboard_is_in_the_order_of_means(build) -> None:
    controller = build()
    say(controller, "gpt-4", "mistral-7b", 10, user="ann")
    say(controller, "mistral-7b", "gpt-4", 3, user="bob")
    standings = leaderboard(controller.router.evidence)
    assert [standing.candidate for standing in standings] == ["gpt-4", "mistral-7b"]
    assert [(standing.alpha, standing.beta, standing.feedback) for standing in standings] == [(11, 4, 13), (4, 11, 13)]
    assert [standing.candidate for standing in leaderboard(controller.router.evidence, "user", "bob")] == ["mistral-7b", "gpt-4"]
    assert leaderboard(controller.router.evidence, "user", "eve") == []


def test_no_candidates_are_an_error(build) -> None:
    with pytest.raises(PoolError, match="at least one candidate"):
        build([])


def test_feedback_about_nobody_and_of_a_model_over_itself_are_refused(build) -> None:
    controller = build()
    decision = controller.route("test")
    with pytest.raises(AamcError, match="either a quality or the candidate that was beaten"):
        controller.feedback(decision.id)
    with pytest.raises(AamcError, match="cannot beat itself"):
        controller.feedback(decision.id, candidate="gpt-4", over="gpt-4")
    with pytest.raises(AamcError, match="confidence must be a number from 0 to 1"):
        controller.feedback(decision.id, candidate="gpt-4", quality=1.0, confidence=2.0)


@pytest.mark.parametrize(("router", "options"), [("epsilon-greedy", {}), ("thompson", {"use_thompson_sampling": False})])
def test_epsilon_greedy_mostly_takes_the_best(build, router, options) -> None:
    controller = build(["a", "b"], router=router, exploration_rate=0.3, min_exploration=0.1, **options)
    say(controller, "a", "b", 20)
    assert 75 <= choose(controller)["a"] < 100  # 1 - 0.3 / 2 of them, give or take


def test_the_linear_blend_of_10_2_and_2_10_is_6_6() -> None:
    assert average_posteriors(np.array([10.0, 2.0]), np.array([2.0, 10.0]), 0.5).tolist() == [6.0, 6.0]


def test_a_category_has_its_own_preference(build) -> None:
    controller = build(["deepseek-coder", "gpt-4"], estimator=True)
    say(controller, "deepseek-coder", "gpt-4", 3, text="coding: sort")
    say(controller, "gpt-4", "deepseek-coder", 3, text="reasoning: why")
    assert choose(controller, text="coding: a Python function")["deepseek-coder"] > 60
    assert choose(controller, text="reasoning: prove it")["gpt-4"] > 60


def test_a_tie_counts_for_and_against_both_alike(build) -> None:
    controller = build()
    say(controller, "gpt-4", "claude-3-sonnet", tie=True)
    for name in ("gpt-4", "claude-3-sonnet"):
        assert (counted(controller, name).wins, counted(controller, name).losses) == (0.5, 0.5)


@every_blend
def test_with_nothing_known_several_models_are_tried(build, blend) -> None:
    assert len(choose(build(blend=blend), 30)) >= 2


@every_blend
def test_what_proved_itself_is_used(build, blend) -> None:
    controller = build(blend=blend)
    say(controller, "mistral-7b", times=20)
    assert controller.route("test query").probabilities["mistral-7b"] > 0.85


@pytest.mark.parametrize("options", [{}, {"use_thompson_sampling": False, "exploration_rate": 1.0, "min_exploration": 1.0}])
def test_32_threads_choose_at_once(build, options) -> None:
    controller = build([f"model-{letter}" for letter in "abcd"], **options)
    chosen: list[str] = []

    def work(number: int) -> None:
        for n in range(50):
            decision = controller.route("test", user=f"user {number % 4}")
            chosen.append(decision.candidate)
            if n % 10 == 0:
                controller.feedback(decision.id, quality=1.0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    controller.learner.flush()
    assert len(chosen) == 1600
    assert set(chosen) <= set(controller.pool.names)
    assert controller.router.evidence.selections == 1600
    assert sum(cell.total for cell in controller.router.evidence.entities("global")[""].candidates.values()) == 160


@pytest.mark.parametrize(("text", "seconds"), [("", 30), ("45s", 45), ("0s", 30), ("-5s", 30), ("banana", 30), ("48h", 30)])
def test_an_auto_save_interval(text, seconds) -> None:
    assert auto_save_seconds(text) == seconds
