"""Whatever an agent or a verifier does, the episode goes on with a typed fault and a finite cost."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_agents.tool import AgentError, AgentTimeoutError
from aamc_puppeteer.episodes.executor import Executor, OutOfBudgetError
from aamc_puppeteer.training.cost_estimate import CostEstimate

from aamc_sdk import Agent, AgentOutput, Candidate, ModelSpec
from aamc_sdk.interfaces import Completion, Provider
from aamc_sdk.serving import ModelClient

TASK = Task(id="t", text="Add one and one.", reference="2", kind="sums")


class Scripted(Agent):
    """An agent that does what a function says."""

    def __init__(self, act: Callable[[TaskState], Any], deterministic: bool = False) -> None:
        self.spec = Candidate("scripted")
        self.act, self.deterministic, self.calls = act, deterministic, 0

    async def execute(self, state: TaskState) -> AgentOutput:
        self.calls += 1
        result = self.act(state)
        return await result if asyncio.iscoroutine(result) else result


@pytest.fixture
def executors() -> Iterator[Callable[..., Executor]]:
    made: list[Executor] = []

    def make(timeout: float = 20.0, **agents: Agent) -> Executor:
        made.append(Executor(agents, timeout, 1000))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def fail(error: BaseException) -> Callable[[TaskState], Any]:
    def act(state: TaskState) -> Any:
        raise error

    return act


@pytest.fixture
def turn(executors: Callable[..., Executor]) -> Callable[..., Activation]:
    def turn(act: Callable[[TaskState], Any], timeout: float = 20.0) -> Activation:
        return executors(timeout, scripted=Scripted(act)).activate([("scripted", TaskState(task=TASK, steps_left=3))])[0]

    return turn


class OwnBase(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


class Greedy(Exception):
    @property
    def cost(self) -> float:
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), RecursionError(), GeneratorExit(), OwnBase(), Mute(), Greedy()],
)
def test_an_agent_that_raises_is_a_fault(turn: Callable[..., Activation], error: BaseException) -> None:
    activation = turn(fail(error))
    assert (activation.output, activation.fault, activation.cost) == (None, Fault.RAISED, 0.0)
    assert type(error).__name__ in str(activation.error)


def test_what_a_failure_cost_is_counted(turn: Callable[..., Activation]) -> None:
    error = RuntimeError("the model said nothing")
    error.cost = 0.25  # type: ignore[attr-defined]  # as errors of paid calls have
    assert turn(fail(error)).cost == 0.25


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, "much", None, True, 1e308, 1.1e6, 10**400])
def test_a_cost_that_is_none_is_a_fault_and_counts_nothing(turn: Callable[..., Activation], cost: Any) -> None:
    activation = turn(lambda state: AgentOutput("2", cost))
    assert (activation.output, activation.fault, activation.cost) == (None, Fault.BAD_COST, 0.0)


@pytest.mark.parametrize("output", [None, "2", AgentOutput(None, 0.5), AgentOutput(2)])  # type: ignore[arg-type]  # what agents should not return
def test_what_is_no_output_is_a_fault(turn: Callable[..., Activation], output: Any) -> None:
    activation = turn(lambda state: output)
    assert (activation.output, activation.fault) == (None, Fault.NO_OUTPUT)
    assert activation.cost == getattr(output, "cost", 0.0)


ITSELF: dict[str, Any] = {}
ITSELF["itself"] = ITSELF


@pytest.mark.parametrize("metadata", [5, [1, 2], ITSELF, {1: [ITSELF]}])
def test_metadata_that_cannot_be_kept_is_a_fault_whose_cost_counts(turn: Callable[..., Activation], metadata: Any) -> None:
    activation = turn(lambda state: AgentOutput("2", 0.5, metadata))
    assert (activation.output, activation.fault in (Fault.NO_OUTPUT, Fault.RAISED), activation.cost) == (None, True, 0.5)


def test_what_is_kept_can_be_written_in_utf_8(turn: Callable[..., Activation]) -> None:
    output = turn(lambda state: AgentOutput("a\ud83d\ude00b\udc80", metadata={"\udc80": "\udc80"})).output
    assert output is not None
    assert (output.content, dict(output.metadata)) == ("a\U0001f600b\ufffd", {"\ufffd": "\ufffd"})
    assert turn(fail(ValueError("\udc80"))).error == "ValueError: \ufffd"


def test_an_agent_whose_own_task_ends_its_lane_gets_another(executors: Callable[..., Executor]) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def spawn() -> AgentOutput:
        spawned.append(asyncio.ensure_future(leave()))
        await asyncio.sleep(0.1)
        return AgentOutput("2")

    spawned: list[Any] = []
    executor = executors(rude=Scripted(lambda state: AgentOutput("2") if spawned else spawn()))
    first, second = (executor.activate([("rude", TaskState(task=TASK))])[0] for _ in range(2))
    assert (first.fault, second.fault) == (Fault.TIMEOUT, None)


def test_an_agent_may_be_named_like_the_verifiers_lane(executors: Callable[..., Executor]) -> None:
    executor = executors(verifiers=Scripted(lambda state: AgentOutput(threading.current_thread().name)))
    activation = executor.activate([("verifiers", TaskState(task=TASK))])[0]
    assert activation.output is not None
    verdict = executor.verify([(Task(id="t", text="?", verifier=_thread), "2")])[0]
    assert verdict is not None
    assert verdict.why != activation.output.content


@pytest.mark.parametrize("error", [TimeoutError("slow"), asyncio.TimeoutError("slow"), AgentTimeoutError("slow")])
def test_an_agent_that_says_it_ran_out_of_time_is_asked_again(executors: Callable[..., Executor], error: Exception) -> None:
    agent = Scripted(fail(error), deterministic=True)
    executor = executors(a=agent)
    first, _ = (executor.activate([("a", TaskState(task=TASK))])[0] for _ in range(2))
    assert (first.fault, first.error) == (Fault.TIMEOUT, f"{type(error).__name__}: slow")
    assert agent.calls == 2


def test_with_no_time_left_nobody_is_asked(executors: Callable[..., Executor]) -> None:
    agent = Scripted(lambda state: AgentOutput("2"))
    activation = executors(a=agent).activate([("a", TaskState(task=TASK))], timeout=0.0)[0]
    assert (activation.fault, activation.cost, agent.calls) == (Fault.TIMEOUT, 0.0, 0)


def test_a_megabyte_of_text_is_cut(turn: Callable[..., Activation]) -> None:
    output = turn(lambda state: AgentOutput("x" * 1_000_000)).output
    assert output is not None
    assert (len(output.content), output.metadata["cut"]) == (1000, 1_000_000)


def test_nobody_can_change_the_state(executors: Callable[..., Executor]) -> None:
    notes: dict[str, Any] = {"list": [1], "map": {"a": 1}}
    executor = executors(first=Scripted(lambda state: AgentOutput("2", metadata=notes)), second=Scripted(lambda state: setattr(state, "history", ())))
    state = TaskState(task=TASK, steps_left=3)
    state = state.after(executor.activate([("first", state)])[0])
    notes["list"].append(2)
    assert executor.activate([("second", state)])[0].fault is Fault.RAISED
    assert state.outputs[0].metadata["list"] == (1,)
    with pytest.raises(TypeError):
        state.outputs[0].metadata["map"]["a"] = 2


def test_not_even_by_force_is_the_history_changed(executors: Callable[..., Executor]) -> None:
    def tamper(state: TaskState) -> AgentOutput:
        turn = state.history[0]
        object.__setattr__(turn, "cost", math.nan)
        object.__setattr__(turn.output, "content", "3")
        return AgentOutput("done")

    executor = executors(first=Scripted(lambda state: AgentOutput("2", metadata={"array": np.zeros(2), "object": Task})), second=Scripted(tamper))
    state = TaskState(task=TASK, steps_left=3)
    state = state.after(executor.activate([("first", state)])[0])
    assert executor.activate([("second", state)])[0].output is not None
    assert (state.cost, state.outputs[0].content) == (0.0, "2")
    assert dict(state.outputs[0].metadata) == {"array": (0.0, 0.0), "object": repr(Task)}


def test_agents_are_not_told_the_truth(turn: Callable[..., Activation]) -> None:
    seen: list[Task] = []
    turn(lambda state: seen.append(state.task))
    assert (seen[0].reference, seen[0].verifier, seen[0].kind) == (None, None, "")


@pytest.mark.parametrize("blocks", [False, True])
def test_an_agent_that_hangs_is_left_behind(executors: Callable[..., Executor], blocks: bool) -> None:
    def hang(state: TaskState) -> Any:
        if state.steps_left == 1:
            return AgentOutput("awake")
        return released.wait(60) if blocks else asyncio.sleep(60)

    released = threading.Event()
    executor = executors(1.0, hanging=Scripted(hang), quick=Scripted(lambda state: AgentOutput("2")))
    began = time.monotonic()
    hung, quick = executor.activate([("hanging", TaskState(task=TASK)), ("quick", TaskState(task=TASK))])
    assert time.monotonic() - began < 30
    assert (hung.fault, quick.fault) == (Fault.TIMEOUT, None)
    again = executor.activate([("hanging", TaskState(task=TASK, steps_left=1))])[0]
    assert again.output is not None
    released.set()


def test_calls_at_the_same_time_leave_an_agent_behind_that_blocks_all_of_them(executors: Callable[..., Executor]) -> None:
    released = threading.Event()
    executor = executors(0.5, hanging=Scripted(lambda state: released.wait(60)))
    with ThreadPoolExecutor(3) as callers:
        found = [callers.submit(executor.activate, [("hanging", TaskState(task=TASK))]) for _ in range(3)]
        assert [future.result()[0].fault for future in found] == [Fault.TIMEOUT] * 3
    blocked = [thread for thread in threading.enumerate() if thread.name == "agent hanging"]
    released.set()
    for thread in blocked:
        thread.join(60)  # a turn that it did not come to would be warned of as never awaited


def test_closing_waits_until_a_turn_in_progress_has_cleaned_up(executors: Callable[..., Executor]) -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def work() -> AgentOutput:
        begun.set()
        try:
            await asyncio.sleep(60.0)
        finally:  # as the sandbox kills its process
            for _ in range(20):
                await asyncio.sleep(0.01)
            cleaned.set()
        return AgentOutput("late")

    executor = executors(slow=Scripted(lambda _: work()))
    turn = threading.Thread(target=executor.activate, args=([("slow", TaskState(task=TASK))],))
    turn.start()
    assert begun.wait(20)
    executor.close()
    assert cleaned.is_set()
    turn.join()


def test_turns_of_one_wave_go_on_side_by_side(executors: Callable[..., Executor]) -> None:
    async def wait_for_all() -> AgentOutput:
        arrived.append(len(arrived))
        while len(arrived) < 20:
            await asyncio.sleep(0.01)
        return AgentOutput("2")

    arrived: list[int] = []
    executor = executors(60.0, slow=Scripted(lambda state: wait_for_all()))
    done = executor.activate([("slow", TaskState(task=TASK))] * 20)
    assert all(activation.output is not None for activation in done)


def test_a_deterministic_agent_is_asked_once_a_history(executors: Callable[..., Executor]) -> None:
    agent = Scripted(lambda state: AgentOutput("2", cost=0.5), deterministic=True)
    executor = executors(sure=agent)
    state = TaskState(task=TASK, steps_left=3)
    first, second = (executor.activate([("sure", state)])[0] for _ in range(2))
    assert (first, agent.calls) == (second, 1)
    executor.activate([("sure", state.after(first))])
    assert agent.calls == 2


async def _wrong(task: Task, answer: str) -> Verdict:
    return Verdict(answer == task.reference)


async def _thread(task: Task, answer: str) -> Verdict:
    return Verdict(True, threading.current_thread().name)


async def _leaving(task: Task, answer: str) -> Verdict:
    raise OwnBase


async def _raising(task: Task, answer: str) -> Verdict:
    raise ZeroDivisionError


async def _hanging(task: Task, answer: str) -> Verdict:
    await asyncio.sleep(60)
    return Verdict(True)


async def _confused(task: Task, answer: str) -> Any:
    return "yes"


def test_verifiers_say_who_was_right_whatever_they_do(executors: Callable[..., Executor]) -> None:
    executor = executors(1.0)
    judged = [Task(id="t", text="?", reference="2", verifier=verifier) for verifier in (_wrong, _raising, _hanging, _confused, _leaving, None)]
    verdicts = executor.verify([(judged[0], "2"), *((task, "1") for task in judged), (judged[0], None)])
    assert verdicts[-2] is None
    given = [verdict for verdict in verdicts if verdict is not None]
    assert [verdict.correct for verdict in given] == [True, *[False] * 6]
    assert ["ZeroDivisionError" in given[2].why, "no verdict" in given[3].why, "str" in given[4].why] == [True, True, True]


async def _judging(task: Task, answer: str) -> Verdict:
    if answer == "broken":
        raise AgentError("no verdict", cost=0.5)
    return Verdict(True, cost=math.nan if answer == "unpriced" else 0.25)


def test_verdicts_cost_what_their_models_cost(executors: Callable[..., Executor]) -> None:
    executor = executors()
    judged = Task(id="t", text="?", verifier=_judging)
    assert [verdict.cost for verdict in executor.verify([(judged, "right"), (judged, "broken"), (judged, "unpriced")]) if verdict] == [0.25, 0.5, 0.0]
    assert executor.spent_usd == 0.75


class Priced(Scripted):
    """An agent whose turn costs 1 USD or its maximum, if that is lower."""

    def __init__(self, maximum: float) -> None:
        super().__init__(lambda state: AgentOutput("done", cost=min(1.0, maximum)))
        self.maximum = maximum

    @property
    def max_cost_usd(self) -> float:
        return self.maximum


@pytest.mark.parametrize(
    ("maximum", "budget", "calls", "spent"),
    [
        (1.0, 3.0, 3, 3.0),
        (1.0, 2.5, 2, 2.0),
        (2.0, 4.0, 3, 3.0),  # at most two at once, then what is left covers one
        (2.0, 1.9, 0, 0.0),
        (math.inf, 2.5, 3, 3.0),  # of unknown cost: one after another
        (1.0, 0.0, 0, 0.0),
    ],
)
def test_a_round_keeps_within_the_rest_of_the_budget(executors, maximum: float, budget: float, calls: int, spent: float) -> None:
    agent = Priced(maximum)
    executor = executors(priced=agent)
    executor.budget_usd = budget
    with pytest.raises(OutOfBudgetError, match=f"the budget of {budget:g} USD is spent"):
        executor.activate([("priced", TaskState(task=TASK, steps_left=3))] * 8)
    assert (agent.calls, executor.spent_usd) == (calls, spent)


def test_turns_without_cost_need_no_budget(executors) -> None:
    executor = executors(priced=Priced(0.0))
    executor.budget_usd = 0.0
    assert len(executor.activate([("priced", TaskState(task=TASK, steps_left=3))] * 2)) == 2


class Long(Priced):
    """An agent whose maximum cost follows from the task."""

    def max_cost_usd_in(self, state: TaskState) -> float:
        return self.maximum * len(state.task.text)


def test_the_maximum_cost_of_a_turn_is_that_in_its_state(executors) -> None:
    agent = Long(1.0)
    executor = executors(priced=agent)
    executor.budget_usd = 2.0
    with pytest.raises(OutOfBudgetError, match="a turn of 'priced' may cost 3"):
        executor.activate([("priced", TaskState(task=Task(id=text, text=text), steps_left=3)) for text in ("??", "???")])
    assert agent.calls == 1


def test_the_cost_of_a_training_is_estimated_for_its_most_expensive_task() -> None:
    estimate = CostEstimate.of([Long(1.0), Priced(1.0)], 10, [Task(id=text, text=text) for text in ("?", "???", "??")])
    assert (estimate.mean_usd, estimate.maximum_usd) == (20.0, 30.0)


@pytest.mark.parametrize(("budget", "spent"), [(1.0, 1.0), (0.9, 0.25), (0.0, 0.25)])
def test_verdicts_keep_within_the_rest_of_the_budget_but_for_the_first(executors, budget: float, spent: float) -> None:
    executor = executors()
    executor.budget_usd = budget
    answers = [(Task(id="t", text="?", verifier=_judging), "right")] * 4
    with contextlib.nullcontext() if spent == budget else pytest.raises(OutOfBudgetError, match="and 3 verdicts may cost"):
        executor.verify(answers)
    assert executor.spent_usd == spent


@pytest.mark.parametrize("first", ["_wrong", "_hanging", "_raising", "_confused"])
def test_a_judge_is_limited_after_verdicts_without_cost(executors, first: str) -> None:
    executor = executors(0.5)
    executor.budget_usd = 0.3
    judged = [Task(id="t", text="?", verifier=globals()[first]), *[Task(id="t", text="?", verifier=_judging)] * 8]
    with pytest.raises(OutOfBudgetError, match="may cost"):
        executor.verify([(task, "right") for task in judged])
    assert executor.spent_usd == 0.25


def test_a_failed_verdict_does_not_tell_the_cost_of_others(executors) -> None:
    executor, calls = executors(), []

    async def failing_once(task: Task, answer: str) -> Verdict:
        calls.append(answer)
        if len(calls) == 1:
            raise AgentError("no answer")
        return Verdict(True, cost=0.25)

    executor.budget_usd = 0.3
    with pytest.raises(OutOfBudgetError, match="and 6 verdicts may cost"):
        executor.verify([(Task(id="t", text="?", verifier=failing_once), "right")] * 8)
    assert (len(calls), executor.spent_usd) == (2, 0.25)


def test_verdicts_without_cost_need_no_budget(executors) -> None:
    executor = executors()
    executor.budget_usd = 0.0
    assert len(executor.verify([(Task(id="t", text="?", verifier=_confused), "1")] * 3)) == 3


class OneDollar(Provider):
    async def complete(self, candidate: Any, messages: Any, **options: Any) -> Completion:
        return Completion(message={"role": "assistant", "content": "done"}, cost_usd=1.0)

    async def stream(self, candidate: Any, messages: Any, **options: Any) -> Any:
        raise NotImplementedError
        yield


@pytest.mark.parametrize(("reported", "hangs", "cost"), [(0.0, False, 2.0), (2.5, False, 2.5), (0.0, True, 2.0)])
def test_a_turn_costs_at_least_its_calls_of_models(turn: Callable[..., Activation], reported: float, hangs: bool, cost: float) -> None:
    model, models = ModelSpec("a", endpoint={"provider": "echo"}), ModelClient(lambda endpoint: OneDollar({}, None))

    async def act() -> AgentOutput:
        for _ in range(2):
            await models.complete(model, [{"role": "user", "content": "Hello"}])
        if hangs:
            await asyncio.Event().wait()
        return AgentOutput("done", reported)

    done = turn(lambda state: act(), timeout=0.2)
    assert (done.cost, done.fault) == (cost, Fault.TIMEOUT if hangs else None)
