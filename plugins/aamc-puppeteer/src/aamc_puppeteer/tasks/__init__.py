"""Tasks to practise on: the dataset format ``tasks``, published suites, and verifiers."""

from aamc_puppeteer.tasks.sources import as_task, check_tasks, tasks_of
from aamc_puppeteer.tasks.verifiers import (
    NAMED,
    Callback,
    Choice,
    CompleteProgram,
    Coverage,
    Exact,
    Judge,
    Numeric,
    UnitTests,
    named,
)

__all__ = [
    "NAMED",
    "Callback",
    "Choice",
    "CompleteProgram",
    "Coverage",
    "Exact",
    "Judge",
    "Numeric",
    "UnitTests",
    "as_task",
    "check_tasks",
    "named",
    "tasks_of",
]
