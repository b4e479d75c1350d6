"""The mathematics against values computed by hand, closed forms, and finite differences."""

import numpy as np
import pytest
import torch
from aamc_ppo.initial_parameters import initial_critic, initial_policy
from aamc_ppo.ppo import (
    clipped_surrogate,
    critic_inputs,
    critic_values,
    differences_in_groups,
    embed_candidates,
    entropy,
    explained_variance,
    gae,
    kl_from_old,
    log_softmax,
    utility,
    value_loss,
)
from aamc_ppo.rollout import CONTEXT, PAIR_WIDTH, draw_actions, pool_pairs


def column(*numbers):
    return np.array(numbers, dtype=float)[:, None]


def test_gae_follows_its_recursion():
    advantages = gae(column(1, 2, 3), column(0.5, 1, 1.5), column(1, 1.5, 2), np.zeros((3, 1), bool), gamma=0.9, gae_lambda=0.5)
    third = 3 + 0.9 * 2 - 1.5
    second = 2 + 0.9 * 1.5 - 1 + 0.45 * third
    first = 1 + 0.9 * 1 - 0.5 + 0.45 * second
    assert advantages[:, 0] == pytest.approx([first, second, third])


def test_gae_with_lambda_one_is_the_discounted_return_minus_the_value():
    rewards, seen = np.random.default_rng(0).random((2, 6, 4))
    next_values = np.concatenate((seen[1:], np.ones((1, 4))))
    advantages = gae(rewards, seen, next_values, np.zeros((6, 4), bool), gamma=0.9, gae_lambda=1.0)
    returns = sum(0.9**t * rewards[t] for t in range(6)) + 0.9**6
    assert advantages[0] == pytest.approx(returns - seen[0])


def test_a_stream_is_compared_with_the_others_of_its_group():
    figures = np.array([[1, 2, 6, 5, 7, 9]], np.float32)
    others = np.array([[4, 3.5, 1.5, 8, 7, 6]])
    assert differences_in_groups(figures, 3) == pytest.approx(figures - others)
    assert differences_in_groups(torch.as_tensor(figures), 3).numpy() == pytest.approx(figures - others)
    assert differences_in_groups(figures, 1) is figures


def test_a_truncation_ends_the_sum_but_keeps_the_final_observations_value():
    truncated = np.array([[True], [False]])
    advantages = gae(column(1, 100), column(0, 0), column(10, 0), truncated, gamma=0.5, gae_lambda=1.0)
    assert advantages[:, 0] == pytest.approx([1 + 0.5 * 10, 100])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [(1.0, 2.0, -2.0), (1.5, 2.0, -2.4), (0.5, 2.0, -1.0), (0.5, -2.0, 1.6), (1.5, -2.0, 3.0)],
)
def test_the_surrogate_rewards_no_ratio_beyond_the_clip(ratio, advantage, loss):
    found = clipped_surrogate(torch.tensor([ratio], dtype=torch.float64).log(), torch.tensor([advantage], dtype=torch.float64), 0.2)
    assert float(found) == pytest.approx(loss)


def test_a_value_that_moved_too_far_is_charged_for_where_it_came_from():
    value, old, target = (torch.tensor([number]) for number in (1.0, 0.0, 1.0))
    assert float(value_loss(value, old, target, value_clip=0.2)) == pytest.approx(0.5 * 0.8**2)
    assert float(value_loss(value, old, target, value_clip=0.0)) == 0.0


def test_entropy_of_even_odds_is_the_logarithm_of_their_number():
    assert float(entropy(torch.log(torch.full((2, 5), 0.2)))) == pytest.approx(np.log(5))


def test_the_divergence_is_that_of_the_distributions_on_average():
    old, new = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([0.8, 0.2], dtype=torch.float64)
    assert float(kl_from_old((new / old).log())) == pytest.approx(float((old * (old / new).log()).sum()))


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one():
    target = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == 1
    assert explained_variance(torch.zeros(3), target) == 0
    assert explained_variance(target, torch.ones(3)) == 0


def parts(rows=6, candidates=4, seed=0, dtype=np.float32):
    """Return random parameters of policy and critic, and random features."""
    rng = np.random.default_rng(seed)
    p = initial_policy(8, 5, 20.0, 2, rng) | initial_critic(8, 2, rng)
    p = {name: (array + 0.3 * rng.normal(size=array.shape)).astype(dtype) for name, array in p.items()}
    weights = rng.dirichlet(np.ones(3), rows)
    mask = np.ones((rows, candidates), bool)
    mask[0, 1] = False
    shapes = ((rows, 6 + 1 + CONTEXT), (rows, PAIR_WIDTH, candidates), (candidates, 39))
    query, pair, candidate = (rng.random(shape).astype(dtype) for shape in shapes)
    return p, query, weights.astype(dtype), pair, candidate, mask


@pytest.mark.parametrize("masked", [True, False])
def test_torch_and_numpy_compute_the_same(masked):
    p, query, weights, pair, candidate, mask = parts()
    mask |= not masked
    utilities = utility(p, query, weights, pair, embed_candidates(p, candidate))
    log_p = log_softmax(utilities, mask)
    read = critic_inputs(query, weights, pool_pairs(np.exp(log_p), pair))
    t = {name: torch.as_tensor(array) for name, array in p.items()}
    query, weights, pair, candidate, mask = map(torch.as_tensor, (query, weights, pair, candidate, mask))
    same = log_softmax(utility(t, query, weights, pair, embed_candidates(t, candidate, torch), torch), mask, torch)
    assert same.numpy() == pytest.approx(log_p, abs=1e-4)
    found = critic_values(t, torch.as_tensor(read)).numpy()
    assert found == pytest.approx((np.tanh(read @ p["critic_w1"] + p["critic_b1"]) @ p["critic_w2"] + p["critic_b2"])[:, 0], abs=1e-5)


def test_gradients_agree_with_finite_differences():
    p, query, weights, pair, candidate, mask = parts(rows=3, candidates=3, dtype=np.float64)
    names = sorted(name for name in p if not name.startswith("critic"))
    fixed = [torch.as_tensor(array) for array in (query, weights, pair, candidate, mask)]
    advantage = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    action = torch.tensor([0, 2, 1])[:, None]

    def loss(*arrays):
        t = dict(zip(names, arrays, strict=True))
        query, weights, pair, candidate, mask = fixed
        logits = utility(t, query, weights, pair, embed_candidates(t, candidate, torch), torch, t["log_temperature"].exp())
        log_p = log_softmax(logits, mask, torch)
        old = torch.full((3,), np.log(0.3), dtype=torch.float64)
        return clipped_surrogate(log_p.gather(1, action)[:, 0] - old, advantage, 0.2) - 0.1 * entropy(log_p)

    inputs = [torch.tensor(p[name], dtype=torch.float64, requires_grad=True) for name in names]
    assert torch.autograd.gradcheck(loss, inputs)


def test_masked_candidates_have_no_probability_and_are_never_drawn():
    p, query, weights, pair, candidate, mask = parts(rows=1)
    log_p = log_softmax(utility(p, query, weights, pair, embed_candidates(p, candidate)), mask)
    assert np.exp(log_p)[0, 1] == 0
    assert np.exp(log_p).sum() == pytest.approx(1)
    assert 1 not in draw_actions(np.repeat(np.exp(log_p), 1000, axis=0), np.random.default_rng(0))


def test_utilities_can_be_had_times_tau():
    p, query, weights, pair, candidate, _ = parts()
    embedded = embed_candidates(p, candidate)
    assert utility(p, query, weights, pair, embedded, tau=3.0) == pytest.approx(3 * utility(p, query, weights, pair, embedded), rel=1e-4)


def test_a_candidate_of_probability_0_is_not_drawn_wherever_it_stands():
    assert set(draw_actions(np.tile(np.float32([0, 0.1, 0, 0.9, 0]), (10_000, 1)), np.random.default_rng(0))) == {1, 3}


def test_actions_are_drawn_with_their_probabilities():
    probabilities = np.array([0.5, 0.3, 0.2])
    drawn = draw_actions(np.tile(probabilities, (100_000, 1)), np.random.default_rng(0))
    assert np.bincount(drawn) / 100_000 == pytest.approx(probabilities, abs=0.01)


def test_reordered_candidates_get_reordered_utilities_and_the_same_value():
    p, query, weights, pair, candidate, mask = parts()
    order = np.array([2, 0, 3, 1])
    utilities = utility(p, query, weights, pair, embed_candidates(p, candidate))
    reordered = utility(p, query, weights, pair[:, :, order], embed_candidates(p, candidate[order]))
    assert reordered == pytest.approx(utilities[:, order], abs=1e-5)
    log_p, log_p_reordered = log_softmax(utilities, mask), log_softmax(reordered, mask[:, order])
    means, means_reordered = pool_pairs(np.exp(log_p), pair), pool_pairs(np.exp(log_p_reordered), pair[:, :, order])
    critic = {name: torch.as_tensor(array) for name, array in p.items()}
    read = (torch.as_tensor(critic_inputs(query, weights, found)) for found in (means, means_reordered))
    values, reordered = (critic_values(critic, inputs).numpy() for inputs in read)
    assert values == pytest.approx(reordered, abs=1e-5)


def test_a_long_wait_that_the_preference_ignores_does_not_change_what_the_critic_reads():
    _, query, _, _, _, _ = parts()
    weights = np.tile(np.float32([0.7, 0.3, 0.0]), (len(query), 1))
    pooled = np.random.default_rng(1).random((len(query), 2 * PAIR_WIDTH)).astype(np.float32)
    waiting = pooled.copy()
    waiting[:, [2, 2 + PAIR_WIDTH]] = -100  # mean quickness, weighted by the policy and unweighted
    assert critic_inputs(query, weights, waiting) == pytest.approx(critic_inputs(query, weights, pooled))


def test_the_initial_weights_of_the_pools_state_are_twice_as_large_as_the_others():
    deviation = initial_policy(4000, 16, 40.0, 0, np.random.default_rng(0))["query_w1"].std(axis=1)
    expected = np.where(np.arange(len(deviation)) >= 5, 2, 1) * len(deviation) ** -0.5
    assert deviation == pytest.approx(expected, rel=0.05)


def test_weighing_an_objective_more_never_lowers_what_is_chosen_of_it():
    p, query, _, pair, candidate, _ = parts(rows=200, candidates=8)
    embedded = embed_candidates(p, candidate)
    cheapness = utility(p, query, np.tile([[0.0, 1.0, 0.0]], (200, 1)), pair, embedded)
    previous = np.full(200, -np.inf)
    for cost in np.linspace(0, 1, 11):
        weights = np.tile([[1 - cost, cost, 0.0]], (200, 1))
        chosen = cheapness[np.arange(200), utility(p, query, weights, pair, embedded).argmax(axis=1)]
        assert (chosen >= previous - 1e-5).all()
        previous = chosen
