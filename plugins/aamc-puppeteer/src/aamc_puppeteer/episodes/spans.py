"""OpenTelemetry spans: one an episode, one an agent's turn. Without an SDK that is set up they cost a few microseconds and go nowhere.

Names follow OpenTelemetry's conventions for generative AI where these have one. Texts are never recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode

from aamc_puppeteer.measures import tokens
from aamc_puppeteer.state import Activation, TaskState, Trajectory

TRACER = "aamc_puppeteer"


async def traced(agent: str, state: TaskState, turn: Callable[[str, TaskState], Awaitable[Activation]]) -> Activation:
    """Return what came of an agent's turn, with a span around it, so that what the agent itself traces lies below."""
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
            span.set_status(StatusCode.ERROR, "cancelled, as when its time was up")
            raise
        _describe(span, activation)
        return activation


def _describe(span: Span, activation: Activation) -> None:
    span.set_attribute("aamc.cost_usd", activation.cost)
    if activation.fault is not None:
        span.set_attribute("error.type", activation.fault.value)
        span.set_status(StatusCode.ERROR, activation.error)
    if activation.output is not None:
        span.set_attribute("aamc.tokens", tokens(activation.output))
        if model := activation.output.metadata.get("model"):
            span.set_attribute("gen_ai.request.model", str(model))


@contextmanager
def episode_span(state: TaskState) -> Iterator[Callable[[Trajectory], None]]:
    """Open an episode's span, below which the spans of its turns lie; the function that it gives tells how the episode ended.

    Args:
        state: Where the episode begins.
    """
    attributes: dict[str, str | int] = {"aamc.task.id": state.task.id, "aamc.steps_left": state.steps_left}
    with _tracer().start_as_current_span("orchestrate", attributes=attributes) as span:

        def tell(trajectory: Trajectory) -> None:
            span.set_attribute("aamc.stop", trajectory.stop.value)
            span.set_attribute("aamc.steps", len(trajectory.state.history))
            span.set_attribute("aamc.cost_usd", trajectory.state.cost)
            if trajectory.verdict is not None:
                span.set_attribute("aamc.correct", trajectory.verdict.correct)

        yield tell


def _tracer() -> trace.Tracer:
    return trace.get_tracer(TRACER)
