import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from aamc_agents.tasks import Task
from aamc_puppeteer.episodes.choices import by_chance, in_order, play
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Stop
from aamc_puppeteer.tasks.verifiers import Numeric
from aamc_puppeteer.testbed import TOOLS, best_pipeline, cheapest_route, load_suite

RULE = EpisodeReward(cost_weight=10.0, discount=1.0)
SUM = Task(id="t", text="What is 2 + 2?", verifier=Numeric(), reference="4")


@pytest.fixture
def executor(make_agent) -> Iterator[Executor]:
    executor = Executor({name: make_agent(name) for name in TOOLS}, timeout=30.0, max_characters=20_000)
    yield executor
    executor.close()


def test_agents_work_in_the_given_order_and_each_is_paid(executor: Executor) -> None:
    (trajectory,) = play([SUM], in_order(("table", "calculator")), executor, RULE, steps=5)
    assert [activation.agent for activation in trajectory.state.history] == ["table", "calculator"]
    assert (trajectory.stop, trajectory.succeeded) == (Stop.STOPPED, True)
    assert trajectory.rewards == pytest.approx((-0.01, -0.01, 1.0))


def test_no_more_steps_are_taken_than_allowed(executor: Executor) -> None:
    (trajectory,) = play([SUM], in_order(("table", "table", "calculator")), executor, RULE, steps=2)
    assert (len(trajectory.state.history), trajectory.stop, trajectory.succeeded) == (2, Stop.TRUNCATED, False)
    assert trajectory.total_reward == pytest.approx(-0.02)


def test_chance_follows_from_the_seed(executor: Executor) -> None:
    tasks = load_suite("mixed", size=8)
    one, same, other = (play(tasks, by_chance(TOOLS, np.random.default_rng(seed)), executor, RULE, steps=4) for seed in (1, 1, 2))
    routes = [[activation.agent for trajectory in played for activation in trajectory.state.history] for played in (one, same, other)]
    assert routes[0] == routes[1] != routes[2]


def test_the_best_pipeline_joins_parts_that_pay_together(executor: Executor) -> None:
    tasks = [*load_suite("arithmetic", size=8, difficulty=1), *load_suite("tables", size=4, difficulty=1)]
    order, reward = best_pipeline(tasks, {("calculator",), ("table",), ("parser", "python")}, executor, RULE, steps=8)
    assert order == ("calculator", "table")
    assert reward == pytest.approx(1.0 - 0.02)


def test_a_pipeline_that_pays_for_nothing_is_empty(executor: Executor) -> None:
    assert best_pipeline([SUM], {("table",)}, executor, RULE, steps=8) == ((), 0.0)


def test_on_the_mixed_suite_chance_and_fixed_orders_do_clearly_worse_than_the_best_routes(executor: Executor, make_agent) -> None:
    tasks = load_suite("mixed", seed=11, size=30)
    team = [make_agent(name) for name in TOOLS]
    found = [asyncio.run(cheapest_route(task, team, steps=8)) for task in tasks]
    routes = {route.agents for route in found if route}
    best = float(np.mean([1 - RULE.cost_weight * route.cost for route in found if route]))
    chance = play(tasks, by_chance(TOOLS, np.random.default_rng(0)), executor, RULE, steps=8)
    order, reward = best_pipeline(tasks, routes, executor, RULE, steps=8)
    alone = max(np.mean([trajectory.succeeded for trajectory in play(tasks, in_order(route), executor, RULE, steps=8)]) for route in routes)
    assert np.mean([trajectory.succeeded for trajectory in chance]) < 0.35
    assert alone < 0.5
    assert reward < best - 0.15, order
