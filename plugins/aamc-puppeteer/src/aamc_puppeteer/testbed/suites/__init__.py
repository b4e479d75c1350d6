"""Task suites: tasks with known truth, generated from a seed, or read from published files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from aamc_agents.tasks import Task

from aamc_puppeteer.testbed.suites import arithmetic, critic_loop, multi_hop, strings, tables
from aamc_sdk.dataset import split_rows
from aamc_sdk.errors import DataError, nearest, one_of

DIFFICULTIES = 3
MIXED = "mixed"
GENERATORS: Mapping[str, Callable[[str, Random, int], Task]] = {
    "arithmetic": arithmetic.make,
    "tables": tables.make,
    "multi-hop": multi_hop.make,
    "strings": strings.make,
    "critic-loop": critic_loop.make,
}
"""What makes one task of each suite: from its id, its randomness and a difficulty from 1 to ``DIFFICULTIES``."""
SUITES = (*GENERATORS, MIXED)
"""The names of the generated suites."""

_TRIES = 100
"""Draws after which a suite counts as used up."""


def load_suite(name: str, *, seed: int = 0, size: int = 300, difficulty: int | None = None) -> list[Task]:
    """Return tasks with known truth, no two of one text and files.

    Args:
        name: One of ``SUITES``; ``mixed`` takes turns among the others.
        seed: The same seed gives the same tasks; a larger size only adds to them.
        size: How many.
        difficulty: From 1 to 3; all of them in turn when None.

    Raises:
        DataError: There is no such suite or difficulty, or it has not so many different tasks.
    """
    if name not in SUITES:
        raise DataError(f"there is no task suite {name!r}{nearest(name, SUITES)} (there are: {one_of(SUITES)})")
    if difficulty is not None and not 1 <= difficulty <= DIFFICULTIES:
        raise DataError(f"a difficulty is a whole number from 1 to {DIFFICULTIES}, not {difficulty!r}")
    kinds = tuple(GENERATORS) if name == MIXED else (name,)
    seen: set[tuple[str, ...]] = set()
    tasks = []
    for number in range(size):
        turn, kind = divmod(number, len(kinds))
        level = difficulty or 1 + turn % DIFFICULTIES
        rng = Random(f"{seed}/{name}/{number}")  # noqa: S311  # tasks, no secrets
        tasks.append(_new_task(kinds[kind], f"{name}-{seed}-{number}", rng, level, seen))
    return tasks


def _new_task(kind: str, task_id: str, rng: Random, difficulty: int, seen: set[tuple[str, ...]]) -> Task:
    """Return a task that is none of those seen, and add it to them."""
    for _ in range(_TRIES):
        task = GENERATORS[kind](task_id, rng, difficulty)
        key = (task.text, *task.files.values(), *task.corpus)
        if key not in seen:
            seen.add(key)
            return task
    raise DataError(f"suite {kind!r} has not so many different tasks of difficulty {difficulty}; ask for fewer")


def split_tasks(tasks: Sequence[Task], seed: int = 0) -> tuple[list[Task], list[Task], list[Task]]:
    """Divide tasks into training, validation and test, 70/10/20, by a hash of the seed and each task's text: no text is on two sides.

    Raises:
        DataError: A side is left without a task.
    """
    rows = split_rows([task.text for task in tasks], seed)
    train, validation, test = ([tasks[row] for row in rows[side]] for side in ("train", "validation", "test"))
    return train, validation, test
