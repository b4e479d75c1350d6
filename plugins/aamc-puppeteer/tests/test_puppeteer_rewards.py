import math

import pytest
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns

COSTS = (1.0, 2.0, 4.0)


def test_step_charges_each_cost_once() -> None:
    rule = EpisodeReward(cost_weight=0.1, discount=1.0)
    assert rule.rewards(COSTS, rule.outcome(True)) == pytest.approx((-0.1, -0.2, 0.6))
    assert sum(rule.rewards(COSTS, 1.0)) == pytest.approx(1 - 0.1 * sum(COSTS))


def test_total_charges_all_at_the_end() -> None:
    assert EpisodeReward(name="total", cost_weight=0.1, failure=-1).rewards(COSTS, -1.0) == pytest.approx((-0.1, -0.2, -1.7))


def test_log_charges_by_the_step_alone() -> None:
    rule = EpisodeReward(name="log", cost_weight=0.5, step_factor=2.0, step_scale=4.0)
    expected = [-math.log(1 + 1 / 4), -math.log(1 + 2 / 4), 1 - math.log(1 + 3 / 4)]
    assert rule.rewards(COSTS, 1.0) == pytest.approx(expected)


def test_an_episode_without_actions_earns_nothing() -> None:
    assert EpisodeReward().rewards((), 1.0) == ()


def test_returns_are_the_papers_recursion() -> None:
    assert discounted_returns([1.0, 2.0, 4.0], 0.5) == [3.0, 4.0, 4.0]
