"""Judges ``exact`` and ``numeric``: they compare with the right answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aamc_models.collect.judges.interface import SingleJudge
from aamc_models.collect.prompts import ANSWER_FIELDS, Prompt
from aamc_sdk.errors import DataError
from aamc_sdk.messages import one_of
from aamc_sdk.types import last_box, last_number, normalized_answer, same_number

_MARKERS = (
    re.compile(r"answer(?: is)?\**\s*[:\uff1a]\**\s*|^[#*_ ]*(?:[^\W_]\w* )?answer[*_ ]*$", re.IGNORECASE | re.MULTILINE),  # or a heading
    re.compile(r"answer is\b", re.IGNORECASE),
)
"""What stands before a final answer: the first that occurs counts, as other words may follow the answer ("I hope that this answer is useful")."""
_SENTENCE_END = re.compile("[.!?]\\s+(?=[A-Z])|[\u3002\u0964\u06d4\uff01\uff1f]")
_PARENTHESES = re.compile(r"\((\w+)\)")
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
    """An answer is right if it equals the reference as a whole, after its last "answer:" (sentence, line or all of it), or in its last box."""

    async def quality(self, prompt: Prompt, answer: str) -> float:
        """Return 1 for a right answer, else 0."""
        wanted = {_normalized(reference) for reference in prompt.answers}
        return float(any(_normalized(part) in wanted for part in _final_parts(answer)))


class NumericJudge(ReferenceJudge):
    """An answer is right if its last number equals the reference's: whole numbers exactly, others up to rounding."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check that each prompt has a number as the right answer."""
        super().check(prompts)
        for prompt in prompts:
            for reference in prompt.answers:
                if last_number(reference) is None:
                    raise DataError(f"{prompt.location}: the right answer must have a number, not {reference!r:.80}; use the judge exact for words")

    async def quality(self, prompt: Prompt, answer: str) -> float:
        """Return 1 for a right answer, else 0."""
        found = last_number(answer)
        wanted = [last_number(reference) for reference in prompt.answers]
        return float(found is not None and any(one is not None and same_number(found, one, relative=_ROUNDING, absolute=1e-9) for one in wanted))


def _normalized(text: str) -> str:
    answer = normalized_answer(text)
    in_parentheses = _PARENTHESES.fullmatch(answer)  # as models write the letter of a choice
    return in_parentheses[1] if in_parentheses else answer


def _final_parts(answer: str) -> list[str]:
    marked = next((parts[-1] for marker in _MARKERS if len(parts := marker.split(answer)) > 1), None)
    line = "" if marked is None else marked.strip().partition("\n")[0]
    box = last_box(answer)
    return [answer, *([] if marked is None else [marked, line, _SENTENCE_END.split(line)[0]]), *([] if box is None else [box])]
