from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.doa import EchoAgent
from aamc_puppeteer.doa.bridge import CoreAgent
from aamc_puppeteer.episodes import spans as tracing
from aamc_puppeteer.episodes.executor import Executor
from aamc_puppeteer.episodes.spans import episode_span, traced
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from aamc_sdk import AgentOutput

STATE = TaskState(task=Task(id="sum-1", text="a secret"), steps_left=4)
DONE = Activation(agent="calculator", output=AgentOutput("4", 0.5, {"tokens": 9, "model": "small"}), cost=0.5)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("test"))  # a provider can be set once a process
    return exporter


def _turn(activation: Activation) -> Callable[[str, TaskState], Awaitable[Activation]]:
    async def turn(agent: str, state: TaskState) -> Activation:
        return activation

    return turn


def test_a_turn_has_a_span_with_its_figures(spans: InMemorySpanExporter) -> None:
    assert asyncio.run(traced("calculator", STATE, _turn(DONE))) is DONE
    (span,) = spans.get_finished_spans()
    assert span.name == "invoke_agent calculator"
    assert span.attributes is not None
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "calculator",
        "gen_ai.request.model": "small",
        "aamc.tokens": 9,
        "aamc.task.id": "sum-1",
        "aamc.step": 1,
        "aamc.steps_left": 4,
        "aamc.cost_usd": 0.5,
    }


def test_a_failures_span_is_an_error(spans: InMemorySpanExporter) -> None:
    failed = Activation(agent="calculator", fault=Fault.TIMEOUT, error="gave no answer in 1 s")
    asyncio.run(traced("calculator", STATE, _turn(failed)))
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "gave no answer in 1 s")
    assert span.attributes["error.type"] == "timeout"


def test_turns_lie_below_their_episode(spans: InMemorySpanExporter) -> None:
    with episode_span(STATE) as tell:
        asyncio.run(traced("calculator", STATE, _turn(DONE)))
        tell(Trajectory(state=STATE.after(DONE), stop=Stop.STOPPED, verdict=Verdict(True)))
    turn, whole = spans.get_finished_spans()
    assert turn.parent is not None
    assert whole.context is not None
    assert turn.parent.span_id == whole.context.span_id
    assert whole.attributes is not None
    assert (whole.name, whole.attributes["aamc.stop"], whole.attributes["aamc.correct"]) == ("orchestrate", "stopped", True)


def test_no_text_is_recorded(spans: InMemorySpanExporter) -> None:
    with episode_span(STATE) as tell:
        asyncio.run(traced("calculator", STATE, _turn(DONE)))
        tell(Trajectory(state=STATE.after(DONE), stop=Stop.STOPPED))
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_without_a_provider_a_turn_is_just_taken() -> None:
    assert asyncio.run(traced("calculator", STATE, _turn(DONE))) is DONE


def test_a_turn_whose_time_is_up_has_an_error(spans: InMemorySpanExporter) -> None:
    async def hang(agent: str, state: TaskState) -> Activation:
        await asyncio.sleep(60)
        return DONE

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(traced("calculator", STATE, hang), 0.01))
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_agents_of_an_executor_are_traced_below_the_episode(spans: InMemorySpanExporter) -> None:
    executor = Executor({"calculator": CoreAgent(EchoAgent("calculator"), "Echoes.")}, 10.0, 1000)
    with episode_span(STATE):
        executor.activate([("calculator", STATE)])
    executor.close()
    turn, whole = spans.get_finished_spans()
    assert turn.parent is not None
    assert whole.context is not None
    assert (turn.name, turn.parent.span_id) == ("invoke_agent calculator", whole.context.span_id)
