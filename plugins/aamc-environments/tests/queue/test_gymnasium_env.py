"""The single environments, and those who train on them."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from aamc_environments.queue.gymnasium_env import QueueEnv, standalone
from aamc_environments.queue.single_stream import objectives_function
from gymnasium.utils.env_checker import check_env

from aamc_sdk import Outcomes, Pool
from aamc_sdk.errors import ConfigError
from aamc_sdk.routing import LinearReward, default_pool


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


EVENTS = [
    {"at": 4, "candidate": "LLM-Code", "kind": "drift", "shift": -2.0, "over": 6},
    {"at": 6, "candidate": "LLM-XLarge", "kind": "price", "factor": 0.5},
    {"at": 8, "candidate": "LLM-Large", "kind": "down"},
]


@pytest.mark.parametrize(
    "options",
    [{}, {"events": EVENTS}, {"burst": 5.0, "load": 0.9}, {"preferences": "corners"}, {"preferences": "uniform", "preference_per": "stream"}],
)
def test_the_single_environment_is_a_row_of_the_vectorised_one(options):
    single = QueueEnv(queries=200, horizon=20, **options)
    many = standalone(queries=200, horizon=20, **options).vector(3, "train")
    observation, _ = single.reset(seed=8)
    np.testing.assert_array_equal(observation, many.reset(seed=8)[0][0])
    for step in range(70):
        action = step * 3 % 7
        observation, reward, _, truncated, info = single.step(action)
        seen, rewards, _, truncations, infos = many.step(np.array([action, 0, 1]))
        if truncated:
            np.testing.assert_array_equal(observation, infos["final_obs"][0])
            observation, _ = single.reset()
        np.testing.assert_array_equal(observation, seen[0])
        assert (reward, truncated) == (rewards[0], truncations[0])
        for name, value in info.items():
            np.testing.assert_array_equal(value, infos[name][0])


def test_a_single_stream_is_the_same_as_an_environment_and_as_arrays():
    stream = standalone(queries=200).vector(1, "train")
    environment = QueueEnv(queries=200)
    stream.reset(seed=2)
    environment.reset(seed=2)
    for action in [6, 0, 6, 3, 6, 6, 1] * 10:
        seen, rewards, *_, infos = stream.step(np.array([action]))
        observation, reward, *_, info = environment.step(np.int64(action))
        np.testing.assert_array_equal(seen, observation[None])
        assert rewards.tolist() == [reward]
        assert infos["vector_reward"].tolist() == [info["vector_reward"].tolist()]


@pytest.mark.parametrize("action", [1.7, np.float64(1.0), "1", None, np.array([1, 2])])
def test_an_action_that_is_no_whole_number_is_refused(action):
    environment = QueueEnv(queries=50)
    environment.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="an action is a whole number from 0 to 6, not "):
        environment.step(action)


def test_actions_of_many_streams_are_whole_numbers():
    streams = standalone(queries=50).vector(2, "train")
    streams.reset()
    with pytest.raises(gymnasium.error.InvalidAction, match=r"2 streams need a whole number from 0 to 6 each, not array\(\[1\.7, 0\.2\]\)"):
        streams.step(np.array([1.7, 0.2]))
    for wrong in (["a", "b"], [None, 1], [], [-1, 0]):
        with pytest.raises(gymnasium.error.InvalidAction):
            streams.step(wrong)
    for kind in (np.int32, np.uint8, np.int64):
        streams.step(np.array([1, 0], dtype=kind))
    streams.step([1, 0])


@pytest.mark.parametrize(("make", "action"), [(lambda: QueueEnv(queries=50), 0), (lambda: standalone(queries=50).vector(1, "train"), np.array([0]))])
def test_a_step_before_reset_is_refused(make, action):
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"^call reset\(\) before the first step\(\)$"):
        make().step(action)


def test_a_stream_stays_truncated_until_it_is_reset():
    environment = QueueEnv(queries=50, horizon=3)
    environment.reset(seed=0)
    assert [environment.step(np.int64(0))[3] for _ in range(5)] == [False, False, True, True, True]
    environment.reset()
    assert not environment.step(np.int64(0))[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "queries must be a whole number of at least 1, not 0"),
        ({"queries": 2.5}, "queries must be a whole number of at least 1, not 2.5"),
        ({"seed": -1}, "seed must be a whole number from 0 to .*, not -1"),
        ({"seed": None}, "seed must be a whole number from 0 to .*, not None"),
    ],
)
def test_sizes_and_seeds_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        gymnasium.make("aamc/Queue-v0", **options)


@pytest.mark.parametrize("action", [7, -1])
def test_an_action_that_names_no_candidate_is_refused(action):
    environment = QueueEnv(queries=50)
    environment.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="a whole number from 0 to 6"):
        environment.step(action)


class Squared(LinearReward):
    """Another formula in a subclass of the default reward."""

    def vector(self, outcomes):
        return super().vector(outcomes) ** 2


@pytest.mark.parametrize("kind", [LinearReward, Squared])
def test_the_objectives_of_one_outcome_are_the_rewards(kind):
    reward = kind()
    table = np.random.default_rng(0).random((3, 50, 4))
    reward.fit(Outcomes(*table))
    objectives = objectives_function(reward)
    expected = reward.vector(Outcomes(*table))
    for row, candidate in np.ndindex(50, 4):
        assert objectives(*table[:, row, candidate].tolist()) == tuple(expected[row, candidate].tolist())


def test_equal_costs_and_unknown_latencies_are_as_in_the_reward():
    reward = LinearReward()
    reward.fit(Outcomes(np.ones((2, 2)), np.full((2, 2), 0.3), np.full((2, 2), np.nan)))
    np.testing.assert_array_equal(objectives_function(reward)(1.0, 0.5, np.nan), (1.0, 0.0, np.nan))


def test_a_pool_of_ones_own_is_played():
    pool = Pool(list(default_pool())[:3])
    assert gymnasium.make("aamc/Queue-v0", pool=pool, queries=50).action_space.n == 3


def test_the_vectorised_simulator_is_made_by_its_id():
    streams = gymnasium.make_vec("aamc/Queue-v0", num_envs=6, vectorization_mode="vector_entry_point", queries=50)
    assert streams.reset(seed=0)[0].shape == streams.observation_space.shape
