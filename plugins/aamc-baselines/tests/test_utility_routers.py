from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import ConfigError, EstimatesError
from aamc_sdk.routing import draw
from aamc_sdk.types import Outcomes

QUALITY = np.array([[0.5, 0.7, 0.9], [0.9, 0.9, 0.9]])


def test_rule_sends_a_query_to_the_tier_of_its_complexity(make_router: Any, make_request: Any, choose: Any) -> None:
    request = make_request(rows=5, complexity=[0.0, 0.33, 1 / 3, 0.66, 0.9])
    assert choose(make_router("rule", train=True), request) == ["small", "small", "middle", "middle", "large"]


def test_rules_thresholds_are_options(make_router: Any, make_request: Any, choose: Any) -> None:
    request = make_request(rows=3, complexity=[0.1, 0.4, 0.6])
    assert choose(make_router("rule", train=True, easy=0.1, hard=0.5), request) == ["middle", "middle", "large"]
    with pytest.raises(ConfigError, match="easy must be at most hard"):
        make_router("rule", easy=0.8, hard=0.5)


def test_rule_needs_an_estimated_complexity(make_router: Any, make_request: Any) -> None:
    with pytest.raises(EstimatesError, match="use an estimator of complexity, such as tce"):
        make_router("rule", train=True).score(make_request())


def test_greedy_takes_the_greatest_expected_utility(make_router: Any, make_request: Any, choose: Any) -> None:
    router = make_router("greedy")
    assert choose(router, make_request(quality=QUALITY, preference=(1, 0, 0)))[0] == "large"
    assert choose(router, make_request(quality=QUALITY)) == ["large", "small"]
    assert choose(router, make_request(quality=QUALITY, preference=(0, 1, 0))) == ["small", "small"]


def test_greedys_utility_is_the_reward_of_what_is_expected(make_router: Any, make_request: Any) -> None:
    request, router = make_request(quality=QUALITY), make_router("greedy")
    expected = router.services.reward.scalar(request.expected, request.preferences)
    np.testing.assert_array_equal(router.score(request).utility, expected)


def test_greedy_without_expected_quality_says_what_to_do(make_router: Any, make_request: Any) -> None:
    with pytest.raises(EstimatesError, match="--estimator tce"):
        make_router("greedy").score(make_request())


def test_best_single_is_the_best_on_average_under_each_preference(make_router: Any, make_request: Any, choose: Any) -> None:
    router = make_router("best-single", train=True)
    assert choose(router, make_request(preference=(1, 0, 0))) == ["large"] * 2
    assert choose(router, make_request(preference=(0, 1, 0))) == ["middle"] * 2
    assert choose(router, make_request(preference=(0, 0, 1))) == ["small"] * 2


def test_best_singles_utility_is_the_mean_reward(make_router: Any, make_request: Any, training: Any) -> None:
    router, request = make_router("best-single", train=True), make_request(preference=(0.6, 0.3, 0.1))
    rewards = router.services.reward.scalar(training.dataset.outcomes, np.array([[0.6, 0.3, 0.1]]))
    np.testing.assert_allclose(router.score(request).utility, np.tile(rewards.mean(axis=0), (2, 1)))


def test_best_single_takes_a_newcomer_last_and_only_newcomers_not_at_all(make_router: Any, make_request: Any, make_pool: Any, choose: Any) -> None:
    router = make_router("best-single", train=True)
    assert choose(router, make_request(make_pool(newcomer=0.1, small=1.0))) == ["small"] * 2
    with pytest.raises(EstimatesError, match="train it"):
        router.score(make_request(make_pool(newcomer=0.1)))


def test_oracle_is_privileged_and_greedy_on_hindsight(make_router: Any, make_request: Any, choose: Any) -> None:
    router = make_router("oracle")
    hindsight = Outcomes(np.array([[0.0, 1, 1], [0, 0, 0]]), np.array([[30.0, 2, 10]] * 2), np.array([[100.0, 200, 500]] * 2))
    assert router.privileged
    assert choose(router, attrs.evolve(make_request(), hindsight=hindsight)) == ["middle", "middle"]
    with pytest.raises(EstimatesError, match="choose another router"):
        router.score(make_request())


def test_random_draws_each_allowed_candidate_as_often_and_knows_how_likely(make_router: Any, make_request: Any) -> None:
    router = make_router("random")
    request = make_request(rows=3000, unavailable=np.array([False, True, False]))
    chosen, propensity, _ = draw(router.score(request), request, router.samples, 0, [str(row) for row in range(3000)])
    shares = np.bincount(chosen, minlength=3) / 3000
    np.testing.assert_allclose(shares, [0.5, 0, 0.5], atol=0.03)
    np.testing.assert_allclose(propensity, 0.5)


def test_random_need_not_draw(make_router: Any) -> None:
    assert not make_router("random", sample=False).samples


@pytest.mark.parametrize(
    ("name", "looks"), [("llm-only", False), ("slm-only", False), ("rule", False), ("random", False), ("greedy", True), ("best-single", True)]
)
def test_only_routers_that_weigh_the_preference_say_so(name: str, looks: bool, make_router: Any, make_request: Any) -> None:
    router = make_router(name, train=True)
    asked = [make_request(quality=QUALITY, complexity=[0.1, 0.9], preference=p) for p in ((1, 0, 0), (0.1, 0.9, 0))]
    utilities = [router.score(request).utility for request in asked]
    assert router.uses_preference == looks
    assert np.array_equal(*utilities) != looks


@pytest.mark.parametrize("name", ["llm-only", "slm-only", "rule", "random", "greedy", "best-single"])
def test_a_batch_of_none_gets_no_scores(name: str, make_router: Any, make_request: Any) -> None:
    scores = make_router(name, train=True).score(make_request(rows=0, complexity=[], quality=np.empty((0, 3))))
    assert scores.utility.shape == (0, 3)
