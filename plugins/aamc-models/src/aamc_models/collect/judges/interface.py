"""The base class of judges."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aamc_models.collect.prompts import Prompt

Ask = Callable[[str], Awaitable[str | None]]
"""Asks the judge's model a text, and returns its answer; None if the call failed. An answer that was paid for before is not asked again."""


class Judge(abc.ABC):
    """Scores the answers to a prompt.

    Attributes:
        model: The candidate that the judge asks; None if it asks none.
    """

    model: str | None = None

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check, before the first call, that the prompts have everything that the judge needs.

        Raises:
            DataError: A prompt lacks it; the message gives the line.
        """

    def calls(self, prompt: Prompt, candidates: Sequence[str]) -> int:
        """Return the maximum number of calls of the judge's model for one prompt."""
        return 0

    @abc.abstractmethod
    async def qualities(self, prompt: Prompt, answers: Mapping[str, str], ask: Ask) -> Mapping[str, float | None]:
        """Return the quality of each answer from 0 to 1, by candidate; None where it is unknown. Answers of failed calls are missing."""


class SingleJudge(Judge):
    """Scores each answer on its own."""

    @abc.abstractmethod
    async def quality(self, prompt: Prompt, answer: str) -> float | None:
        """Return an answer's quality from 0 to 1; None if it is unknown."""

    async def qualities(self, prompt: Prompt, answers: Mapping[str, str], ask: Ask) -> Mapping[str, float | None]:
        """Return the quality of each answer."""
        return {name: await self.quality(prompt, answer) for name, answer in answers.items()}
