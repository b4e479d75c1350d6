"""What holds for streams of any kind, tried on the simulator."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_environments.preferences import draw
from aamc_environments.queue import standalone
from aamc_environments.streams import weighted_sum
from gymnasium.error import InvalidAction
from gymnasium.vector import AutoresetMode

from aamc_sdk import PoolState, Query
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import LinearReward, build_request, encode

INFO = {"vector_reward", "quality", "cost_usd", "latency_ms", "row", "masked"}


def actions(n, steps, seed=0, candidates=7):
    return np.random.default_rng(seed).integers(0, candidates, (steps, n))


def play(streams, chosen, seed=None):
    """Return observations and rewards of all steps."""
    seen = [streams.reset(seed=seed)[0]]
    rewards = []
    for action in chosen:
        observation, reward, *_ = streams.step(action)
        seen.append(observation)
        rewards.append(reward)
    return np.array(seen), np.array(rewards)


def test_shapes_and_info(queue):
    streams = queue.vector(5, "train")
    observation, _ = streams.reset()
    assert streams.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = streams.step(np.zeros(5, dtype=int))
    assert streams.observation_space.contains(observation)
    assert info.keys() == INFO
    assert info["vector_reward"].shape == (5, 3)
    assert reward.shape == terminated.shape == truncated.shape == (5,)
    assert not terminated.any()


def test_same_seed_same_trajectory(queue):
    chosen = actions(6, 80)
    first = play(queue.vector(6, "train", seed=3), chosen)
    second = play(queue.vector(6, "train", seed=3), chosen)
    other = play(queue.vector(6, "train", seed=4), chosen)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[1], other[1])


def test_a_reset_with_a_seed_repeats_and_without_goes_on(queue):
    streams, chosen = queue.vector(4, "train"), actions(4, 10)
    first = play(streams, chosen, seed=9)[1]
    second = play(streams, chosen)[1]
    again = play(streams, chosen, seed=9)[1]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_streams_of_one_number_draw_the_same_random_numbers_whatever_the_actions(queue):
    numbers = np.array([7, 7, 40, 7])
    preferences = np.tile([1.0, 0.0, 0.0], (4, 1))
    streams = queue.vector(4, "train", streams=numbers, preferences=preferences)
    streams.reset()
    for step in range(70):
        chosen = np.array([6, 6, 6, step % 7])
        info = streams.step(chosen)[-1]
        assert info["row"][0] == info["row"][1] == info["row"][3]
        assert info["cost_usd"][0] == info["cost_usd"][1]
        assert info["quality"][0] == info["quality"][1]
        if step % 7 == 6 and step < 7:
            assert info["quality"][3] == info["quality"][0]


def test_a_stream_is_the_same_alone_as_among_others(queue):
    many = queue.vector(50, "train", seed=1)
    one = queue.vector(1, "train", seed=1, streams=np.array([37]))
    chosen = actions(50, 40)
    all_seen, all_rewards = play(many, chosen)
    seen, rewards = play(one, chosen[:, 37:38])
    np.testing.assert_array_equal(all_seen[:, 37], seen[:, 0])
    np.testing.assert_array_equal(all_rewards[:, 37], rewards[:, 0])


def test_an_unknown_objective_counts_only_where_it_is_weighed():
    vector = np.array([[1.0, 0.5, np.nan], [1.0, 0.5, np.nan], [0.2, 0.4, 0.6]])
    weights = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.5, 0.3, 0.2]])
    np.testing.assert_allclose(weighted_sum(vector, weights), [0.75, np.nan, 0.34])
    np.testing.assert_allclose(weighted_sum(vector[2:], weights[2:]), [0.34])


class Squared(LinearReward):
    """A reward that is not linear in latency."""

    def vector(self, outcomes):
        objectives = super().vector(outcomes)
        objectives[..., 2] *= np.abs(objectives[..., 2])
        return objectives


@pytest.mark.parametrize("kind", [LinearReward, Squared])
def test_observations_are_the_encoded_request(kind):
    environment = standalone(queries=100, load=0.9)
    reward = kind()
    reward.fit(environment.dataset("train").outcomes)
    environment.services = attrs.evolve(environment.services, reward=reward)
    streams = environment.vector(8, "train")
    observation, _ = streams.reset()
    for chosen in actions(8, 40):
        np.testing.assert_allclose(observation, encode(streams.request(), reward).flat(), rtol=1e-4, atol=1e-5)
        observation, *_ = streams.step(chosen)
    assert streams.request().wait_ms.max() > 0


def test_hindsight_is_the_expectation_of_what_happens(queue):
    streams = queue.vector(4000, "train", seed=2)
    streams.reset()
    for _ in range(3):
        hindsight = streams.request().hindsight
        chosen = np.full(4000, 5)
        info = streams.step(chosen)[-1]
        for key in ("quality", "cost_usd", "latency_ms"):
            difference = info[key] - getattr(hindsight, key)[:, 5]
            assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(4000)


def test_the_reward_is_weighted_by_the_preference(queue):
    preferences = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.3, 0.2]])
    streams = queue.vector(4, "train", preferences=preferences)
    streams.reset()
    _, reward, _, _, info = streams.step(np.full(4, 2))
    np.testing.assert_allclose(reward, (preferences * info["vector_reward"]).sum(axis=1))
    np.testing.assert_allclose(reward[0], info["quality"][0])


def test_a_masked_action_is_the_worst_allowed_outcome_and_serves_no_query(queue):
    dataset = queue.dataset("train")
    request = build_request(
        dataset.queries, queue.services.pool, np.array([0.5, 0.3, 0.2]), state=PoolState(unavailable=[queue.services.pool.names[6]])
    )
    streams = queue.vector(3, "train", request=request)
    streams.reset()
    hindsight = streams.request().hindsight
    _, _, _, _, info = streams.step(np.array([6, 5, 6]))
    np.testing.assert_array_equal(info["masked"], [True, False, True])
    np.testing.assert_array_equal(info["quality"][[0, 2]], [0, 0])
    np.testing.assert_allclose(info["cost_usd"][[0, 2]], hindsight.cost_usd[[0, 2], :6].max(axis=1))
    np.testing.assert_allclose(info["latency_ms"][[0, 2]], hindsight.latency_ms[[0, 2], :6].max(axis=1))
    assert streams.request().wait_ms[[0, 2]].max() == 0


def test_streams_are_truncated_at_the_horizon_and_restart_in_the_same_step():
    environment = standalone(queries=50, horizon=4)
    streams = environment.vector(3, "train")
    streams.reset()
    assert streams.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for step in range(1, 9):
        observation, _, terminated, truncated, info = streams.step(np.full(3, 6))
        assert truncated.all() == (step % 4 == 0)
        assert not terminated.any()
        assert ("final_obs" in info) == (step % 4 == 0)
    assert streams.request().wait_ms.max() == 0
    assert not np.array_equal(info["final_obs"][0], observation[0])


def test_without_a_horizon_streams_never_end(queue):
    streams = queue.vector(2, "train")
    streams.reset()
    assert not any(streams.step(chosen)[3].any() for chosen in actions(2, 600))


@pytest.mark.parametrize("kind", ["dirichlet", "uniform", "corners"])
def test_drawn_preferences_are_on_the_simplex_and_even_handed(kind):
    preferences = draw(kind, np.random.default_rng(0).standard_exponential((3, 20_000)))
    np.testing.assert_allclose(preferences.sum(axis=1), 1)
    np.testing.assert_allclose(preferences.mean(axis=0), 1 / 3, atol=0.02)
    if kind == "corners":
        assert set(np.unique(preferences)) == {0, 1}
    if kind == "dirichlet":  # a weight's variance under Dirichlet(1, 1, 1) is 1 / 18
        np.testing.assert_allclose(preferences.var(axis=0), 1 / 18, rtol=0.05)


@pytest.mark.parametrize(("per", "changes"), [("step", True), ("stream", False)])
def test_preferences_change_as_often_as_asked(per, changes):
    streams = standalone(queries=50, preference_per=per).vector(4, "train")
    streams.reset()
    before = streams.request().preferences
    streams.step(np.zeros(4, dtype=int))
    assert np.array_equal(before, streams.request().preferences) != changes


def test_fixed_preferences_are_read_from_the_options():
    streams = standalone(queries=50, preferences="fixed", preference="2,1,1").vector(2, "train")
    streams.reset()
    np.testing.assert_allclose(streams.request().preferences, [[0.5, 0.25, 0.25]] * 2)
    with pytest.raises(ConfigError, match="three numbers"):
        standalone(queries=50, preference="2,1")


def test_noise_blurs_what_routers_see_and_not_the_truth(queue):
    noisy = standalone(queries=2000, noise=0.2)
    clear, noisy = (environment.vector(400, "train", seed=0) for environment in (queue, noisy))
    clear.reset()
    noisy.reset()
    one, two = clear.request(), noisy.request()
    np.testing.assert_array_equal(one.hindsight.quality, two.hindsight.quality)
    error = two.estimates.complexity - one.estimates.complexity
    assert 0.1 < error.std() < 0.2
    assert 0 <= two.expected.quality.min() <= two.expected.quality.max() <= 1
    np.testing.assert_allclose(two.estimates.categories.sum(axis=1), 1)


def test_a_request_of_other_rows_is_refused(queue):
    request = build_request([Query("a")], queue.services.pool, np.array([1.0, 0, 0]))
    with pytest.raises(DataError, match="the request has 1 rows and the split 'train' has 2000"):
        queue.vector(2, "train", request=request)


def test_wrong_counts_and_names_are_refused(queue):
    with pytest.raises(DataError, match="2 streams need as many stream numbers"):
        queue.vector(2, "train", streams=np.arange(3))
    with pytest.raises(DataError, match=r"need preferences of shape \(2, 3\)"):
        queue.vector(2, "train", preferences=np.ones((3, 3)))
    with pytest.raises(DataError, match="no split 'trian'; did you mean 'train'"):
        queue.vector(2, "trian")


@pytest.mark.parametrize("wrong", [[0, 7], [-1, 0], [0, 1, 2]])
def test_actions_that_name_no_candidate_are_refused(queue, wrong):
    streams = queue.vector(2, "train")
    streams.reset()
    with pytest.raises(InvalidAction, match="a whole number from 0 to 6 each"):
        streams.step(np.array(wrong))


def test_unknown_options_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'load'"):
        standalone(laod=0.5)
