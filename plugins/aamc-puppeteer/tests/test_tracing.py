from __future__ import annotations

import asyncio

import pytest
from aamc_puppeteer import tracing
from aamc_puppeteer.state import Activation, Fault, Stop, TaskState, Trajectory
from aamc_puppeteer.tasks import Task, Verdict
from aamc_puppeteer.tracing import EpisodeSpan, traced
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from aamc_sdk import AgentOutput

STATE = TaskState(task=Task(id="sum-1", text="a secret"), steps_left=4)
DONE = Activation(agent="calculator", output=AgentOutput("4", 0.5, {"prompt_tokens": 7, "completion_tokens": 2}), cost=0.5)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("test"))  # a provider can be set once a process
    return exporter


async def _turn(activation: Activation) -> Activation:
    return activation


def test_a_turn_has_a_span_with_its_figures(spans: InMemorySpanExporter) -> None:
    assert asyncio.run(traced("calculator", STATE, lambda: _turn(DONE))) is DONE
    (span,) = spans.get_finished_spans()
    assert span.name == "invoke_agent calculator"
    assert span.attributes is not None
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "calculator",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "aamc.task.id": "sum-1",
        "aamc.step": 1,
        "aamc.steps_left": 4,
        "aamc.cost_usd": 0.5,
    }


def test_a_failures_span_is_an_error(spans: InMemorySpanExporter) -> None:
    failed = Activation(agent="calculator", fault=Fault.TIMEOUT, error="gave no answer in 1 s")
    asyncio.run(traced("calculator", STATE, lambda: _turn(failed)))
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "gave no answer in 1 s")
    assert span.attributes["error.type"] == "timeout"


def test_turns_lie_below_their_episode(spans: InMemorySpanExporter) -> None:
    episode = EpisodeSpan(STATE)
    with episode.current():
        asyncio.run(traced("calculator", STATE, lambda: _turn(DONE)))
    assert not trace.get_current_span().get_span_context().is_valid
    episode.end(Trajectory(state=STATE.after(DONE), stop=Stop.STOPPED, verdict=Verdict(True)))
    turn, whole = spans.get_finished_spans()
    assert turn.parent is not None
    assert whole.context is not None
    assert turn.parent.span_id == whole.context.span_id
    assert whole.attributes is not None
    assert (whole.name, whole.attributes["aamc.stop"], whole.attributes["aamc.correct"]) == ("orchestrate", "stopped", True)


def test_no_text_is_recorded(spans: InMemorySpanExporter) -> None:
    episode = EpisodeSpan(STATE)
    with episode.current():
        asyncio.run(traced("calculator", STATE, lambda: _turn(DONE)))
    episode.end(Trajectory(state=STATE.after(DONE), stop=Stop.STOPPED))
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_without_a_provider_a_turn_is_just_taken() -> None:
    assert asyncio.run(traced("calculator", STATE, lambda: _turn(DONE))) is DONE
