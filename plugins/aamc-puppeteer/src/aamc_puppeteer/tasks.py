"""A task, and who says whether it was solved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import attrs


@attrs.frozen
class Verdict:
    """Whether an answer is right, and in a few words why."""

    correct: bool
    why: str = ""


class Verifier(Protocol):
    """Decides whether a task was solved. Having stopped is never a reason."""

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Judge an answer."""


def _read_only(files: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(files))


def _as_tuple(documents: Iterable[str]) -> tuple[str, ...]:
    return tuple(documents)


@attrs.frozen(kw_only=True)
class Task:
    """Something to be done, with what agents may use for it. Nothing of it can be changed.

    Attributes:
        id: What names it in trajectories; unique in its suite.
        text: What is asked.
        kind: The sort of task, for tables; no agent or policy is told.
        verifier: Says whether an answer is right; None where nobody can, as when serving.
        reference: The right answer, for verifiers alone: agents get a state without it.
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
    corpus: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, hash=False)

    def without_truth(self) -> Task:
        """Return the task as agents see it: without verifier, reference, kind and difficulty."""
        return attrs.evolve(self, verifier=None, reference=None, kind="", difficulty=1)
