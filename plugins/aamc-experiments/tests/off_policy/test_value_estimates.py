"""Off-policy estimates: by hand, on every log that could have been, and how often their intervals hold the truth."""

import itertools

import numpy as np
import pytest
from aamc_experiments.off_policy import Choices, estimate, refusal
from aamc_experiments.off_policy.value_estimates import outcome_model

UNKNOWN = np.nan


def logs_of(rows, logged, target, chosen):
    """Return choices of a policy that is the same in every row."""
    return Choices(np.array(chosen), np.tile(logged, (rows, 1)), np.tile(target, (rows, 1)))


def replayed(quality, logged, target, size, seed):
    """Return what a log of that size shows of candidates that succeed with given chances."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(quality), size=size, p=logged)
    return (generator.random(size) < np.array(quality)[chosen]).astype(float), logs_of(size, logged, target, chosen)


def test_ips_and_snips_by_hand():
    choices = logs_of(4, [0.25, 0.75], [0.5, 0.5], [0, 1, 1, 0])
    assert choices.weights == pytest.approx([2, 2 / 3, 2 / 3, 2])
    values = np.array([1.0, 0.0, 1.0, 0.5])
    found = estimate(values, choices, np.full((4, 2), UNKNOWN), 0.0, 1.0)
    assert found["ips"].value == pytest.approx((2 + 2 / 3 + 1) / 4)
    assert found["snips"].value == pytest.approx((2 + 2 / 3 + 1) / (2 + 2 / 3 + 2 / 3 + 2))
    assert found["snips"].difference == pytest.approx(found["snips"].value - values.mean())


def test_doubly_robust_by_hand():
    choices = logs_of(5, [0.5, 0.5], [0.0, 1.0], [0, 1, 1, 0, 1])
    values, prior = np.array([0.4, 0.9, 0.7, 0.4, 0.8]), np.tile([0.4, 0.6], (5, 1))
    model = outcome_model(values, choices.chosen, prior, 0.0, 1.0)
    surprises = {1: 0.3, 2: 0.1, 4: 0.2}  # the second candidate's; the first one never surprises
    for row in range(5):
        others = [surprise for other, surprise in surprises.items() if other != row]
        assert model[row] == pytest.approx([0.4, 0.6 + sum(others) / (len(others) + 10)])
    terms = model[:, 1] + np.array([0, 2, 2, 0, 2]) * (values - model[:, 1])
    assert estimate(values, choices, prior, 0.0, 1.0)["doubly_robust"].value == pytest.approx(terms.mean())


def test_nothing_expected_leaves_a_shrunk_mean_of_each_candidate():
    model = outcome_model(np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.array([0, 1, 0, 0, 1]), np.full((5, 2), UNKNOWN), 0.0, 1.0)
    assert model[0] == pytest.approx([0.5 + (0.5 + 0.5) / 12, 0.5 - 1.0 / 12])


@pytest.mark.parametrize("estimator", ["ips", "doubly_robust"])
def test_the_mean_over_every_log_that_could_have_been_is_the_truth(estimator):
    earned, logged, target = np.array([0.2, 0.5, 0.4]), np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    prior = np.tile([0.5, 0.5, 0.1], (3, 1))
    total = 0.0
    for chosen in itertools.product(range(3), repeat=3):
        values = earned[list(chosen)]
        found = estimate(values, logs_of(3, logged, target, chosen), prior, -10.0, 10.0)[estimator]
        total += float(logged[list(chosen)].prod()) * found.value
    assert total == pytest.approx(float(target @ earned))


def test_the_logged_policy_itself_has_its_plain_mean_and_no_difference():
    values, choices = replayed([0.3, 0.8], [0.4, 0.6], [0.4, 0.6], 300, seed=0)
    found = estimate(values, choices, np.full((300, 2), UNKNOWN), 0.0, 1.0)
    for name in ("ips", "snips"):
        assert found[name].value == pytest.approx(values.mean())
        assert [found[name].difference, *found[name].difference_ci95] == pytest.approx([0, 0, 0], abs=1e-12)
    assert choices.effective == pytest.approx(300)
    assert choices.expected_effective == pytest.approx(300)


def test_an_estimate_beyond_what_is_possible_keeps_its_interval_and_its_difference():
    chosen = [0] * 150 + [1] * 150  # the first one was drawn twice as often as is to be expected
    found = estimate(np.ones(300), logs_of(300, [0.25, 0.75], [1.0, 0.0], chosen), np.full((300, 2), UNKNOWN), 0.0, 1.0)["ips"]
    assert found.value == pytest.approx(2)
    assert found.difference == pytest.approx(1)
    assert found.ci95[0] < found.value < found.ci95[1]


def test_what_is_impossible_is_cut_off_the_interval_of_a_possible_estimate():
    chosen = [0] * 74 + [1] * 226
    found = estimate(np.ones(300), logs_of(300, [0.25, 0.75], [1.0, 0.0], chosen), np.full((300, 2), UNKNOWN), 0.0, 1.0)["ips"]
    assert found.value == pytest.approx(74 / 75)
    assert found.ci95[0] < found.value < found.ci95[1] == 1


def test_differences_that_no_outcomes_have_are_cut_off_their_interval_too():
    values, choices = np.array([1.0] * 2 + [0.0] * 38), logs_of(40, [0.05, 0.95], [1.0, 0.0], [0] * 2 + [1] * 38)
    found = estimate(values, choices, np.full((40, 2), UNKNOWN), 0.0, 1.0)
    assert found["ips"].difference_ci95[1] == 1
    assert found["snips"].difference_ci95[0] == -1
    assert found["doubly_robust"].value > 1  # beyond what is possible, so it keeps its intervals
    assert found["doubly_robust"].difference_ci95[1] > 1


CASES = {
    "mild": ([0.25] * 4, np.eye(4)[3], [0.3, 0.5, 0.6, 0.7], 200),
    "strong": ([0.855] + [0.145 / 9] * 9, np.eye(10)[1], [0.6, 0.85] + [0.5] * 8, 2000),
    "mixed": ([0.955] + [0.005] * 9, [0.9, 0.1] + [0.0] * 8, [0.5, 0.9] + [0.3] * 8, 2000),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_in_nineteen_of_twenty_logs(case):
    logged, target, quality, size = CASES[case]
    truth = float(np.dot(target, quality))
    beyond = truth - float(np.dot(logged, quality))
    held = {(name, what): 0 for name in ("ips", "snips", "doubly_robust") for what in ("value", "difference")}
    for seed in range(150):
        values, choices = replayed(quality, logged, target, size, seed)
        assert refusal(choices) is None
        for name, found in estimate(values, choices, np.full(choices.target.shape, UNKNOWN), 0.0, 1.0).items():
            held[name, "value"] += found.ci95[0] <= truth <= found.ci95[1]
            held[name, "difference"] += found.difference_ci95[0] <= beyond <= found.difference_ci95[1]
    assert min(held.values()) >= 0.92 * 150, held


def learned_meanwhile(quality, size, seed):
    """Return the log of an epsilon-greedy policy that learns from it, and who would always take the last candidate."""
    generator = np.random.default_rng(seed)
    wins, counts = np.ones(len(quality)), np.full(len(quality), 2.0)
    logged, chosen, values = np.empty((size, len(quality))), np.empty(size, dtype=np.intp), np.empty(size)
    for row in range(size):
        logged[row] = 0.3 / len(quality) + 0.7 * (np.arange(len(quality)) == (wins / counts).argmax())
        chosen[row] = generator.choice(len(quality), p=logged[row])
        values[row] = generator.random() < quality[chosen[row]]
        wins[chosen[row]] += values[row]
        counts[chosen[row]] += 1
    return values, Choices(chosen, logged, np.tile(np.eye(len(quality))[-1], (size, 1)))


def test_a_log_may_be_of_a_policy_that_learned_on_the_way():
    held = dict.fromkeys(("ips", "snips", "doubly_robust"), 0)
    for seed in range(100):
        values, choices = learned_meanwhile([0.5, 0.6, 0.55], 500, seed)
        for name, found in estimate(values, choices, np.full(choices.target.shape, UNKNOWN), 0.0, 1.0).items():
            held[name] += found.ci95[0] <= 0.55 <= found.ci95[1]
    assert min(held.values()) >= 90, held
