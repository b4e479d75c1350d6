"""The work of Router-R1 on one task, for ``aamc orchestrate`` and the gateway."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from aamc_router_r1 import trace
from aamc_router_r1.episode import ANSWERED, Episode
from aamc_sdk import Preference
from aamc_sdk.errors import quantity
from aamc_sdk.interfaces import Budget, Orchestrator, Step
from aamc_sdk.serving import Session
from aamc_sdk.types import Attempt, Query, Record


async def steps_of(episode: Episode, preference: Preference) -> AsyncGenerator[Step, None]:
    """Play an episode, yielding each call as a step; the last step is final if the policy answered.

    Args:
        episode: The episode.
        preference: The preference of its decisions.
    """
    async with aclosing(episode.play()) as calls:
        async for call in calls:
            decision = trace.decision_of(episode, call, preference)
            final = episode.dialogue.answer is not None
            content = str(episode.dialogue.answer) if final else call.text or call.shown_error
            cost = 0.0 if math.isnan(call.cost_usd) else call.cost_usd
            yield Step(decision=decision, content=content, cost_usd=cost, tokens=call.tokens, final=final)


class RouterR1Session(Session):
    """One episode as a session.

    Args:
        orchestrator: Works on the task.
        task: The question.
        budget: Limits of the episode.
        episode: The episode, which has not begun.
        preference: The preference of its decisions.
    """

    def __init__(self, orchestrator: Orchestrator, task: Query, budget: Budget, episode: Episode, preference: Preference) -> None:
        super().__init__(orchestrator, task, budget)
        self.episode = episode
        self._preference = preference

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Work on the task, yielding each call as it is done."""
        try:
            async with aclosing(steps_of(self.episode, self._preference)) as steps:
                async for step in steps:
                    yield step
        finally:
            self.answer, self.stop = self.episode.answer, self.episode.outcome

    @property
    def cost_usd(self) -> float:
        """The known cost of the calls."""
        return self.episode.cost_usd

    @property
    def count(self) -> int:
        """Number of calls."""
        return len(self.episode.calls)

    def describe(self, step: Step) -> Sequence[Any]:
        """Return the line of a call."""
        return [trace.line(call) for call in self.episode.calls if step.decision is not None and call.id == step.decision.id]

    def ending(self) -> str:
        """Return the reason for the end of the episode, in words."""
        words = self.episode.outcome.replace("_", " ")
        if self.episode.reason and self.episode.outcome != ANSWERED:
            words = f"{words} ({self.episode.reason})"
        unknown = sum(math.isnan(call.cost_usd) for call in self.episode.calls)
        return f"{words} with {quantity(unknown, 'call')} of unknown cost" if unknown else words

    def document(self) -> dict[str, Any]:
        """Return the result and the steps in plain JSON values."""
        return {"stop": self.stop, **trace.document(self.episode)}

    def log(self) -> tuple[Sequence[Record], Sequence[Attempt]]:
        """Return each call as a decision and an attempt."""
        return trace.logged(self.episode, self.task, self._preference)
