"""Tasks, and the verdicts of their verifiers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import attrs


@attrs.frozen
class Verdict:
    """Whether an answer is correct.

    Attributes:
        correct: Whether it is.
        why: A short reason.
        cost: Cost of the judgement in USD, such as that of a judge model's call; NaN if unknown.
    """

    correct: bool
    why: str = ""
    cost: float = 0.0


class Verifier(Protocol):
    """Decides whether an answer solves a task."""

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Judge an answer."""


def _read_only(files: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(files))


@attrs.frozen(kw_only=True)
class Task:
    """A task with the material that agents may use. It is immutable.

    Attributes:
        id: Identifies the task in trajectories; unique in its suite.
        text: The question or instruction.
        kind: The category, for tables. Agents and policies do not see it.
        verifier: Judges answers; None if no answer can be judged, as in serving.
        reference: The correct answer. Only verifiers see it.
        difficulty: From 1, the easiest.
        files: Texts that agents may read, by file name.
        corpus: Documents that agents may search.
    """

    id: str
    text: str
    kind: str = ""
    verifier: Verifier | None = attrs.field(default=None, hash=False)
    reference: str | None = attrs.field(default=None, hash=False)
    difficulty: int = 1
    files: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only, hash=False)
    corpus: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...], hash=False)

    def without_truth(self) -> Task:
        """Return the task without verifier, reference, kind and difficulty, as agents see it."""
        return attrs.evolve(self, verifier=None, reference=None, kind="", difficulty=1)
