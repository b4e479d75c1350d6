"""Verifiers: who says whether a task was solved. Having stopped is never a reason."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable

import attrs

from aamc_puppeteer.tasks import Task, Verdict
from aamc_sdk.errors import DataError

_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


@attrs.frozen
class Exact:
    """The answer is the reference, whatever its spacing, case, form of letters (NFKC) and closing full stop."""

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Compare the normalised texts."""
        wanted = _reference(task)
        correct = normalised(answer) == normalised(wanted)
        return Verdict(correct, "" if correct else f"{answer!r:.60} is not {wanted!r:.60}")


def normalised(text: str) -> str:
    """Return a text with single spaces, in one case and form of letters, without a closing full stop and quotes around it."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold().rstrip(".").strip("'\"")


@attrs.frozen(kw_only=True)
class Numeric:
    """The last number of the answer is the reference's, within a tolerance.

    Attributes:
        absolute: Most that they may differ by.
        relative: Likewise, as a share of the reference.
    """

    absolute: float = 1e-6
    relative: float = 1e-6

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Compare the numbers."""
        wanted, found = last_number(_reference(task)), last_number(answer)
        if wanted is None:
            raise DataError(f"the reference of task {task.id!r} must hold a number, not {task.reference!r:.60}")
        if found is None:
            return Verdict(False, f"there is no number in {answer!r:.60}")
        correct = math.isfinite(found) and math.isclose(found, wanted, rel_tol=self.relative, abs_tol=self.absolute)
        return Verdict(correct, "" if correct else f"{found:.12g} is not {wanted:.12g}")


def last_number(text: str) -> float | None:
    """Return the last number that stands in a text, thousands' commas and all; None where there is none."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


@attrs.frozen
class Callback:
    """A function of the task and the answer decides.

    Attributes:
        decide: Returns a verdict, or true or false.
    """

    decide: Callable[[Task, str], Verdict | bool]

    async def __call__(self, task: Task, answer: str) -> Verdict:
        """Ask the function."""
        decided = self.decide(task, answer)
        return decided if isinstance(decided, Verdict) else Verdict(bool(decided))


def _reference(task: Task) -> str:
    if task.reference is None:
        raise DataError(f"task {task.id!r} has no reference to compare with")
    return task.reference
