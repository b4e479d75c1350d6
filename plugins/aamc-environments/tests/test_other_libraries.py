"""MO-Gymnasium and Stable-Baselines3 on the simulator; both, and torch, must be installed."""

from __future__ import annotations

import gymnasium
import mo_gymnasium
import numpy as np
import pytest
from aamc_environments.queue import standalone
from aamc_environments.sb3 import StreamsVecEnv
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor


@pytest.mark.parametrize("library", [gymnasium, mo_gymnasium])
def test_gymnasium_and_mo_gymnasium_give_the_vector_reward_without_a_warning(library):
    environment = library.make("aamc/MOQueue-v0", queries=50)
    environment.reset(seed=0)
    _, reward, _, _, info = environment.step(2)
    assert environment.unwrapped.reward_space.contains(reward)
    np.testing.assert_allclose(reward, info["vector_reward"], rtol=1e-6)


def test_stable_baselines_trains_on_the_single_environment():
    model = PPO("MlpPolicy", gymnasium.make("aamc/Queue-v0", queries=50), n_steps=64, batch_size=32, n_epochs=1, device="cpu", seed=0)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(300)
    assert any(not np.array_equal(one, two.detach()) for one, two in zip(before, model.policy.parameters(), strict=True))


def test_stable_baselines_learns_on_the_vectorised_streams():
    streams = standalone(queries=500, horizon=16, preferences="fixed", preference="0,1,0").vector(64, "train")
    model = PPO("MlpPolicy", StreamsVecEnv(streams), n_steps=32, batch_size=256, learning_rate=3e-3, device="cpu", seed=0)
    model.learn(16 * 64 * 32)
    fresh = standalone(queries=500, preferences="fixed", preference="0,1,0").vector(512, "train")
    action, _ = model.predict(fresh.reset(seed=1)[0], deterministic=True)
    assert (action == 6).mean() < 0.03  # all that matters is cost, and a seventh would be chance


def test_truncated_streams_tell_stable_baselines_what_they_saw_last():
    environment = StreamsVecEnv(standalone(queries=50, horizon=2).vector(3, "train"))
    environment.seed(4)
    environment.reset()
    environment.step(np.zeros(3, dtype=int))
    observations, _, dones, infos = environment.step(np.zeros(3, dtype=int))
    assert dones.all()
    assert infos[1]["TimeLimit.truncated"]
    assert infos[1]["terminal_observation"].shape == observations[1].shape
    assert infos[1]["vector_reward"].shape == (3,)


def test_no_stream_is_in_a_wrapper_of_stable_baselines():
    environment = StreamsVecEnv(standalone(queries=50, horizon=2).vector(3, "train"))
    assert environment.env_is_wrapped(Monitor) == [False] * 3
    assert environment.env_is_wrapped(Monitor, indices=[0, 2]) == [False] * 2
