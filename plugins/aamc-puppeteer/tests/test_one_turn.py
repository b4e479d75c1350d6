"""The environment ``agents``: which agent should be given a task."""

import numpy as np
import pytest
from aamc_puppeteer.testbed import load_suite
from aamc_puppeteer.testbed.dataset_format import as_dataset

from aamc_sdk import Candidate, Dataset, Environment, Pool, Query, Services, get_plugin_manager
from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.routing import LinearReward
from aamc_sdk.testing import assert_conforms

PLUGINS = get_plugin_manager()
TASKS = as_dataset([*load_suite("strings", size=6, difficulty=1), *load_suite("tables", size=6, difficulty=1)], "both")


def environment_of(*names: str) -> Environment:
    def make(kind, name, options):
        return PLUGINS.make(kind, name, lent, options)

    lent = Services(pool=Pool(Candidate(name) for name in names), reward=LinearReward(), make=make)
    made: Environment = make("environment", "agents", {})
    return made


def test_it_conforms() -> None:
    assert_conforms("environment", "agents", PLUGINS)


def test_an_outcome_is_what_one_turn_of_an_agent_earned_and_cost() -> None:
    environment = environment_of("table", "strings")
    environment.prepare({"train": TASKS})
    outcomes = environment.dataset("train").outcomes
    assert outcomes.quality.tolist() == [[0.0, 1.0]] * 6 + [[1.0, 0.0]] * 6
    assert np.array_equal(outcomes.cost_usd, np.full((12, 2), 0.001))
    assert not outcomes.latency_known


def test_streams_replay_the_turns() -> None:
    environment = environment_of("table", "strings")
    environment.prepare({"train": TASKS})
    environment.services.reward.fit(environment.dataset("train").outcomes)
    streams = environment.vector(5, "train", seed=1)
    streams.reset()
    assert streams.step(np.zeros(5, int))[-1]["quality"].tolist() == (streams_rows(environment) >= 6).astype(float).tolist()


def streams_rows(environment: Environment) -> np.ndarray:
    """Return the rows that five streams of seed 1 begin with."""
    streams = environment.vector(5, "train", seed=1)
    streams.reset()
    return np.asarray(streams.step(np.zeros(5, int))[-1]["row"])


def test_what_has_no_tasks_or_no_agents_is_refused() -> None:
    with pytest.raises(DataError, match="tasks:mixed"):
        environment_of("table").prepare({"train": Dataset([Query("What?")])})
    with pytest.raises(PoolError, match="pool of agents"):
        environment_of("tabel").prepare({"train": TASKS})
