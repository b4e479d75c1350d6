"""Contracts of the controller: attempts, the pool's state, event loops, forks, calling models."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk import Component, MetaController, ModelSpec, Pool, PoolState, Prices, Query, Scores, Turn, builtin, hookimpl
from aamc_sdk.errors import ConfigError, DataError, ForkedError, NoCandidateError, PluginError, PoolError, ProviderError, StoreError
from aamc_sdk.interfaces import AsyncRouter, Budget, Completion, ConfigFormat, ForeignSettings, OnlineRouter, Requirements, Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving.models.echo import Echo
from aamc_sdk.types import Latency

POOL = Pool(
    [
        ModelSpec("small", "Quick.", prices=Prices(1.0, 2.0), latency=Latency(10, 100), endpoint={"provider": "echo", "concurrency": 1}),
        ModelSpec("large", "Slow.", prices=Prices(10.0, 20.0), latency=Latency(10, 900), endpoint={"provider": "echo", "reply": "42"}),
    ]
)


class First(Router):
    """Prefers candidates in the pool's order."""

    def score(self, request: Any) -> Scores:
        return Scores(np.tile(-np.arange(len(request.pool), dtype=float), (len(request), 1)))


class Blocking(First):
    """Blocks its thread until the test ends that."""

    began, ended = threading.Event(), threading.Event()

    def score(self, request: Any) -> Scores:
        self.began.set()
        if not self.ended.wait(30):
            raise TimeoutError("nobody ended the wait")
        return super().score(request)


class Asking(AsyncRouter):
    """Has only a coroutine; does not know its propensities."""

    async def ascore(self, request: Any) -> Scores:
        await asyncio.sleep(0.01)
        return Scores(np.tile([0.0, 1.0], (len(request), 1)), propensity_known=False)


class Waiting(Asking):
    """Waits until it is cancelled."""

    began, cancelled = threading.Event(), threading.Event()

    async def ascore(self, request: Any) -> Scores:
        self.began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().ascore(request)


@attrs.frozen
class LearnedOptions:
    epochs: int = 1
    inner: Mapping[str, Any] = attrs.field(factory=dict)


class Learned(First):
    Config = LearnedOptions
    requires = Requirements(training=True)


class Reader(First):
    requires = Requirements(estimator=True)


class Seeing(First):
    """Records the waits that it is given."""

    waits: list[Any] = []  # noqa: RUF012  # shared on purpose
    flights: list[Any] = []  # noqa: RUF012  # likewise

    def score(self, request: Any) -> Scores:
        self.waits.append(request.wait_ms.tolist())
        self.flights.append(None if request.in_flight is None else request.in_flight.tolist())
        return super().score(request)


class Signalling(Echo):
    """Sets an event when a call begins."""

    began = threading.Event()

    async def complete(self, candidate: Any, messages: Any, **options: Any) -> Completion:
        self.began.set()
        return await super().complete(candidate, messages, **options)


class Parts:
    @hookimpl
    def aamc_providers(self) -> list[Component]:
        return [Component("signalling", f"{__name__}:Signalling", "Signals.")]

    @hookimpl
    def aamc_routers(self) -> list[Component]:
        kinds = (First, Blocking, Asking, Waiting, Learned, Reader, Seeing, Crashing, CrashingLater)
        return [Component(kind.__name__.lower(), f"{__name__}:{kind.__name__}", kind.__name__) for kind in kinds]


def build(router: str | Mapping[str, Any], pool: Pool = POOL, **options: Any) -> MetaController:
    return MetaController.build(router=router, pool=pool, plugins=Plugins({"core": builtin, "parts": Parts()}, discover=False), **options)


@pytest.fixture(params=["memory:", "sqlite:log.db"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MetaController]:
    with build("first", store=request.param.replace("log.db", str(tmp_path / "log.db"))) as made:
        yield made


def slow_pool(delay_ms: float) -> Pool:
    """Return a pool whose only candidate answers late, and sets ``Signalling.began`` when it is called."""
    Signalling.began.clear()
    endpoint = {"provider": "signalling", "delay_ms": delay_ms, "concurrency": 1}
    return Pool([ModelSpec("small", "?", latency=Latency(0, 200), endpoint=endpoint)])


def attempts(controller: MetaController) -> list[Any]:
    return list(controller.store.experience().attempts)


def test_the_figures_of_calls_are_recorded_alone_and_several_times(controller: MetaController) -> None:
    name = controller.route("Hi").id
    controller.attempt(name, status="error", error="timed out", latency_ms=900.0)
    controller.attempt(
        name, candidate="large", cost_usd=0.5, first_token_ms=20.0, prompt_tokens=9, cached_tokens=3, reasoning_tokens=2, output_tokens=7
    )
    assert controller.feedback(name, quality=1.0)
    controller.attempt(name, candidate="large", status="cancelled")
    first, second, third = attempts(controller)
    assert (first.candidate, first.status, first.error, first.latency_ms) == ("small", "error", "timed out", 900.0)
    assert (second.cost_usd, second.cost_source, second.first_token_ms) == (0.5, "given", 20.0)
    assert (second.prompt_tokens, second.cached_tokens, second.reasoning_tokens, second.output_tokens) == (9, 3, 2, 7)
    assert (third.status, [attempt.n for attempt in (first, second, third)]) == ("cancelled", [0, 1, 2])


def test_figures_without_a_judgement_are_an_attempt(controller: MetaController) -> None:
    name = controller.route("Hi").id
    assert controller.feedback(name, cost_usd=0.25)
    assert [attempt.cost_usd for attempt in attempts(controller)] == [0.25]
    assert not controller.store.experience().feedback


@pytest.mark.parametrize("figures", [{"costs": 1.0}, {"cost_usd": -1}, {"cost_usd": math.inf}, {"status": "fine"}, {"latency_ms": "soon"}])
def test_an_attempt_that_cannot_be_used_is_refused(controller: MetaController, figures: dict[str, Any]) -> None:
    name = controller.route("Hi").id
    with pytest.raises(DataError):
        controller.attempt(name, **figures)
    assert not attempts(controller)


def test_a_mistyped_argument_is_named(controller: MetaController) -> None:
    name = controller.route("Hi").id
    with pytest.raises(DataError, match="no argument 'qualty'; did you mean 'quality'"):
        controller.feedback(name, qualty=1.0)
    with pytest.raises(DataError, match="no argument 'sesion'; did you mean 'session'"):
        asyncio.run(controller.aroute("Hi", sesion="s"))
    with pytest.raises(DataError, match="no argument 'prefrence'; did you mean 'preference'"):
        controller.route("x", prefrence="1,0,0")


def test_attempts_can_be_recorded_from_an_event_loop(controller: MetaController) -> None:
    async def work() -> int:
        decision = await controller.aroute("Hi", user="anna")
        return await controller.aattempt(decision.id, cost_usd=0.5)

    asyncio.run(work())
    assert [attempt.cost_usd for attempt in attempts(controller)] == [0.5]


def test_a_router_that_blocks_does_not_block_the_event_loop() -> None:
    async def work(controller: MetaController) -> str:
        task = asyncio.create_task(controller.aroute("Hi"))
        while not Blocking.began.is_set():
            await asyncio.sleep(0.001)
        Blocking.ended.set()  # the score waits for the event loop here
        return (await task).candidate

    with build("blocking") as controller:
        assert asyncio.run(work(controller)) == "small"


def test_a_router_with_only_ascore_works_from_route_and_its_unknown_propensity_is_nan() -> None:
    with build("asking") as controller:
        decision = controller.route("Hi")
        assert decision.candidate == "large"
        assert math.isnan(decision.propensity)
        assert math.isnan(controller.store.record(decision.id).decision.propensity)

        async def inside() -> str:
            return controller.route("Hi").candidate

        assert asyncio.run(inside()) == "large"


def test_waits_and_requests_in_flight_reach_the_router() -> None:
    Seeing.waits.clear()
    Seeing.flights.clear()
    with build("seeing") as controller:
        controller.route("Hi", state=PoolState(wait_ms={"small": 50.0}, in_flight={"large": 3}))
        controller.route("Hi", wait_ms={"large": 20.0})
        decision = controller.route("Hi", state=PoolState(unavailable=["small"]), unavailable=["small"])
        assert decision.candidate == "large"
    assert Seeing.waits == [[[50.0, 0.0]], [[0.0, 20.0]], [[0.0, 0.0]]]
    assert Seeing.flights == [[[0.0, 3.0]], None, None]


def test_a_budget_never_lets_an_unknown_price_pass() -> None:
    with build("first", Pool([ModelSpec("unpriced", "?"), ModelSpec("cheap", "?", prices=Prices(0.1, 0.1))])) as controller:
        assert controller.route("Hi", budget_usd=1.0).candidate == "cheap"


def test_a_query_carries_its_turns_tenant_and_episode(controller: MetaController) -> None:
    query = Query("And backwards?", turns=[Turn("user", "Sort a list"), Turn("assistant", "sorted(x)", model="small", rating=1.0)])
    decision = controller.route(query, tenant="acme", user="anna", episode="task-1")
    record = controller.store.record(decision.id)
    assert (record.query.tenant, record.query.user, record.decision.episode) == ("acme", "anna", "task-1")
    assert record.query.prompt_tokens in (None, 9)  # 34 characters in all


def test_the_same_request_again_gets_its_decision_whatever_the_pool_is_now(controller: MetaController) -> None:
    first = controller.route("Hi", decision_id="d")
    down = {"decision_id": "d", "unavailable": ["small", "large"]}
    assert controller.route("Hi", **down) == first
    assert asyncio.run(controller.aroute("Hi", **down)) == first
    assert controller.route_explained("Hi", **down).record.decision.id == "d"
    with pytest.raises(StoreError, match="'d' is in the log with other content; give the new request another id"):
        controller.route("Bye", decision_id="d")
    with pytest.raises(StoreError, match="other content"):
        controller.route("Hi", budget_usd=1.0, decision_id="d")
    with pytest.raises(StoreError, match="other content"):
        controller.route("Hi", quality_floor=0.0, decision_id="d")
    kept = controller.route("Hi", quality_floor=0.5, decision_id="floor")
    assert controller.store.record("floor").quality_floor == 0.5
    assert controller.route("Hi", quality_floor=0.5, decision_id="floor") == kept
    with pytest.raises(StoreError, match="other content"):
        controller.route("Hi", decision_id="floor")
    assert controller.route_batch(["Hi"], quality_floor=0.5, ids=["floor"]) == [kept]


def test_an_async_router_is_not_asked_again_for_a_known_decision() -> None:
    with build("asking") as controller:
        first = controller.route("Hi", decision_id="d")
        controller.router.ascore = None  # type: ignore[method-assign, assignment]  # would fail if it were called
        assert asyncio.run(controller.aroute("Hi", decision_id="d")).candidate == first.candidate


@pytest.mark.parametrize("router", ["first", "asking"])
def test_the_only_allowed_candidate_is_chosen_although_the_router_fails(router: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Any) -> None:
        raise KeyError("prices")

    with build(router) as controller:
        setattr(controller.router, "ascore" if router == "asking" else "score", fail)
        only = {"unavailable": ["small"], "quality_floor": 0.9}
        for decision in (controller.route("Hi", **only), asyncio.run(controller.aroute("Hi", **only))):
            assert (decision.candidate, decision.router, decision.propensity) == ("large", "", 1.0)
        failed = f"router {router!r} failed: KeyError: 'prices'"
        assert [record.message for record in caplog.records] == [f"the only allowed candidate was chosen without the router: {failed}"] * 2
        for route in (controller.route, lambda text: asyncio.run(controller.aroute(text))):
            with pytest.raises(PluginError, match=failed):
                route("Hi")


def test_a_repeated_decision_is_announced_once() -> None:
    class Listener:
        @hookimpl
        def aamc_decided(self, decision: Any) -> None:
            heard.append(decision.id)

    heard: list[str] = []
    plugins = Plugins({"core": builtin, "parts": Parts(), "listener": Listener()}, discover=False)
    with MetaController.build(router="first", pool=POOL, plugins=plugins) as controller:
        for _ in range(2):
            controller.route("Hi", decision_id="d")
            controller.route_batch(["Hi", "Hello"], ids=["d", "e"])
    assert heard == ["d", "e"]


def test_a_negative_budget_is_refused(controller: MetaController) -> None:
    with pytest.raises(DataError, match="budget_usd must be a number of at least 0, in USD, not -1"):
        controller.route("Hi", budget_usd=-1)


def test_a_closed_controller_neither_scores_nor_explains() -> None:
    controller = build("seeing")
    name = controller.route("Hi").id
    controller.close()
    Seeing.waits.clear()
    for work in (
        lambda: controller.route("Hi"),
        lambda: controller.route_batch(["Hi"]),
        lambda: controller.explain(name),
        lambda: controller.complete("Hi"),
    ):
        with pytest.raises(StoreError, match="the controller is closed"):
            work()
    assert not Seeing.waits


def test_a_router_that_fails_while_closing_keeps_no_store_open(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(First):
        def close(self) -> None:
            raise RuntimeError("no")

    class Kept:
        closed = False

        def close(self) -> None:
            self.closed = True

    with build("first") as controller:
        parts = attrs.evolve(controller._decider._components, router=Failing(controller.router.config, controller.router.services), store=Kept())
    MetaController(parts).close()
    assert parts.store.closed
    assert "while closing: router 'first' failed: RuntimeError: no" in caplog.text


def test_a_store_is_closed_if_its_router_cannot_be_served() -> None:
    class Broken(OnlineRouter):
        def score(self, request: Any) -> Scores:
            raise AssertionError

        def learn(self, experience: Any) -> None: ...

        def attach(self, store: Any, to_log_user: Any) -> None:
            raise ConfigError("no")

    class Kept:
        closed = False

        def close(self) -> None:
            self.closed = True

    with build("first") as controller:
        parts = attrs.evolve(controller._decider._components, router=Broken(controller.router.config, controller.router.services), store=Kept())
    with pytest.raises(ConfigError, match="no"):
        MetaController(parts)
    assert parts.store.closed


def test_figures_of_a_revision_that_differ_are_told(controller: MetaController) -> None:
    name = controller.route("Hi").id
    controller.feedback(name, quality=1.0, cost_usd=0.1)
    with pytest.raises(StoreError, match=r"the figures of feedback .* leave them out, or record another call with attempt"):
        controller.feedback(name, quality=0.5, revision=1, cost_usd=0.2)
    assert controller.feedback(name, quality=0.5, revision=1)
    with pytest.raises(StoreError, match="leave n out to take the next number"):
        controller.attempt(name, n=0, cost_usd=0.3)


def test_the_recorded_utilities_are_the_routers(controller: MetaController) -> None:
    decision = controller.route("Hi")
    assert dict(controller.store.record(decision.id).decision.utilities) == {"small": 0.0, "large": -1.0}
    assert dict(controller.route("Hi", unavailable=["small"]).utilities) == {"large": -1.0}


def test_an_untrained_router_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"router 'learned' must be trained first; .* allow_untrained=True"):
        build("learned")
    command = 'aamc run --router learned --set router.epochs=3 --set \'router.inner={"name": "x"}\''
    with pytest.raises(ConfigError, match=re.escape(f"train it with: {command}; then pass --run RUN")):
        build({"name": "learned", "epochs": 3, "inner": {"name": "x"}})
    with build("learned", allow_untrained=True) as controller:
        assert controller.route("Hi").candidate == "small"


def test_a_router_that_cannot_score_without_an_estimator_is_refused_without_one() -> None:
    with pytest.raises(ConfigError, match=r"router 'reader' needs an estimator, .* aamc run --router reader --estimator tce"):
        build("reader")


def _in_child(controller: MetaController, results: Any) -> None:
    found = []
    for work in (
        lambda: controller.route("Hi"),
        lambda: controller.feedback("d", quality=1.0),
        lambda: controller.attempt("d", cost_usd=1.0),
        lambda: controller.explain("d"),
        lambda: controller.complete("Hi"),
    ):
        try:
            work()
        except Exception as error:
            found.append(type(error).__name__)
    controller.close()  # does nothing, and does not hang
    results.put(found)


def test_a_forked_child_gets_an_error_and_never_hangs(controller: MetaController) -> None:
    controller.complete("Hi")  # starts the event loop's thread, which the child lacks
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(controller, results))
    child.start()
    assert results.get(timeout=30) == [ForkedError.__name__] * 5
    child.join(30)
    assert child.exitcode == 0
    assert controller.route("Still here").candidate == "small"
    assert os.getpid() != child.pid


def test_complete_routes_calls_and_records_the_attempt(controller: MetaController) -> None:
    answer = controller.complete("What is 6 x 7?", unavailable=["small"])
    assert (answer.text, answer.candidate) == ("42", "large")
    (attempt,) = attempts(controller)
    assert (attempt.decision_id, attempt.candidate, attempt.status, attempt.cost_source) == (answer.decision_id, "large", "ok", "priced")
    assert attempt.cost_usd == pytest.approx((4 * 10 + 1 * 20) / 1e6) == answer.cost_usd
    assert asyncio.run(controller.acomplete("Hello")).text == "Hello"


def test_complete_falls_back_to_the_next_choice_and_logs_every_attempt() -> None:
    pool = Pool(
        [ModelSpec("small", "?", endpoint={"provider": "echo", "error": "overloaded"}), ModelSpec("large", "?", endpoint={"provider": "echo"})]
    )
    with build("first", pool) as controller:
        answer = controller.complete("Hi")
        assert (answer.candidate, math.isnan(answer.cost_usd)) == ("large", True)
        assert [(attempt.candidate, attempt.status) for attempt in attempts(controller)] == [("small", "error"), ("large", "ok")]


@pytest.mark.parametrize("streamed", [False, True])
def test_complete_falls_back_from_a_candidate_whose_provider_cannot_be_made(streamed: bool) -> None:
    on_text, why = (lambda _: None) if streamed else None, "no provider is named 'none-such'"
    broken = ModelSpec("small", "?", endpoint={"provider": "none-such"})
    with build("first", Pool([broken, ModelSpec("large", "?", endpoint={"provider": "echo"})])) as controller:
        assert controller.complete("Hi", on_text=on_text).candidate == "large"
        failed, answered = attempts(controller)
        assert (failed.candidate, failed.status, why in str(failed.error), answered.candidate) == ("small", "error", True, "large")
    with build("first", Pool([broken])) as controller:
        with pytest.raises(ProviderError, match=f"no candidate answered: calling 'small' failed: .*{why}") as found:
            controller.complete("Hi", on_text=on_text)
        assert found.value.public == "no candidate answered: calling 'small' failed"


def test_complete_gives_the_text_as_it_comes_of_the_candidate_that_answers() -> None:
    pool = Pool(
        [ModelSpec("small", "?", endpoint={"provider": "echo", "error": "overloaded"}), ModelSpec("large", "?", endpoint={"provider": "echo"})]
    )
    came: list[str] = []
    with build("first", pool) as controller:
        answer = controller.complete("Hi there", on_text=came.append)
        assert (answer.candidate, answer.text, "".join(came)) == ("large", "Hi there", "Hi there")
        assert [(attempt.candidate, attempt.status) for attempt in attempts(controller)] == [("small", "error"), ("large", "ok")]


def test_acomplete_gives_the_text_as_it_comes_on_the_callers_event_loop(controller: MetaController) -> None:
    async def ask() -> tuple[Completion, list[str]]:
        came, loop = list[str](), asyncio.get_running_loop()

        def show(text: str) -> None:
            assert asyncio.get_running_loop() is loop
            came.append(text)

        return await controller.acomplete("Hi there", on_text=show), came

    answer, came = asyncio.run(ask())
    assert "".join(came) == answer.text == "Hi there"
    assert len(came) > 1


def test_a_function_that_gets_the_text_may_complete_another_request(controller: MetaController) -> None:
    others: list[str] = []
    controller.complete("Hi", on_text=lambda _: others.append(controller.complete("you").text))
    assert set(others) == {"you"}


def test_many_functions_that_get_a_text_may_complete_other_requests_at_once(controller: MetaController) -> None:
    count = 40  # more than the threads for decisions
    all_stream = threading.Barrier(count)

    def show(text: str) -> None:
        all_stream.wait(60)
        assert controller.complete(text).text == text

    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(lambda _: controller.complete("Hi", on_text=show).text, range(count)))
    assert answers == ["Hi"] * count


def test_a_function_that_gets_the_text_cannot_close_the_controller_that_waits_for_it(controller: MetaController) -> None:
    with pytest.raises(StoreError, match="on_text must not close the controller, which would wait for it; close it after complete has returned"):
        controller.complete("Hi", on_text=lambda _: controller.close())
    assert controller.complete("Hi").text == "Hi"
    with build("first") as other:
        assert controller.complete("Hi", on_text=lambda _: other.close()).text == "Hi"


def test_what_a_function_that_gets_the_text_raises_reaches_the_caller_and_ends_the_call(controller: MetaController) -> None:
    def refuse(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="Hi"):
        controller.complete("Hi", on_text=refuse)
    (attempt,) = attempts(controller)
    assert attempt.status == "cancelled"


def test_tool_calls_do_not_come_piece_by_piece(controller: MetaController) -> None:
    with pytest.raises(DataError, match="leave on_text out, or the tools"):
        controller.complete("Hi", options={"tools": [{"type": "function"}]}, on_text=print)


def test_complete_says_so_when_every_candidate_fails_or_none_can_be_called() -> None:
    broken = Pool([ModelSpec("small", "?", endpoint={"provider": "echo", "error": "overloaded"})])
    with build("first", broken) as controller, pytest.raises(ProviderError, match="no candidate answered: calling 'small' failed: overloaded"):
        controller.complete("Hi")
    with build("first", Pool([ModelSpec("small", "?")])) as controller, pytest.raises(PoolError, match="add endpoints to the pool file"):
        controller.complete("Hi")
    half = Pool([ModelSpec("deaf", "?"), ModelSpec("large", "?", endpoint={"provider": "echo"})])
    with build("first", half) as controller:
        assert controller.complete("Hi").candidate == "large"


def test_calls_under_way_make_later_requests_wait() -> None:
    Seeing.waits.clear()

    async def work(controller: MetaController) -> None:
        first = asyncio.create_task(controller.acomplete("Hi"))
        await asyncio.to_thread(Signalling.began.wait, 60)
        second = asyncio.create_task(controller.acomplete("Hi"))
        while len(Seeing.waits) < 2:
            await asyncio.sleep(0.01)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)

    with build("seeing", slow_pool(60_000.0)) as controller:
        asyncio.run(asyncio.wait_for(work(controller), 60))
    assert Seeing.waits == [[[0.0]], [[200.0]]]


def test_turns_are_sent_along() -> None:
    with build("first") as controller:
        answer = controller.complete(Query("And now?", turns=[Turn("user", "x" * 36)]))
    assert answer.usage.prompt_tokens == 9 + 2


def test_closing_waits_for_calls_and_logs_them(tmp_path: Path) -> None:
    slow = slow_pool(500.0)
    controller = build("first", slow, store=f"sqlite:{tmp_path}/log.db")
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.append(controller.complete("Hi").text))
    caller.start()
    assert Signalling.began.wait(60)
    controller.close()
    caller.join()
    assert answers == ["Hi"]
    with build("first", slow, store=f"sqlite:{tmp_path}/log.db") as again:
        assert [attempt.status for attempt in attempts(again)] == ["ok"]


TELLS_CANCELLATIONS = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell whether a task is being cancelled")


class Misbehaving(Echo):
    """Ends or answers as no provider should, by the candidate's name."""

    async def complete(self, candidate: Any, messages: Any, **options: Any) -> Any:
        if candidate.name == "exits":
            raise SystemExit(4)
        if candidate.name == "cancels":
            raise asyncio.CancelledError
        if candidate.name == "usage":
            return Completion(message={}, usage=None)  # type: ignore[arg-type]  # on purpose
        return Completion(message={}, cost_usd=-1.0) if candidate.name == "refund" else {"none": None, "text": "hello"}[candidate.name]


class Crashing(First):
    """Fails, or returns no scores, by the query's text."""

    def score(self, request: Any) -> Any:
        if request.queries[0].text == "fail":
            raise RuntimeError("boom")
        if request.queries[0].text == "exit":
            raise SystemExit(4)
        if request.queries[0].text == "cancel":
            raise asyncio.CancelledError
        if request.queries[0].text == "write":
            request.expected.cost_usd *= 2


class CrashingLater(Asking):
    async def ascore(self, request: Any) -> Any:
        return Crashing.score(self, request)  # type: ignore[arg-type]  # it uses no state


@pytest.mark.parametrize("name", ["exits", "none", "text", "usage", "refund", pytest.param("cancels", marks=TELLS_CANCELLATIONS)])
def test_a_provider_that_misbehaves_is_a_failed_attempt_and_the_next_candidate_answers(name: str) -> None:
    class Providers:
        @hookimpl
        def aamc_providers(self) -> list[Component]:
            return [Component("misbehaving", f"{__name__}:Misbehaving", "Misbehaves.")]

    pool = Pool([ModelSpec(name, endpoint={"provider": "misbehaving"}), ModelSpec("echo", endpoint={"provider": "echo"})])
    plugins = Plugins({"core": builtin, "parts": Parts(), "providers": Providers()}, discover=False)
    with MetaController.build(router="first", pool=pool, plugins=plugins) as controller:
        assert controller.complete("Hi").candidate == "echo"
        assert [(attempt.candidate, attempt.status) for attempt in attempts(controller)] == [(name, "error"), ("echo", "ok")]


@pytest.mark.parametrize("router", ["crashing", "crashinglater"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fail", "RuntimeError: boom"),
        ("exit", "SystemExit: 4"),
        ("nothing", "must return aamc_sdk.Scores, not None"),
        ("write", "read-only: copy one before you change it"),
    ],
)
def test_a_router_that_fails_is_named(router: str, text: str, found: str) -> None:
    with build(router) as controller:
        with pytest.raises(PluginError, match=f"router '{router}' failed: .*{found}"):
            controller.route(text)
        with pytest.raises(PluginError, match=f"router '{router}' failed: .*{found}"):
            asyncio.run(controller.aroute(text))


@TELLS_CANCELLATIONS
def test_a_router_that_raises_cancelled_error_by_itself_has_failed() -> None:
    with build("crashinglater") as controller:
        with pytest.raises(PluginError, match="router 'crashinglater' failed: RuntimeError: CancelledError, although nothing was cancelled"):
            controller.route("cancel")
        with pytest.raises(PluginError, match="router 'crashinglater' failed: RuntimeError: CancelledError, although nothing was cancelled"):
            asyncio.run(controller.aroute("cancel"))


def test_options_must_be_a_mapping(controller: MetaController) -> None:
    with pytest.raises(DataError, match=r"options must be a mapping such as .*, not 3"):
        controller.complete("Hi", options=3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(DataError, match="options must have names of parameters as keys, not 1"):
        controller.complete("Hi", options={1: 2})  # type: ignore[dict-item]  # on purpose
    for name in ("messages", "model", "candidate", "decision_id"):
        with pytest.raises(DataError, match=f"options must not have '{name}'"):
            controller.complete("Hi", options={name: "large"})
    assert controller.store.experience().position == 0
    with pytest.raises(DataError, match="on_text must be a function of a text, not 3"):
        controller.complete("Hi", on_text=3)  # type: ignore[arg-type]  # on purpose


def test_a_coroutine_function_cannot_get_the_text_since_nothing_would_await_it(controller: MetaController) -> None:
    async def show(text: str) -> None:
        pytest.fail(text)

    for function in (show, partial(show)):
        with pytest.raises(DataError, match="on_text must be a plain function of a text, not a coroutine function, which nothing would await"):
            controller.complete("Hi", on_text=function)
        with pytest.raises(DataError, match="on_text must be a plain function"):
            asyncio.run(controller.acomplete("Hi", on_text=function))
    assert controller.store.experience().position == 0


def test_a_state_must_be_one_for_a_completion_too(tmp_path: Path) -> None:
    pool = Pool((*POOL, ModelSpec("without-endpoint")))
    with build("first", pool=pool) as controller, pytest.raises(DataError, match=r"state must be an aamc_sdk\.PoolState, not {'in_flight'"):
        controller.complete("Hi", state={"in_flight": {"small": 1}})  # type: ignore[arg-type]  # on purpose


def test_a_stream_of_the_echo_is_its_text(controller: MetaController) -> None:
    async def work() -> str:
        echo = Echo(Echo.Config(), controller.router.services)
        return "".join([chunk.content or "" async for chunk in echo.stream(ModelSpec("small"), [{"role": "user", "content": "hello  world"}])])

    assert asyncio.run(work()) == "hello  world"


async def cancel_completion(controller: MetaController, began: threading.Event) -> None:
    """Start a completion, and cancel it when an event is set."""
    task = asyncio.create_task(controller.acomplete("Hi"))
    await asyncio.to_thread(began.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_completion_that_is_cancelled_while_it_routes_cancels_the_router() -> None:
    async def work(controller: MetaController) -> None:
        await cancel_completion(controller, Waiting.began)
        assert await asyncio.to_thread(Waiting.cancelled.wait, 20)

    with build("waiting", slow_pool(1.0)) as controller:
        asyncio.run(asyncio.wait_for(work(controller), 60))
        assert attempts(controller) == []


def test_a_cancelled_call_is_recorded() -> None:
    async def work(controller: MetaController) -> None:
        await cancel_completion(controller, Signalling.began)
        while not attempts(controller):
            await asyncio.sleep(0.01)

    with build("first", slow_pool(60_000.0)) as controller:
        asyncio.run(asyncio.wait_for(work(controller), 60))
        assert [attempt.status for attempt in attempts(controller)] == ["cancelled"]


def test_an_attempt_is_recorded_though_its_caller_is_cancelled_before_a_thread_is_free(controller: MetaController) -> None:
    free = threading.Event()

    async def work() -> None:
        decision = await controller.aroute("Hi")
        busy = [asyncio.create_task(controller._threads.run(free.wait, 60)) for _ in range(40)]
        await asyncio.sleep(0)
        recording = asyncio.create_task(controller.aattempt(decision.id, cost_usd=1.0))
        await asyncio.sleep(0.05)
        recording.cancel()
        await asyncio.wait([recording])
        free.set()
        await asyncio.gather(*busy)

    asyncio.run(work())
    while not attempts(controller):
        time.sleep(0.01)
    assert [attempt.cost_usd for attempt in attempts(controller)] == [1.0]


def test_a_second_thread_that_closes_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = build("first")
    began, proceed, ended = threading.Event(), threading.Event(), list[str]()

    def close_router() -> None:
        if not began.is_set():
            began.set()
            proceed.wait(60)
            ended.append("router")

    monkeypatch.setattr(controller.router, "close", close_router)
    monkeypatch.setattr(controller._events, "close", lambda: ended.append("events"))
    closers = [threading.Thread(target=controller.close) for _ in range(2)]
    closers[0].start()
    assert began.wait(60)
    closers[1].start()
    closers[1].join(0.1)
    proceed.set()
    for closer in closers:
        closer.join(60)
    assert ended[0] == "router"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let an interrupt raise KeyboardInterrupt, also in a background job of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows raises no KeyboardInterrupt in a wait")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_is_cancelled_and_recorded() -> None:
    def interrupt() -> None:
        Signalling.began.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    with build("first", slow_pool(60_000.0)) as controller:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            controller.complete("Hi")
        while not attempts(controller):
            assert time.monotonic() - began < 30
            time.sleep(0.01)
        assert [attempt.status for attempt in attempts(controller)] == ["cancelled"]
    assert time.monotonic() - began < 30


def test_feedback_on_an_unknown_decision_is_kept_and_named_in_a_warning(controller: MetaController, caplog: pytest.LogCaptureFixture) -> None:
    assert controller.feedback("typo-id", quality=1.0)
    assert "the log has no decision 'typo-id'" in caplog.text
    assert controller.store.health()["pending_feedback"] == 1
    known = controller.route("Hi").id
    caplog.clear()
    controller.feedback(known, quality=1.0)
    assert not caplog.text


@pytest.mark.parametrize("fields", [{"user": 0}, {"session": 0}, {"tenant": False}, {"needs": 0}, {"needs": ""}, {"unavailable": 0}, {"wait_ms": 0}])
def test_an_argument_that_is_false_is_not_taken_for_none(fields: dict[str, Any], controller: MetaController) -> None:
    with pytest.raises(DataError):
        controller.route("Hi", **fields)


def test_a_batch_of_feedback_is_a_list(controller: MetaController) -> None:
    with pytest.raises(DataError, match=r"a batch of feedback must hold aamc_sdk.Feedback objects, not 5"):
        controller.feedback_batch(5)  # type: ignore[arg-type]  # on purpose


def test_counts_may_be_numpys_integers(controller: MetaController) -> None:
    query = Query("Hi", prompt_tokens=np.int64(3), output_tokens=np.int32(4))
    decision = controller.route(query)
    assert controller.attempt(decision.id, n=np.int64(5), output_tokens=np.uint8(9)) == 5
    assert controller.feedback(decision.id, quality=1.0, revision=np.int64(1))
    assert controller.store.experience().attempts[0].output_tokens == 9
    spec = ModelSpec("a", context_window=np.int64(7), endpoint={"provider": "echo", "concurrency": np.int64(2)})
    assert spec.context_window == 7
    assert Budget(steps=np.int64(3)).steps == 3
    with build("first", seed=np.int64(3)) as other:
        assert other.seed == 3


@pytest.mark.parametrize("window", [0, 7.5, "7", True])
def test_a_context_window_is_a_whole_number(window: Any) -> None:
    with pytest.raises(PoolError, match="must be a whole number of at least 1 token"):
        ModelSpec("a", context_window=window)


def test_a_wrong_option_of_an_endpoint_is_an_error_when_the_controller_is_built() -> None:
    pool = Pool([ModelSpec("a"), ModelSpec("b", endpoint={"provider": "echo", "replly": "42"})])
    with pytest.raises(ConfigError, match=r"the endpoint of candidate 'b' \(echo\) has no option 'replly'; did you mean 'reply'"):
        build("first", pool)


def test_an_unknown_provider_is_told_when_the_controller_is_built(caplog: pytest.LogCaptureFixture) -> None:
    with build("first", Pool([ModelSpec("a", endpoint={"provider": "ehco"})])) as controller:
        assert controller.route("Hi").candidate == "a"
    assert "candidate 'a' of the pool cannot be called: no provider is named 'ehco'; did you mean 'echo'?" in caplog.text


def test_a_batch_that_is_sent_again_returns_its_decisions_whatever_the_pool_is_now(controller: MetaController) -> None:
    first = controller.route_batch(["Hi", "Ho"], [(1, 0, 0), (0, 1, 0)], ids=["a", "b"])
    for preference in ([(1, 0, 0), (0, 1, 0)], np.array([(1.0, 0, 0), (0, 1, 0)])):
        assert controller.route_batch(["Hi", "Ho"], preference, ids=["a", "b"], unavailable=["small", "large"]) == first
    with pytest.raises(NoCandidateError):
        controller.route_batch(["Hi", "Hu"], [(1, 0, 0), (0, 1, 0)], ids=["a", "b"], unavailable=["small", "large"])
    with pytest.raises(StoreError, match="decision 'b' is in the log with other content"):
        controller.route_batch(["Hi", "Hu"], [(1, 0, 0), (0, 1, 0)], ids=["a", "b"])


class ReadsGates(ConfigFormat):
    """Returns the settings that its file names."""

    def recognizes(self, content: Mapping[str, Any]) -> bool:
        return "gate" in content

    def serving(self, content: Mapping[str, Any], path: Path, decision: str | None = None) -> Any:
        return {
            "none": lambda: None,
            "plain": lambda: {"router": "first"},
            "misspelt": lambda: ForeignSettings({"routr": "first"}),
            "listed": lambda: ForeignSettings({"router": "first"}, ["small"]),  # type: ignore[arg-type]  # on purpose
        }[content["gate"]]()

    def experiment(self, *arguments: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("gate", "found"),
    [
        ("none", "config format 'gates': serving must return aamc_sdk.interfaces.ForeignSettings, not None"),
        ("plain", "config format 'gates': serving must return aamc_sdk.interfaces.ForeignSettings, not {'router': 'first'}"),
        ("misspelt", "config format 'gates': serving returned the unknown key 'routr'; did you mean 'router'? (a controller has: device, "),
        ("listed", "config format 'gates' failed: TypeError: the pool of settings must be aamc_sdk.Pool or None, not ['small']"),
    ],
)
def test_a_configuration_format_that_returns_something_else_is_named(gate: str, found: str, tmp_path: Path) -> None:
    class Formats:
        @hookimpl
        def aamc_config_formats(self) -> list[Component]:
            return [Component("gates", f"{__name__}:ReadsGates", "Files of a gate.")]

    (tmp_path / "gate.yaml").write_text(f"gate: {gate}\n")
    plugins = Plugins({"core": builtin, "parts": Parts(), "formats": Formats()}, discover=False)
    with pytest.raises(PluginError, match=f"^{re.escape(found)}"):
        MetaController.from_file(tmp_path / "gate.yaml", plugins=plugins)


class Unsaved(OnlineRouter):
    raises: Exception = RuntimeError("no disk")

    def score(self, request: Any) -> Scores:
        return Scores(np.zeros(request.mask.shape))

    def learn(self, experience: Any) -> None: ...

    def save(self, folder: Path) -> None:
        raise self.raises


class Sticky(Router):
    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self.inner = services.make("router", "unsaved", {})

    def score(self, request: Any) -> Scores:
        return Scores(np.zeros(request.mask.shape))


def test_a_router_that_keeps_the_one_that_it_wraps_from_learning_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    class Routers:
        @hookimpl
        def aamc_routers(self) -> list[Component]:
            return [Component("unsaved", f"{__name__}:Unsaved", ""), Component("sticky", f"{__name__}:Sticky", "")]

    with MetaController.build(router="sticky", pool=POOL, plugins=Plugins({"core": builtin, "routers": Routers()}, discover=False)):
        (warning,) = caplog.messages
    assert warning.startswith("router 'sticky' is not an OnlineRouter, so router 'unsaved', which it wraps, learns nothing from feedback; a wrapper")


@pytest.mark.parametrize(
    ("raises", "message"),
    [
        (RuntimeError("no disk"), "router 'unsaved' cannot be saved: RuntimeError: no disk"),
        (OSError("no disk"), "router 'unsaved' cannot be saved: no disk"),
        (OSError(28, "No space left on device", "x"), "[Errno 28] router 'unsaved' cannot be saved: No space left on device: 'x'"),
    ],
)
def test_an_online_router_that_cannot_be_saved_is_named(raises: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unsaved, "raises", raises)

    class Routers:
        @hookimpl
        def aamc_routers(self) -> list[Component]:
            return [Component("unsaved", f"{__name__}:Unsaved", "Cannot be saved.")]

    plugins = Plugins({"core": builtin, "routers": Routers()}, discover=False)
    with pytest.raises(OSError if isinstance(raises, OSError) else PluginError, match=f"^{re.escape(message)}$"):
        MetaController.build(router="unsaved", pool=POOL, plugins=plugins)
