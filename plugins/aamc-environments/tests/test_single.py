"""The single environments, and those who train on them."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from aamc_environments.single import QueueEnv, standalone
from gymnasium.utils.env_checker import check_env

from aamc_sdk import Pool
from aamc_sdk.pools import default_pool


def test_gymnasium_checks_pass():
    check_env(gymnasium.make("aamc/Queue-v0").unwrapped)


@pytest.mark.parametrize("imports", ["import gymnasium, aamc_environments", "import aamc_environments, gymnasium", "import gymnasium"])
def test_the_id_is_found_after_any_of_the_documented_imports(imports):
    name = "aamc_environments:aamc/Queue-v0" if imports == "import gymnasium" else "aamc/Queue-v0"
    code = f"{imports}; print(gymnasium.make({name!r}).spec.id)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "aamc/Queue-v0"


def test_plugins_are_listed_without_gymnasium():
    code = "import aamc_environments_plugin, sys; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_single_environment_is_a_row_of_the_vectorised_one():
    single = QueueEnv(queries=200, horizon=20)
    many = standalone(queries=200, horizon=20).vector(3, "train")
    observation, _ = single.reset(seed=8)
    np.testing.assert_array_equal(observation, many.reset(seed=8)[0][0])
    for step in range(50):
        action = step * 3 % 7
        observation, reward, _, truncated, info = single.step(action)
        seen, rewards, _, truncations, infos = many.step(np.array([action, 0, 1]))
        if truncated:
            np.testing.assert_array_equal(observation, infos["final_obs"][0])
            observation, _ = single.reset()
        np.testing.assert_array_equal(observation, seen[0])
        assert (reward, truncated) == (rewards[0], truncations[0])
        assert info["latency_ms"] == infos["latency_ms"][0]


def test_a_pool_of_ones_own_is_played():
    pool = Pool(list(default_pool())[:3])
    assert gymnasium.make("aamc/Queue-v0", pool=pool, queries=50).action_space.n == 3


def test_the_vectorised_simulator_is_made_by_its_id():
    streams = gymnasium.make_vec("aamc/Queue-v0", num_envs=6, vectorization_mode="vector_entry_point", queries=50)
    assert streams.reset(seed=0)[0].shape == streams.observation_space.shape
