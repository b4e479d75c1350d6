"""OpenTelemetry spans: one an episode, one an agent's turn. Without an SDK that is set up they cost a few microseconds and go nowhere.

Names follow OpenTelemetry's conventions for generative AI where these have one. Texts are never recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import Span, StatusCode

from aamc_puppeteer.state import Activation, TaskState, Trajectory

TRACER = "aamc_puppeteer"


async def traced(agent: str, state: TaskState, turn: Callable[[], Awaitable[Activation]]) -> Activation:
    """Return what came of an agent's turn, with a span around it, so that what the agent itself traces lies below."""
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent,
        "aamc.task.id": state.task.id,
        "aamc.step": len(state.history) + 1,
        "aamc.steps_left": state.steps_left,
    }
    with _tracer().start_as_current_span(f"invoke_agent {agent}", attributes=attributes) as span:
        activation = await turn()
        _describe(span, activation)
        return activation


def _describe(span: Span, activation: Activation) -> None:
    span.set_attribute("aamc.cost_usd", activation.cost)
    if activation.fault is not None:
        span.set_attribute("error.type", activation.fault.value)
        span.set_status(StatusCode.ERROR, activation.error)
    if activation.output is not None:
        for name, key in (("gen_ai.usage.input_tokens", "prompt_tokens"), ("gen_ai.usage.output_tokens", "completion_tokens")):
            if (count := activation.output.metadata.get(key)) is not None:
                span.set_attribute(name, int(count))


class EpisodeSpan:
    """The span of an episode whose turns are taken one by one; begun when it is made.

    Args:
        state: Where the episode begins.
    """

    def __init__(self, state: TaskState) -> None:
        self._span = _tracer().start_span("orchestrate", attributes={"aamc.task.id": state.task.id, "aamc.steps_left": state.steps_left})

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make spans that begin inside the block lie below this one. No generator may yield inside it."""
        token = context.attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            context.detach(token)

    def end(self, trajectory: Trajectory) -> None:
        """Say how the episode ended."""
        self._span.set_attribute("aamc.stop", trajectory.stop.value)
        self._span.set_attribute("aamc.steps", len(trajectory.state.history))
        self._span.set_attribute("aamc.cost_usd", trajectory.state.cost)
        if trajectory.verdict is not None:
            self._span.set_attribute("aamc.correct", trajectory.verdict.correct)
        self._span.end()


def _tracer() -> trace.Tracer:
    return trace.get_tracer(TRACER)
