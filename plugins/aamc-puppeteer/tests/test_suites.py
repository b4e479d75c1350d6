import asyncio
from collections.abc import Sequence

import pytest
from aamc_agents.state import answer
from aamc_puppeteer.testbed import DIFFICULTIES, SUITES, load_suite, split_tasks

from aamc_sdk.errors import DataError

ROUTES = {
    "arithmetic": (["calculator"], ["parser", "calculator"], ["parser", "python"]),
    "multi-hop": (["retriever", "extractor"], ["retriever", "extractor"] * 2, ["retriever", "extractor"] * 3),
    "strings": (["strings"], ["parser", "python"], ["parser", "python"]),
    "critic-loop": tuple(["checker", "reviser"] * faults for faults in (1, 2, 3)),
    "tables": (["table"], ["table", "calculator"], ["table", "table", "calculator"]),
}
"""A sequence of agents that solves each difficulty of a suite."""
CASES = [(name, level, route) for name, routes in ROUTES.items() for level, route in enumerate(routes, start=1)]


@pytest.mark.parametrize(("name", "level", "route"), CASES)
def test_the_right_sequence_of_tools_solves_every_task_without_a_model(follow, name: str, level: int, route: Sequence[str]) -> None:
    for task in load_suite(name, seed=5, size=15, difficulty=level):
        said = answer(follow(task, route)) or ""
        assert asyncio.run(task.verifier(task, said)).correct, f"{task.text} {said}"


@pytest.mark.parametrize(("name", "level", "route"), [case for case in CASES if len(case[2]) > 1])
def test_a_sequence_that_is_cut_short_or_reversed_solves_few(follow, name: str, level: int, route: Sequence[str]) -> None:
    tasks = load_suite(name, seed=6, size=15, difficulty=level)
    for wrong in (route[:-1], route[::-1], ()):
        solved = sum(asyncio.run(task.verifier(task, answer(follow(task, wrong)) or "")).correct for task in tasks)
        assert solved <= 2, f"{wrong} solves {solved} of {len(tasks)}"


@pytest.mark.parametrize("name", SUITES)
def test_the_seed_decides_and_a_larger_size_only_adds(name: str) -> None:
    small, large, other = load_suite(name, seed=1, size=20), load_suite(name, seed=1, size=30), load_suite(name, seed=2, size=20)
    assert [task.text for task in large[:20]] == [task.text for task in small]
    assert {task.text for task in other} != {task.text for task in small}
    assert {task.difficulty for task in large} == set(range(1, DIFFICULTIES + 1))
    assert len({task.id for task in large}) == 30


def test_mixed_takes_turns_among_the_others() -> None:
    kinds = [task.kind for task in load_suite("mixed", size=60)]
    assert set(kinds) == set(SUITES) - {"mixed"}
    assert max(map(kinds.count, kinds)) == min(map(kinds.count, kinds))


def test_no_text_is_on_two_sides_of_a_split() -> None:
    tasks = load_suite("tables", size=300)
    sides = split_tasks(tasks, seed=4)
    assert sum(map(len, sides)) == 300
    train, validation, test = ({task.text for task in side} for side in sides)
    assert not (train | validation) & test
    assert not train & validation


@pytest.mark.parametrize(("name", "difficulty", "error"), [("arithmetics", None, "did you mean 'arithmetic'"), ("tables", 4, "from 1 to 3, not 4")])
def test_what_there_is_not_is_refused(name: str, difficulty: int | None, error: str) -> None:
    with pytest.raises(DataError, match=error):
        load_suite(name, difficulty=difficulty)
