import asyncio

import pytest
from aamc_agents.tasks import Task
from aamc_puppeteer.tasks.verifiers import Exact
from aamc_puppeteer.testbed import TOOLS, cheapest_route, load_suite


@pytest.mark.parametrize(
    ("suite", "difficulty", "agents", "cost"),
    [
        ("arithmetic", 1, ("calculator",), 0.001),
        ("tables", 3, ("table", "table", "calculator"), 0.003),
        ("multi-hop", 2, ("retriever", "extractor", "retriever", "extractor"), 0.008),
        ("strings", 3, ("parser", "python"), 0.007),
        ("critic-loop", 2, ("checker", "reviser", "checker", "reviser"), 0.008),
    ],
)
def test_the_cheapest_route_uses_the_agents_that_the_task_needs(
    make_agent, suite: str, difficulty: int, agents: tuple[str, ...], cost: float
) -> None:
    team = [make_agent(name) for name in TOOLS]
    for task in load_suite(suite, seed=8, size=3, difficulty=difficulty):
        route = asyncio.run(cheapest_route(task, team, steps=8))
        assert route is not None
        assert route.agents == agents
        assert route.cost == pytest.approx(cost)


def test_kinds_need_different_routes_and_some_must_return_to_an_agent(make_agent) -> None:
    team = [make_agent(name) for name in TOOLS]
    routes = [asyncio.run(cheapest_route(task, team, steps=8)) for task in load_suite("mixed", seed=9, size=15)]
    assert None not in routes
    assert len({route.agents for route in routes if route}) >= 9
    assert any(len(set(route.agents)) < len(route.agents) for route in routes if route)


def test_a_dearer_agent_is_not_on_the_route_where_a_cheaper_one_will_do(make_agent) -> None:
    task = Task(id="t", text="6 * 7", verifier=Exact(), reference="42")
    calculator, python = make_agent("calculator", billed_seconds=9.0), make_agent("python")
    assert asyncio.run(cheapest_route(task, [calculator, python], steps=3)).agents == ("python",)


def test_there_is_no_route_where_steps_or_agents_are_lacking(make_agent) -> None:
    (task,) = load_suite("multi-hop", size=1, difficulty=3)
    team = [make_agent(name) for name in ("retriever", "extractor")]
    assert asyncio.run(cheapest_route(task, team, steps=5)) is None
    assert asyncio.run(cheapest_route(task, team[:1], steps=8)) is None
    assert asyncio.run(cheapest_route(Task(id="t", text="2 + 2"), team, steps=8)) is None
