"""Judges ``exact`` and ``numeric``: they compare with the right answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aamc_models.collect.judges.interface import SingleJudge
from aamc_models.collect.prompts import ANSWER_FIELDS, Prompt
from aamc_sdk.errors import DataError, one_of
from aamc_sdk.types import last_box, last_number, normalized_answer, same_number

_FINAL = re.compile(r"answer(?: is)?\s*:?\**:?\s*", re.IGNORECASE)
_ROUNDING = 1e-6
"""Maximum relative difference of equal numbers with a fraction or an exponent."""


class ReferenceJudge(SingleJudge):
    """Compares each answer with the right ones."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check that each prompt has a right answer."""
        for prompt in prompts:
            if not prompt.answers:
                raise DataError(f"{prompt.location} has no right answer ({one_of(ANSWER_FIELDS)}); add one, or name its field with --answer-field")


class ExactJudge(ReferenceJudge):
    """An answer is right if it equals the reference as a whole, after its last "answer:", or in its last box."""

    async def quality(self, prompt: Prompt, answer: str) -> float:
        """Return 1 for a right answer, else 0."""
        wanted = {normalized_answer(reference) for reference in prompt.answers}
        return float(any(normalized_answer(part) in wanted for part in _final_parts(answer)))


class NumericJudge(ReferenceJudge):
    """An answer is right if its last number equals the reference's: whole numbers exactly, others up to rounding."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check that each prompt has a number as the right answer."""
        super().check(prompts)
        for prompt in prompts:
            if any(last_number(reference) is None for reference in prompt.answers):
                raise DataError(
                    f"{prompt.location}: the right answer must have a number, not {prompt.answers[0]!r:.80}; use the judge exact for words"
                )

    async def quality(self, prompt: Prompt, answer: str) -> float:
        """Return 1 for a right answer, else 0."""
        found = last_number(answer)
        wanted = [last_number(reference) for reference in prompt.answers]
        return float(found is not None and any(one is not None and same_number(found, one, relative=_ROUNDING, absolute=1e-9) for one in wanted))


def _final_parts(answer: str) -> list[str]:
    box = last_box(answer)
    return [answer, _FINAL.split(answer)[-1], *([] if box is None else [box])]
