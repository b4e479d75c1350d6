"""Tasks to practise on: the dataset format ``tasks``, published suites, and verifiers."""

from aamc_puppeteer.tasks.sources import as_task, check_tasks, tasks_of
from aamc_puppeteer.tasks.verifiers import (
    NAMED,
    Callback,
    CompleteProgram,
    Coverage,
    Exact,
    ModelVerifier,
    MultipleChoice,
    Numeric,
    UnitTests,
    named,
)

__all__ = [
    "NAMED",
    "Callback",
    "CompleteProgram",
    "Coverage",
    "Exact",
    "ModelVerifier",
    "MultipleChoice",
    "Numeric",
    "UnitTests",
    "as_task",
    "check_tasks",
    "named",
    "tasks_of",
]
