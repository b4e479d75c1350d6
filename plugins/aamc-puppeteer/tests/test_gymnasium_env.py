"""Episodes of agents as a Gymnasium environment, and what Stable-Baselines3 learns in them."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import gymnasium
import numpy as np
import pytest
from aamc_agents.state import TaskState
from aamc_puppeteer.gymnasium_env import AgentsEnv
from aamc_puppeteer.testbed import AgentWorld, Kind
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

from aamc_sdk.errors import ConfigError, DataError

WRITER, CRITIC, STOP = range(3)


@pytest.fixture
def make(essays: AgentWorld) -> Iterator[Callable[..., AgentsEnv]]:
    note = Kind(name="note", text="Take a note.", moves={("start", "writer"): {"note": 1.0}}, solved={"note": 1.0})
    world = attrs.evolve(essays, kinds=(*essays.kinds, note))
    made: list[AgentsEnv] = []

    def make(tasks: Any = None, **options: Any) -> AgentsEnv:
        of_world = {"tasks": world.tasks(50), "side": "all", "team": world.members(), **world.options}
        made.append(AgentsEnv(**{**of_world, **options}) if tasks is None else AgentsEnv(tasks, **options))
        return made[-1]

    yield make
    for environment in made:
        environment.close()


def returns(environment: AgentsEnv, act: Callable[[Any], int]) -> float:
    """Return the mean sum of rewards over each task once."""
    earned = 0.0
    for number in range(len(environment.tasks)):
        observation, _ = environment.reset(seed=number, options={"task": number})
        terminated = False
        while not terminated:
            observation, reward, terminated, _, _ = environment.step(np.int64(act(observation)))
            earned += reward
    return earned / len(environment.tasks)


def test_gymnasium_finds_no_fault(make) -> None:
    check_env(make(), skip_render_check=True)


def test_the_registered_environment_plays_a_suite() -> None:
    environment = gymnasium.make("aamc_puppeteer.gymnasium_env:aamc/Agents-v0", tasks="strings", size=40, agents=("strings", "calculator"))
    observation, _ = environment.reset(seed=1)
    assert environment.observation_space.contains(observation)
    assert environment.action_space.n == 3
    environment.close()


def test_an_episode_is_paid_as_its_trajectory_says(make) -> None:
    environment = make()
    environment.reset(seed=0, options={"task": 0})
    rewards = [environment.step(np.int64(action)) for action in (WRITER, CRITIC, WRITER, STOP)]
    *_, terminated, truncated, info = rewards[-1]
    assert (terminated, truncated, info["is_success"]) == (True, False, True)
    assert [step[1] for step in rewards] == pytest.approx([-0.02, -0.01, -0.02, 1.0])
    assert [step[4]["cost_usd"] for step in rewards] == [0.2, 0.1, 0.2, 0.0]
    assert environment.trajectory.rewards == pytest.approx([step[1] for step in rewards])


def test_the_last_step_terminates_as_the_policy_sees_it_coming(make) -> None:
    environment = make(max_steps=1)
    environment.reset(seed=0, options={"task": 1})
    _, reward, terminated, truncated, info = environment.step(np.int64(WRITER))
    assert (terminated, truncated, info["is_success"]) == (True, False, True)
    assert reward == pytest.approx(0.98)


def test_all_sides_are_seen_in_the_same_way(make) -> None:
    train, test = (make("strings", side=side, size=60, agents=("strings",)) for side in ("train", "test"))
    assert not {task.text for task in train.tasks} & {task.text for task in test.tasks}
    state = TaskState(task=test.tasks[0], steps_left=3)
    assert np.array_equal(train.observe(state), test.observe(state))


def test_what_cannot_be_done_is_refused(make) -> None:
    environment = make()
    environment.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction):
        environment.step(np.int64(3))
    environment.step(np.int64(STOP))
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(np.int64(STOP))
    for options in ({"max_steps": 0}, {"updates": 5}):
        with pytest.raises(ConfigError):
            make(**options)
    with pytest.raises(ConfigError, match="side"):
        make("strings", side="tset")
    with pytest.raises(DataError):
        make([])


def test_stable_baselines_learns_when_to_revise_and_when_to_stop(make) -> None:
    environment = make()
    model = PPO("MlpPolicy", environment, n_steps=256, batch_size=64, learning_rate=1e-3, ent_coef=0.02, device="cpu", seed=0)
    before = returns(environment, lambda observation: int(model.predict(observation, deterministic=True)[0]))
    model.learn(1024)
    after = returns(environment, lambda observation: int(model.predict(observation, deterministic=True)[0]))
    assert before < 0.5
    assert after > 0.9
