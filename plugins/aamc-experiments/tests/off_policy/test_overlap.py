"""The overlap of policies: effective sample sizes by hand, and the logs that are refused."""

import numpy as np
import pytest
from aamc_experiments.off_policy import Choices, refusal
from aamc_experiments.off_policy.overlap import MIN_EFFECTIVE


def logs_of(rows, logged, target, chosen):
    """Return choices of a policy that is the same in every row."""
    return Choices(np.array(chosen), np.tile(logged, (rows, 1)), np.tile(target, (rows, 1)))


def test_the_effective_size_to_expect_of_a_rare_candidate_is_how_often_it_comes():
    choices = logs_of(1000, [0.96, 0.04], [0.0, 1.0], [0] * 1000)
    assert choices.expected_effective == pytest.approx(40)
    assert choices.effective == 0
    assert choices.max_weight == pytest.approx(25)


def test_a_log_of_one_choice_says_nothing_of_another():
    choices = logs_of(500, [1.0, 0.0], [0.9, 0.1], [0] * 500)
    assert choices.unsupported == pytest.approx(0.1)
    assert "no overlap: 10.0% of its choices" in refusal(choices)
    assert "draws for each request, such as epsilon-greedy or a canary without by_user" in refusal(choices)


def test_a_log_of_one_choice_supports_the_policy_that_agrees():
    assert refusal(logs_of(500, [1.0, 0.0], [1.0, 0.0], [0] * 500)) is None


def test_too_few_decisions_that_agree_are_refused_whether_or_not_luck_had_it():
    rare = [0.005] * 9 + [0.955]
    for chosen in ([9] * 200, [0] * 200):
        assert "too little overlap: 200 logged decisions, but an effective sample size of 1.0" in refusal(logs_of(200, rare, np.eye(10)[0], chosen))


def test_enough_to_expect_and_none_that_came_is_refused_too():
    rows = int(MIN_EFFECTIVE / 0.1) + 10
    assert "too little overlap" in refusal(logs_of(rows, [0.9, 0.1], [0.0, 1.0], [0] * rows))
