"""Task suites with known answers, generated from a seed. Their agents understand the suites' sentences and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from aamc_agents.tasks import Task

from aamc_puppeteer.testbed import arithmetic, critic_loop, multi_hop, strings, tables
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_known

MIXED = "mixed"
DIFFICULTIES = 3
GENERATORS: Mapping[str, Callable[[str, Random, int], Task]] = {
    "arithmetic": arithmetic.make,
    "tables": tables.make,
    "multi-hop": multi_hop.make,
    "strings": strings.make,
    "critic-loop": critic_loop.make,
}
"""The generator of each suite: makes a task from its id, a random generator and a difficulty from 1 to ``DIFFICULTIES``."""
SUITES = (*GENERATORS, MIXED)
"""The names of the generated suites."""
TOOLS = ("calculator", "checker", "extractor", "parser", "python", "retriever", "reviser", "strings", "table")
"""Names of the agents that solve the generated suites together, without a model."""

_TRIES = 100
"""Number of repeated draws after which a suite counts as exhausted."""


def load_suite(name: str, *, seed: int = 0, size: int = 300, difficulty: int | None = None) -> list[Task]:
    """Return tasks with known answers, all different.

    Args:
        name: One of ``SUITES``; ``mixed`` has the tasks of all others in turn.
        seed: The same seed gives the same tasks; a larger size adds tasks.
        size: Number of tasks.
        difficulty: From 1 to 3; all in turn when None.

    Raises:
        DataError: The suite or the difficulty is unknown, or the suite has fewer different tasks.
    """
    check_known([name], SUITES, "there is no task suite", DataError, "there are")
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
    """Return a task that is not in ``seen``, and add it."""
    for _ in range(_TRIES):
        task = GENERATORS[kind](task_id, rng, difficulty)
        key = (task.text, *task.files.values(), *task.corpus)
        if key not in seen:
            seen.add(key)
            return task
    raise DataError(f"suite {kind!r} has fewer different tasks of difficulty {difficulty}; ask for fewer")
