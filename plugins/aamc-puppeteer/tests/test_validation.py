"""The validation of a training beside its baselines."""

import math
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from aamc_agents.tasks import Task
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.testbed import AgentWorld
from aamc_puppeteer.training.validation import max_turns

from aamc_sdk import Dataset, Query, Training
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import NoProgress

WORLD = AgentWorld.of_table(
    {
        "algebra": {"mathematician": 1.0, "lawyer": 0.0},
        "contracts": {"mathematician": 0.0, "lawyer": 1.0},
        "wills": {"mathematician": 0.0, "lawyer": 1.0},
    },
    {"mathematician": 0.1, "lawyer": 0.1},
    steps=3,
)
WORLD = attrs.evolve(WORLD, kinds=tuple(attrs.evolve(kind, text=f"{kind.text} It has the number {{number}}.") for kind in WORLD.kinds))


class Said(NoProgress):
    """Keeps what a training says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@attrs.frozen(kw_only=True, eq=False)
class Tasks(Dataset):
    tasks: Sequence[Task]


def dataset(tasks: Sequence[Task]) -> Tasks:
    return Tasks(queries=[Query(task.text) for task in tasks], source="tasks of a test", tasks=tasks)


def trained(puppeteer: Puppeteer, updates: int, budget_usd: float = math.inf) -> tuple[dict[str, Any], list[str]]:
    """Train with a validation on 30 tasks; return its figures, and what was said."""
    puppeteer.config, said = attrs.evolve(puppeteer.config, updates=updates), Said()
    training = Training(dataset=dataset(WORLD.tasks(60)), validation=dataset(WORLD.tasks(30, seed=9)), progress=said, budget_usd=budget_usd)
    metrics = puppeteer.train(training)
    return metrics["validation"], said.lines


@pytest.fixture
def puppeteer() -> Any:
    made = WORLD.puppeteer(preset="quick")
    yield made
    made.close()


def test_a_policy_is_compared_with_others_on_the_same_tasks(puppeteer: Puppeteer) -> None:
    figures, lines = trained(puppeteer, updates=60)
    chance, single = figures["baselines"].values()
    assert list(figures["baselines"]) == ["random", "best-single"]  # an untrained policy is not a baseline
    assert {baseline["episodes"] for baseline in (chance, single)} == {30}
    assert (single["agent"], single["success_rate"], single["mean_steps"]) == ("lawyer", pytest.approx(2 / 3), 1.0)
    assert chance["mean_reward"] < single["mean_reward"] < figures["mean_reward"]
    assert single["gain"]["mean_reward"] == pytest.approx(figures["mean_reward"] - single["mean_reward"])
    low, high = single["gain"]["ci95"]
    assert 0 < low < single["gain"]["mean_reward"] < high
    assert any(line.startswith("best-single lawyer, 30 tasks: success 67% [") for line in lines)


def test_a_continued_training_is_compared_with_the_policy_that_it_began_with(puppeteer: Puppeteer) -> None:
    first, _ = trained(puppeteer, updates=60)
    second, lines = trained(puppeteer, updates=0)
    assert second["baselines"]["before"]["mean_reward"] == second["mean_reward"] == first["mean_reward"]
    assert second["baselines"]["before"]["gain"] == {"mean_reward": 0.0, "ci95": [0.0, 0.0]}
    assert list(second["baselines"]) == ["before", "random", "best-single"]
    assert lines[-1] == "these tasks show no gain in reward of the policy over before"


def test_baselines_end_with_the_budget(puppeteer: Puppeteer) -> None:
    figures, lines = trained(puppeteer, updates=0, budget_usd=10.0)
    assert figures["episodes"] == 30
    assert set(figures["baselines"]) < {"random", "best-single"}
    assert "no further baselines: the budget is spent" in lines


def test_the_turns_of_a_validation_are_counted_beforehand() -> None:
    assert max_turns(tasks=30, steps=3, agents=2, continued=False) == 30 * (3 + 3 + 2)
    assert max_turns(tasks=30, steps=3, agents=2, continued=True) == 30 * (3 + 3 + 3 + 2)


def test_the_estimate_covers_the_earlier_policy_only_where_a_training_continues_one(puppeteer: Puppeteer) -> None:
    tasks = WORLD.tasks(5)
    puppeteer.config = attrs.evolve(puppeteer.config, updates=0)
    first, second = (puppeteer.fit(tasks, validation_tasks=30)["estimate"]["turns"] for _ in range(2))
    assert second - first == 30 * puppeteer.config.max_steps


def test_an_untrained_policy_is_not_evaluated(puppeteer: Puppeteer) -> None:
    with pytest.raises(CheckpointError, match="an untrained puppeteer has nothing to evaluate; train one with: "):
        puppeteer.evaluate(dataset(WORLD.tasks(3)), None, None, NoProgress())
