"""OpenTelemetry spans of episodes and of agents' turns. Without a configured SDK they cost a few microseconds and go nowhere.

Names follow OpenTelemetry's conventions for generative AI where there are any. Texts are never recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aamc_agents.state import Activation, TaskState
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from aamc_puppeteer.episodes.trajectory import Trajectory

TRACER = "aamc_puppeteer"


async def traced(agent: str, state: TaskState, turn: Callable[[str, TaskState], Awaitable[Activation]]) -> Activation:
    """Run an agent's turn inside a span, so that the agent's own spans are its children."""
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent,
        "aamc.task.id": state.task.id,
        "aamc.step": len(state.history) + 1,
        "aamc.steps_left": state.steps_left,
    }
    with _tracer().start_as_current_span(f"invoke_agent {agent}", attributes=attributes) as span:
        try:
            activation = await turn(agent, state)
        except asyncio.CancelledError:
            span.set_status(StatusCode.ERROR, "cancelled, for instance by its timeout")
            raise
        span.set_attribute("aamc.cost_usd", activation.cost)
        if activation.fault is not None:
            span.set_attribute("error.type", activation.fault.value)
            span.set_status(StatusCode.ERROR, activation.error)
        if activation.output is not None:
            span.set_attribute("aamc.tokens", activation.tokens)
            if model := activation.output.metadata.get("model"):
                span.set_attribute("gen_ai.request.model", str(model))
        return activation


@contextmanager
def episode_span(state: TaskState) -> Iterator[Callable[[Trajectory], None]]:
    """Open the span of an episode, the parent of its turns' spans; call the yielded function with the finished episode."""
    attributes: dict[str, str | int] = {"aamc.task.id": state.task.id, "aamc.steps_left": state.steps_left}
    with _tracer().start_as_current_span("orchestrate", attributes=attributes) as span:

        def end(trajectory: Trajectory) -> None:
            span.set_attribute("aamc.stop", trajectory.stop.value)
            span.set_attribute("aamc.steps", len(trajectory.state.history))
            span.set_attribute("aamc.cost_usd", trajectory.state.cost)
            if trajectory.verdict is not None:
                span.set_attribute("aamc.correct", trajectory.verdict.correct)

        yield end


def _tracer() -> trace.Tracer:
    return trace.get_tracer(TRACER)
