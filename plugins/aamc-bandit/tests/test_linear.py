"""The router ``linear-thompson``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit.linear.router import LinearThompson

from aamc_sdk import get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Services, Training
from aamc_sdk.routing import LinearReward, build_request, decide
from aamc_sdk.testing import assert_conforms, make_dataset, make_request
from aamc_sdk.types import Decision, Estimates, Experience, Feedback, ModelSpec, Outcomes, Pool, Preference, Prices, Query, RoutingRequest

QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
NAMES = ("code", "chat")


def router(pool: Pool, **options: Any) -> LinearThompson:
    services = Services(pool=pool, reward=LinearReward(), make=lambda *_: None, seed=0)
    return LinearThompson(configure(LinearThompson.Config, options), services)


def estimates(codes: Any) -> Estimates:
    """Return estimates of queries that are about code, where 1, or chat."""
    code = np.asarray(codes, dtype=float)
    nothing = np.full(len(code), np.nan)
    return Estimates(nothing, np.column_stack((code, 1 - code)), NAMES, nothing)


def request(pool: Pool, codes: Any, quality: Any = None) -> RoutingRequest:
    return build_request([Query("?")] * len(codes), pool, QUALITY_ONLY, estimates=estimates(codes), quality=quality)


def experience(codes: Any, candidates: list[str], qualities: Any, first: int = 0, **feedback: Any) -> Experience:
    decisions = [Decision(str(first + n), name, 1.0, Preference()) for n, name in enumerate(candidates)]
    said = [Feedback(decision_id=d.id, quality=float(q), **feedback) for d, q in zip(decisions, qualities, strict=True)]
    return Experience(0, [Query("?")] * len(decisions), estimates(codes), decisions, said)


@pytest.mark.parametrize("options", [{}, {"mode": "linucb"}, {"mode": "linucb", "epsilon": 0.2}, {"dimensions": 0}])
def test_it_conforms(options: dict[str, Any]) -> None:
    assert_conforms("router", "linear-thompson", get_plugin_manager(), options)


def test_it_expects_what_ridge_on_all_feedback_expects(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    codes, qualities = rng.integers(2, size=80), rng.random(80)
    learner = router(pool, discount=1.0, newcomer_outcomes=0.0, dimensions=0)
    learner.learn(experience(codes, ["small"] * 80, qualities))
    x = np.column_stack((np.ones(80), codes, 1 - codes))
    penalty = (0.45 / np.array([0.35, 0.2, 0.2])) ** 2
    coefficients = np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ (qualities - 0.5))
    found = learner.score(request(pool, [1, 0]))
    assert found.expected_quality[:, 0] == pytest.approx(0.5 + np.array([[1, 1, 0], [1, 0, 1]]) @ coefficients)
    assert found.expected_quality[:, 1].tolist() == [0.5, 0.5]


def test_what_the_estimator_expects_is_where_learning_begins(pool: Pool) -> None:
    expected = np.array([[0.9, 0.2, np.nan]])
    learner = router(pool, newcomer_outcomes=0.0)
    asked = request(pool, [1], expected)
    assert learner.score(asked).expected_quality[0] == pytest.approx([0.9, 0.2, 0.5])
    told = attrs.evolve(experience([1] * 200, ["small"] * 200, [0.4] * 200), expected_quality=[{"small": 0.9}] * 200)
    learner.learn(told)
    assert learner.score(asked).expected_quality[0] == pytest.approx([0.4, 0.2, 0.5], abs=0.05)


def test_where_the_estimator_expects_something_the_uncertainty_is_that_of_its_error(pool: Pool) -> None:
    scores = router(pool, mode="linucb", exploration=1.0, residual=0.25).score(request(pool, [1], np.array([[0.9, 0.9, np.nan]])))
    above = scores.utility[0] - scores.expected_quality[0]
    assert above[0] == pytest.approx(0.25 * above[2])


def test_another_order_of_the_candidates_changes_no_expectation(pool: Pool) -> None:
    learner = router(pool)
    learner.learn(experience([1] * 9, ["small"] * 9, [1.0] * 9))
    first, second = (learner.score(request(each, [1])).expected_quality[0] for each in (pool, Pool(reversed(list(pool)))))
    assert first == pytest.approx(second[::-1])


def test_the_same_log_gives_the_same_posterior_however_it_is_cut(pool: Pool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    codes, names, qualities = rng.integers(2, size=60), [pool.names[n] for n in rng.integers(3, size=60)], rng.random(60)
    states = []
    for cut in (60, 1, 7):
        learner = router(pool)
        for start in range(0, 60, cut):
            end = start + cut
            learner.learn(experience(codes[start:end], names[start:end], qualities[start:end], start))
            learner.score(request(pool, [1]))  # looking changes nothing
        states.append(learner.score(request(pool, [1, 0])))
    assert all(np.array_equal(states[0].utility, other.utility) for other in states)
    assert all(np.array_equal(states[0].probabilities, other.probabilities) for other in states)


def test_saving_and_loading_loses_not_a_bit(pool: Pool, tmp_path: Path) -> None:
    learner, again = router(pool), router(pool)
    learner.learn(experience([1, 0, 1], ["small", "large", "small"], [1, 0.3, 0.7]))
    learner.save(tmp_path)
    again.load(tmp_path)
    for one in (learner, again):
        one.learn(experience([0], ["middle"], [0.2], 3))
    first, second = (one.score(request(pool, [1, 0])) for one in (learner, again))
    assert np.array_equal(first.utility, second.utility)
    assert np.array_equal(first.probabilities, second.probabilities)


def test_a_state_of_other_dimensions_is_refused(pool: Pool, tmp_path: Path) -> None:
    learner = router(pool, dimensions=3)
    learner.learn(experience([1], ["small"], [1]))
    learner.save(tmp_path)
    with pytest.raises(CheckpointError, match="a number of dimensions other than 2"):
        router(pool, dimensions=2).load(tmp_path)


def test_comparisons_are_a_win_and_a_loss_and_ties_halves(pool: Pool) -> None:
    learner = router(pool, newcomer_outcomes=0.0)
    told = experience([1, 1], ["small", "large"], [1, 1])
    win = Feedback(decision_id="0", over="middle")
    tie = Feedback(decision_id="1", over="middle", tie=True)
    learner.learn(attrs.evolve(told, entries=[win] * 20))
    small, middle, large = learner.score(request(pool, [1])).expected_quality[0]
    assert small > 0.8
    assert middle == pytest.approx(1 - small)
    learner.learn(attrs.evolve(told, entries=[tie] * 20))
    assert learner.score(request(pool, [1])).expected_quality[0, 2] == large == 0.5


def test_implicit_feedback_counts_by_its_weight_and_confidence(pool: Pool) -> None:
    quiet, plain = router(pool, discount=1.0), router(pool, discount=1.0)
    quiet.learn(experience([1] * 10, ["small"] * 10, [0] * 10, source="implicit:followup", confidence=0.8))
    plain.learn(experience([1] * 4, ["small"] * 4, [0] * 4))
    first, second = (one.score(request(pool, [1])).expected_quality[0, 0] for one in (quiet, plain))
    assert first == pytest.approx(second)  # 10 x 0.5 x 0.8 = 4
    assert first < 0.5


def test_feedback_whose_decision_is_not_there_is_left_out(pool: Pool) -> None:
    learner = router(pool)
    learner.learn(attrs.evolve(experience([1], ["small"], [1.0]), entries=[Feedback(decision_id="another", quality=1.0)]))
    assert learner.score(request(pool, [1])).utility == pytest.approx(router(pool).score(request(pool, [1])).utility)


def test_a_masked_candidate_may_be_one_without_a_price() -> None:
    pool = Pool([ModelSpec("small", prices=Prices(1, 1)), ModelSpec("twin", prices=Prices(1, 1)), ModelSpec("unpriced")])
    learner, asked = router(pool), request(pool, [1])
    learner.services.reward.fit(Outcomes(None, np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3))))
    asked = attrs.evolve(asked, preferences=np.array([[0.5, 0.5, 0.0]]), mask=np.array([[True, True, False]]))
    assert learner.score(asked).probabilities == pytest.approx(np.array([[0.5, 0.5, 0.0]]))


def test_what_is_discounted_adapts_and_what_is_not_does_not(pool: Pool) -> None:
    found = []
    for discount in (0.98, 1.0):
        learner = router(pool, discount=discount)
        learner.learn(experience([1] * 300, ["small"] * 300, [0.9] * 300))
        learner.learn(experience([1] * 100, ["small"] * 100, [0.1] * 100, 300))
        found.append(learner.score(request(pool, [1])).expected_quality[0, 0])
    assert found[0] < 0.25 < 0.6 < found[1]


def test_a_newcomer_like_a_good_candidate_is_tried_more_than_one_like_a_bad_one() -> None:
    good, bad = "Proves theorems step by step.", "Chats about the weather, briefly."
    old = [ModelSpec("good", good, prices=Prices(1, 1)), ModelSpec("bad", bad, prices=Prices(1, 1))]
    learner = router(Pool(old))
    learner.learn(experience([1] * 80, ["good", "bad"] * 40, [0.9, 0.1] * 40))
    grown = Pool([*old, ModelSpec("like good", good, prices=Prices(1.1, 1.1)), ModelSpec("like bad", bad, prices=Prices(1.1, 1.1))])
    scores = learner.score(request(grown, [1]))
    _, _, like_good, like_bad = scores.probabilities[0]
    assert like_good > 5 * like_bad
    assert scores.expected_quality[0, 2] > 0.6 > 0.4 > scores.expected_quality[0, 3]


def test_the_preference_decides_through_the_reward(pool: Pool) -> None:
    services = Services(pool=pool, reward=LinearReward(), make=lambda *_: None, seed=0)
    asked = request(pool, [1])
    services.reward.fit(asked.expected)
    learner = LinearThompson(configure(LinearThompson.Config, {"posterior_scale": 0.3}), services)  # a candidate that was never tried counts little
    learner.learn(experience([1] * 60, ["small", "large"] * 30, [0.5, 0.9] * 30))
    by_quality, by_cost = (learner.score(asked.with_preference(np.array(weights))) for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    assert by_quality.probabilities[0, 2] > 0.9
    assert by_cost.probabilities[0] == pytest.approx([1, 0, 0], abs=1e-6)
    unasked = attrs.evolve(asked, preference_given=False)
    scores = learner.score(unasked)
    assert scores.utility[0] - scores.expected_quality[0] == pytest.approx(0.04 * (1 - np.array([0.1, 0.2, 1.0])))
    careless = LinearThompson(configure(LinearThompson.Config, {"cost_awareness": False}), services).score(unasked)
    assert careless.utility[0] == pytest.approx([0.5] * 3)


def test_a_failure_at_the_first_try_leaves_a_candidate_a_chance(pool: Pool) -> None:
    learner = router(pool)
    learner.learn(experience([1], ["small"], [0.0]))
    learner.learn(experience([1] * 50, ["large"] * 50, [0.7] * 50, first=1))
    scores = learner.score(request(pool, [1]))
    assert scores.probabilities is not None
    assert scores.probabilities[0, pool.index("small")] > 0.02


def test_linucb_takes_the_greatest_bound_and_epsilon_leaves_a_chance(pool: Pool) -> None:
    learner = router(pool, mode="linucb", epsilon=0.3, exploration=0.0)
    learner.learn(experience([1] * 60, ["small", "large"] * 30, [0.5, 0.9] * 30))
    asked = attrs.evolve(request(pool, [1]), mask=np.array([[True, False, True]]))
    assert learner.score(asked).probabilities[0] == pytest.approx([0.15, 0.0, 0.85])
    curious = router(pool, mode="linucb", exploration=50.0)
    curious.learn(experience([1] * 60, ["small", "large"] * 30, [0.5, 0.9] * 30))
    assert curious.score(request(pool, [1])).probabilities[0].tolist() == [0, 1, 0]


def test_training_learns_the_table_and_the_embeddings_directions() -> None:
    dataset = make_dataset(60)
    asked = make_request(dataset)
    learner = router(asked.pool)
    assert learner.train(Training(dataset=dataset, request=asked)) == {"outcomes": 240}
    blind = router(asked.pool)
    assert blind.train(Training(dataset=attrs.evolve(dataset, outcomes=None), request=asked)) == {"outcomes": 0}
    quality = dataset.outcomes.quality
    errors = [np.mean((one.score(asked).expected_quality - quality) ** 2) for one in (learner, blind)]
    assert errors[0] < errors[1]


def test_an_empty_table_teaches_nothing() -> None:
    nothing = make_dataset(3).take(np.array([], dtype=np.intp))
    asked = make_request(nothing)
    learner = router(asked.pool)
    assert learner.train(Training(dataset=nothing, request=asked)) == {"outcomes": 0}


def play(learner: LinearThompson, pool: Pool, steps: int, seed: int) -> Iterator[float]:
    """Yield the regret of each step in a world where one candidate is good at code and another at chat."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        code = int(rng.integers(2))
        chances = np.array([0.8, 0.3, 0.5] if code else [0.3, 0.8, 0.5])
        asked = request(pool, [code])
        (decision,) = decide(learner.score(asked), asked, [f"{seed}/{step}"], router="", sample=True, seed=seed)
        chosen = pool.index(decision.candidate)
        quality = float(rng.random() < chances[chosen])
        said = [Feedback(decision_id=decision.id, quality=quality)]
        learner.learn(Experience(step, asked.queries, asked.estimates, [decision], said))
        yield 0.8 - chances[chosen]


@pytest.mark.parametrize("options", [{}, {"mode": "linucb", "exploration": 2.0}])
def test_regret_grows_slower_than_time(pool: Pool, options: dict[str, Any]) -> None:
    regret = np.array([list(play(router(pool, **options), pool, 300, seed)) for seed in range(8)])
    early, late = regret[:, :100].sum(axis=1), regret[:, 200:].sum(axis=1)
    saved = early - late
    assert saved.mean() > 2 * saved.std(ddof=1) / np.sqrt(8)
    assert late.mean() < 0.25 * 100 * (0.8 - np.mean([0.8, 0.3, 0.5]))  # of what choosing at random loses


def test_nothing_is_known_of_outcomes_that_were_not_measured(pool: Pool) -> None:
    asked = request(pool, [1, 0])
    nothing = np.array([[np.nan, 1.0, np.nan], [np.nan, 1.0, 0.0]])
    data = attrs.evolve(make_dataset(2), outcomes=Outcomes(nothing, np.ones((2, 3)), np.ones((2, 3))))
    learner = router(pool, newcomer_outcomes=0.0)
    assert learner.train(Training(dataset=data, request=asked)) == {"outcomes": 3}
    small, middle, large = learner.score(asked).expected_quality[0]
    assert small == 0.5
    assert large < 0.5 < middle
