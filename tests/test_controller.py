"""The controller that applications embed: routing, feedback, events, threads and asyncio."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings

from aamc_sdk import MetaController, builtin
from aamc_sdk.errors import (
    AamcError,
    CheckpointError,
    ConfigError,
    DataError,
    NoCandidateError,
    PluginError,
    PoolError,
    PreferenceError,
    StoreError,
    UnknownDecisionError,
)
from aamc_sdk.hookspecs import Component, hookimpl
from aamc_sdk.interfaces import AsyncRouter, Estimator, OnlineRouter, Router
from aamc_sdk.log import open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward
from aamc_sdk.serving import ServedComponents, make_services
from aamc_sdk.serving.pseudonyms import pseudonymizer
from aamc_sdk.storage import read_json, save_component, write_json
from aamc_sdk.types import (
    Decision,
    Estimates,
    Feedback,
    Floats,
    Latency,
    ModelSpec,
    Outcomes,
    Pool,
    Preference,
    Prices,
    Query,
    Record,
    RoutingRequest,
    Scores,
    Turn,
)

POOL = Pool(
    (
        ModelSpec("small", prices=Prices(0.1, 0.1), latency=Latency(10, 90)),
        ModelSpec("large", abilities={"tools"}, prices=Prices(5, 15), latency=Latency(50, 950), context_window=10_000),
    )
)


class Length(Estimator):
    """Estimates long texts as hard; only the large model is good at these."""

    def estimate(self, queries: Sequence[Query]) -> Estimates:
        complexity = np.array([min(len(query.text) / 100, 1.0) for query in queries])
        return Estimates(complexity, np.ones((len(queries), 1)), ("any",), np.zeros(len(queries)), complexity[:, None])

    def quality(self, estimates: Estimates, pool: Pool) -> Floats:
        return np.column_stack((1 - estimates.complexity, np.full(len(estimates), 0.9)))


class Greedy(Router):
    """Takes the maximum expected reward."""

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(self.services.reward.scalar(request.expected, request.preferences))


class Coin(Router):
    """Draws small with probability one quarter; reports the cost of deciding."""

    samples = True

    def score(self, request: RoutingRequest) -> Scores:
        probabilities = np.tile([0.25, 0.75], (len(request), 1))
        return Scores(probabilities, probabilities, spent_usd=0.002, notes=[{"row": row} for row in range(len(request))])


class Counting(Coin, OnlineRouter):
    """Learns the number of judgements, in order; fails on quality 0.5."""

    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self.learned: list[tuple[str, float | None]] = []

    def learn(self, experience: Any) -> None:
        if any(feedback.quality == 0.5 for feedback in experience.feedback):
            raise RuntimeError("beyond me")
        self.learned += [(feedback.decision_id, feedback.quality) for feedback in experience.feedback]


class Charging(Counting):
    """Charges a budget for decisions: it must learn them as soon as they are in the log."""

    learns_attempts = True
    charged: int = 0

    def learn(self, experience: Any) -> None:
        self.charged += len(experience.decisions)


class Unattached(Counting):
    """Starts to write its state as it is attached, and cannot begin to learn."""

    closed = False

    def prepare_replay(self, *arguments: Any) -> Any:
        raise StoreError("the log cannot be read")

    def close(self) -> None:
        Unattached.closed = True


class Seer(Greedy):
    privileged = True


class Slow(Greedy, AsyncRouter):
    """Waits for network calls, and counts the parallel ones."""

    waiting = most = 0

    async def ascore(self, request: RoutingRequest) -> Scores:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0.5)
        self.waiting -= 1
        return Greedy.score(self, request)


class Patient(Slow):
    """Waits for network calls in ``score`` too."""

    score = AsyncRouter.score


class Eager(Greedy, AsyncRouter):
    """Waits for itself: ``score`` waits for the event loop that ``ascore`` runs on."""

    async def ascore(self, request: RoutingRequest) -> Scores:
        return AsyncRouter.score(self, request)


class Hearer:
    """An application's own plugin: offers the components above and receives events; fails on one decision."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.threads: set[str] = set()

    @hookimpl
    def aamc_routers(self) -> list[Component]:
        classes = {
            "greedy-by-reward": Greedy,
            "coin": Coin,
            "counting": Counting,
            "charging": Charging,
            "unattached": Unattached,
            "seer": Seer,
            "slow": Slow,
            "eager": Eager,
            "patient": Patient,
        }
        return [Component(name, f"{__name__}:{part.__name__}", "") for name, part in classes.items()]

    @hookimpl
    def aamc_estimators(self) -> list[Component]:
        return [Component("length", f"{__name__}:Length", "")]

    @hookimpl
    def aamc_decided(self, decision: Decision) -> None:
        if decision.id == "annoying":
            raise RuntimeError("not that one")
        self.threads.add(threading.current_thread().name)
        self.heard.append(("decided", decision.id))

    @hookimpl
    def aamc_learned(self, feedback: Feedback) -> None:
        self.heard.append(("learned", feedback.id))


def installed(hearer: Hearer | None = None) -> Plugins:
    return Plugins(extra={"core": builtin, "mine": hearer or Hearer()}, discover=False)


def build(router: str = "greedy-by-reward", hearer: Hearer | None = None, **options: Any) -> MetaController:
    plugins = installed(hearer)
    return MetaController.build(router=router, estimator="length", pool=POOL, plugins=plugins, **options)


@pytest.fixture
def controller() -> Iterator[MetaController]:
    with build() as made:
        yield made


def test_a_decision_follows_the_request_and_the_preference(controller: MetaController) -> None:
    assert controller.route("Hi").candidate == "small"
    assert controller.route("Long " * 40).candidate == "large"
    assert controller.route("Long " * 40, preference=(0, 1, 0)).candidate == "small"
    assert controller.route("Long " * 40, preference="0,0,1").candidate == "small"


def test_a_decision_says_how_it_was_made(controller: MetaController) -> None:
    decision = controller.route("Hi", preference=Preference(0.5, 0.25, 0.25))
    assert (decision.propensity, decision.router, decision.probabilities) == (1.0, "greedy-by-reward", {})
    assert decision.preference == Preference(0.5, 0.25, 0.25)
    assert controller.store.record(decision.id).decision == decision


def test_a_drawn_decision_has_its_probabilities_and_what_deciding_cost() -> None:
    with build("coin", seed=3) as controller:
        first, second = controller.route_batch(["one", "two"])
    assert first.probabilities == {"small": 0.25, "large": 0.75}
    assert first.propensity == first.probabilities[first.candidate]
    assert (first.notes, second.notes) == ({"row": 0, "spent_usd": 0.002}, {"row": 1, "spent_usd": 0.002})


def test_needs_and_the_like_leave_candidates_out(controller: MetaController) -> None:
    assert controller.route("Hi", needs={"tools"}).candidate == "large"
    assert controller.route("Hi", needs="tools").candidate == "large"
    assert controller.route(Query("Hi", needs={"tools"}), user="ann").candidate == "large"
    assert controller.route("Hi", unavailable=["small"]).candidate == "large"
    assert controller.route("Long " * 40, budget_usd=0.001).candidate == "small"
    record = controller.store.record(controller.route("Hi", unavailable=["small"], user="ann", session="s").id)
    assert (record.masked_why, record.query.user, record.query.session) == ({"small": "unavailable"}, "ann", "s")


def test_a_batch_has_one_preference_or_one_each(controller: MetaController) -> None:
    hard = "Long " * 40
    decisions = controller.route_batch([hard, Query(hard)], np.array([[1.0, 0, 0], [0, 1, 0]]))
    assert [decision.candidate for decision in decisions] == ["large", "small"]
    assert [decision.candidate for decision in controller.route_batch([hard, hard], (0, 1, 0))] == ["small", "small"]
    assert controller.route_batch([]) == []
    with pytest.raises(PreferenceError, match="3 requests need one preference or 3 preferences, not 2"):
        controller.route_batch([hard] * 3, np.ones((2, 3)))
    for ids in (["one"], "ij", {"i", "j"}, iter("ij")):
        with pytest.raises(DataError, match="ids must be a sequence of 2 ids, one for each request"):
            controller.route_batch([hard] * 2, ids=ids)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"query": 7}, AamcError, "text must be a string"),
        ({"preference": (1, -1, 0)}, PreferenceError, "at least 0"),
        ({"preference": (1, 1)}, PreferenceError, "three numbers"),
        ({"preference": 0.9}, PreferenceError, "three numbers"),
        ({"preference": (0, 0, 0)}, PreferenceError, "positive"),
        ({"needs": {"vision"}}, NoCandidateError, "small: lacks vision; large: lacks vision"),
        ({"unavailable": ["smal"]}, PoolError, "did you mean 'small'"),
        ({"budget_usd": 0.0}, NoCandidateError, "over budget"),
        ({"budget_usd": "1"}, DataError, "budget_usd must be a number of at least 0, in USD, not '1'"),
        ({"budget_usd": math.nan}, DataError, "budget_usd must be a number of at least 0, in USD, not nan"),
        ({"decision_id": ""}, DataError, "a decision's id must not be empty"),
        ({"decision_id": 5}, DataError, "a decision's id must be a string, not int"),
        ({"decision_id": "req\0one"}, DataError, "a decision's id must not contain a NUL character"),
        ({"decision_id": "\ud800"}, DataError, "a decision's id must be valid Unicode"),
        ({"user": "ann\0"}, DataError, "a query's user must not contain a NUL character"),
    ],
)
def test_a_request_that_cannot_be_decided_says_why(controller: MetaController, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        controller.route(**{"query": "Hi"} | arguments)
    assert controller.store.experience().position == 0


@pytest.mark.parametrize(("decision_id", "found"), [(None, "must be a string, not NoneType"), ("", "must not be empty")])
def test_what_is_no_id_is_refused_by_explain(controller: MetaController, decision_id: Any, found: str) -> None:
    with pytest.raises(DataError, match=f"a decision's id {found}"):
        controller.explain(decision_id)
    with pytest.raises(DataError, match=r"a decision's id must be a string, not Decision"):
        controller.explain(controller.route("Hi"))  # type: ignore[arg-type]


def test_a_router_that_knows_outcomes_in_advance_is_refused() -> None:
    with pytest.raises(ConfigError, match="'seer' must know outcomes in advance"):
        build("seer")


def test_feedback_is_logged_once_with_the_call_it_came_with(controller: MetaController) -> None:
    decision = controller.route("Hi")
    assert controller.feedback(decision.id, quality=1.0, cost_usd=0.0004, latency_ms=310.0)
    assert not controller.feedback(decision.id, quality=1.0, cost_usd=0.0004, latency_ms=310.0)
    assert controller.feedback(decision.id, over="large", source="judge")
    found = controller.store.experience()
    assert [(a.candidate, a.cost_usd, a.latency_ms) for a in found.attempts] == [("small", 0.0004, 310.0)]
    assert [(f.candidate, f.quality, f.over) for f in found.feedback] == [("small", 1.0, None), ("small", None, "large")]
    assert all(feedback.time > 0 for feedback in found.feedback)


def test_feedback_on_different_decisions_never_mixes_though_its_ids_be_the_same(controller: MetaController) -> None:
    for decision_id in ("k", "k/e"):
        controller.route("Hi", decision_id=decision_id)
    assert controller.feedback("k/e", quality=1.0, source="f")
    with pytest.raises(StoreError, match=r"'k/e/f' is in the log with other content, on another decision; give it another source or id"):
        controller.feedback("k", quality=0.0, source="e/f")
    assert controller.feedback("k", quality=0.0, source="e/f", id="k by e/f")
    assert [(found.decision_id, found.quality) for found in controller.store.experience().feedback] == [("k/e", 1.0), ("k", 0.0)]


def test_each_source_may_bring_figures_of_its_own(controller: MetaController) -> None:
    decision = controller.route("Hi")
    assert controller.feedback(decision.id, quality=1.0, cost_usd=0.0004)
    assert controller.feedback(decision.id, quality=0.5, latency_ms=310.0, source="judge")
    with pytest.raises(StoreError, match="other content"):
        controller.feedback(decision.id, quality=0.5, latency_ms=99.0, source="judge")
    found = controller.store.experience()
    assert [feedback.quality for feedback in found.feedback] == [1.0, 0.5]
    assert [(attempt.n, attempt.candidate) for attempt in found.attempts] == [(0, "small"), (1, "small")]
    assert (found.attempts[0].cost_usd, found.attempts[1].latency_ms) == (0.0004, 310.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quality": math.nan}, "from 0 to 1"),
        ({"quality": 2}, "from 0 to 1"),
        ({"quality": True}, "from 0 to 1"),
        ({}, "either a quality or"),
        ({"over": "small"}, "cannot beat itself"),
        ({"over": "small", "candidate": "small"}, "cannot beat itself"),
        ({"quality": 1, "candidate": "huge"}, "no candidate 'huge'"),
        ({"quality": 1, "cost_usd": -1.0}, r"cost_usd must be a number from 0 to 1e\+12, not -1.0; leave it out if it is unknown"),
        ({"quality": 1, "cost_usd": 10**100}, r"cost_usd must be a number from 0 to 1e\+12, not 10{79};"),
        ({"quality": 1, "latency_ms": math.nan}, "latency_ms must be a number, not nan; leave it out if it is unknown"),
        ({"quality": 1, "latency_ms": np.float32("nan")}, "latency_ms must be a number, not nan; leave it out if it is unknown"),
        ({"quality": 1, "latency_ms": "310"}, "latency_ms must be"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused_whole(controller: MetaController, fields: dict[str, Any], message: str) -> None:
    decision = controller.route("Hi")
    with pytest.raises(AamcError, match=message):
        controller.feedback(decision.id, **fields)
    assert controller.store.experience().position == 1


def test_feedback_for_a_decision_yet_to_come_waits(controller: MetaController) -> None:
    controller.feedback("later", quality=1.0, cost_usd=0.5)
    assert [feedback.decision_id for feedback in controller.store.pending()] == ["later"]
    controller.route("Hi", decision_id="later")
    assert (controller.store.experience().position, list(controller.store.pending())) == (3, [])


def test_a_decision_is_explained_from_memory_as_from_the_log(controller: MetaController, monkeypatch: pytest.MonkeyPatch) -> None:
    read = controller.store.record
    monkeypatch.setattr(controller.store, "record", None)
    found = controller.route_explained("Hi", (0.7, 0.2, 0.1), user="anna")
    assert found.record.query.user == "anna"
    monkeypatch.setattr(controller.store, "record", read)
    assert controller.explain(found.record.decision.id).to_dict() == found.to_dict()


def test_an_unknown_decision_cannot_be_explained(controller: MetaController) -> None:
    with pytest.raises(UnknownDecisionError, match="'nonsense'"):
        controller.explain("nonsense")


def draws(seed: int, threads: int) -> dict[str, str]:
    with build("coin", seed=seed) as controller, ThreadPoolExecutor(threads) as pool:
        decisions = list(pool.map(lambda n: controller.route("Hi", decision_id=f"id-{n}"), range(100)))
    return {decision.id: decision.candidate for decision in decisions}


def test_draws_follow_from_seed_and_id_whatever_the_threads() -> None:
    once = draws(0, 1)
    assert once == draws(0, 8)
    assert once != draws(1, 1)
    assert 10 < sum(candidate == "small" for candidate in once.values()) < 40


def test_an_id_is_taken_once(controller: MetaController) -> None:
    controller.route("Hi", decision_id="mine")
    with pytest.raises(StoreError, match=r"'mine'.*other content"):
        controller.route("Long " * 40, decision_id="mine")


def test_a_request_is_the_same_whatever_types_its_texts_and_ratings_have(controller: MetaController) -> None:
    def route(text: type[str], rating: float) -> Decision:
        query = Query(text("Hi"), user=text("ann"), needs=[text("tools")], turns=[Turn(text("assistant"), text("Ho"), text("small"), rating)])
        return controller.route(query, decision_id="mine")

    first = route(str, 1)
    assert route(str, 1.0) == first
    assert route(np.str_, np.float32(1)) == first


def test_many_threads_route_and_judge(tmp_path: Path) -> None:
    with build("coin", store=f"sqlite:{tmp_path / 'log.db'}") as controller:

        def work(n: int) -> None:
            for _ in range(5):
                controller.feedback(controller.route("Hi").id, quality=1.0, cost_usd=0.1)

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(work, range(32)))
        found = controller.store.experience()
    assert (len(found.decisions), len(found.attempts), len(found.feedback)) == (160, 160, 160)
    assert {decision.id for decision in found.decisions} == {feedback.decision_id for feedback in found.feedback}


def test_a_running_loop_goes_on_while_requests_are_decided(tmp_path: Path) -> None:
    async def work(controller: MetaController) -> list[Decision]:
        asynchronous = await asyncio.gather(*(controller.aroute("Hi", needs={"tools"}) for _ in range(100)))
        await asyncio.gather(*(controller.afeedback(decision.id, quality=1.0, cost_usd=0.1) for decision in asynchronous))
        synchronous = controller.route("Hi")
        return [*asynchronous, synchronous]

    with build("slow", store=f"sqlite:{tmp_path / 'log.db'}") as controller:
        decisions = asyncio.run(work(controller))
        assert isinstance(controller.router, Slow)
        assert controller.router.most > 10
        assert len(controller.store.experience().feedback) == 100
    assert [decision.candidate for decision in decisions] == ["large"] * 100 + ["small"]


def test_events_are_heard_in_order_off_the_requests_thread(caplog: pytest.LogCaptureFixture) -> None:
    hearer = Hearer()
    with build(hearer=hearer) as controller, caplog.at_level(logging.ERROR):
        controller.route("Hi", decision_id="annoying")
        controller.route("Hi", decision_id="d")
        controller.feedback("d", quality=1.0)
        controller.feedback("d", quality=1.0)
    assert hearer.heard == [("decided", "d"), ("learned", "d/explicit")]
    assert threading.current_thread().name not in hearer.threads
    assert "plugin mine failed on aamc_decided" in caplog.text


def test_a_tie_needs_the_other_candidate_and_none_means_not_given(controller: MetaController) -> None:
    decision = controller.route("Hi")
    with pytest.raises(DataError, match="tie needs over, the candidate that was as good"):
        controller.feedback(decision.id, quality=0.2, tie=True)
    assert controller.feedback(decision.id, quality=None, cost_usd=0.1)
    assert controller.store.outcomes().cost_usd.tolist() == [0.1]


def test_early_feedback_is_an_event_once_its_decision_is_in_the_log() -> None:
    hearer = Hearer()
    with build(hearer=hearer) as controller:
        for name in ("early", "mistyped"):
            controller.feedback(name, quality=1.0)
        controller.feedback("early", quality=0.0, source="judge")
        assert not hearer.heard
        controller.route("Hi", decision_id="early")
    assert hearer.heard == [("decided", "early"), ("learned", "early/explicit"), ("learned", "early/judge")]


def test_a_router_learns_in_log_order_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    hearer, again = Hearer(), Hearer()
    expected = [(f"d{n}", n / 4) for n in (0, 1, 3, 4)]
    with build("counting", hearer, store=f"sqlite:{tmp_path / 'log.db'}") as controller:
        for name, quality in expected:
            controller.feedback(controller.route("Hi", decision_id=name).id, quality=quality)
        assert learned(controller) == expected
    assert [event for event in hearer.heard if event[0] == "learned"] == [("learned", f"{name}/explicit") for name, _ in expected]
    with build("counting", again, store=f"sqlite:{tmp_path / 'log.db'}") as controller:
        assert learned(controller) == expected
        controller.feedback("d0", quality=1.0, source="judge")
        assert learned(controller) == [*expected, ("d0", 1.0)]
    assert again.heard == [("learned", "d0/judge")]  # what was learned before the restart is not told again


def learned(controller: MetaController) -> list[tuple[str, float | None]]:
    assert isinstance(controller.router, Counting)
    assert controller.learner is not None
    controller.learner.flush(60)
    return controller.router.learned


def test_a_router_that_fails_to_learn_goes_on_deciding(caplog: pytest.LogCaptureFixture) -> None:
    with build("counting") as controller:
        controller.feedback(controller.route("Hi").id, quality=1.0)
        assert len(learned(controller)) == 1
        controller.feedback(controller.route("Hi").id, quality=0.5)
        with pytest.raises(PluginError, match=r"^router 'counting' failed to learn, and has stopped at position \d.*beyond me"):
            learned(controller)
        controller.feedback(controller.route("Hi").id, quality=1.0)
        assert controller.learner is not None
        assert controller.learner.position < controller.store.experience().position == 6
    assert re.search(r"learning has stopped at position \d+ of the log: router '\S+' learns no further", caplog.text)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with two routers, as an experiment leaves it."""
    plugins = installed()
    settings = read_settings({"router": "greedy-by-reward", "estimator": "length", "preference": [0, 1, 0], "seed": 3})
    reward = LinearReward()
    reward.fit(Outcomes(None, np.array([[0.1, 5.0]]), np.array([[100.0, 1000.0]])))
    opened = RunFolder(tmp_path / "run")
    opened.begin(
        settings, POOL, reward, {"router": "greedy-by-reward", "goal": "comparison", "resolved": {"routers": {"greedy-by-reward": {}, "coin": {}}}}
    )
    opened.write_candidate_means(np.full((len(POOL), 3), np.nan))
    services = make_services(POOL, plugins, settings, reward)
    save_component(opened.folder / "estimator", "estimator", "length", services.make("estimator", "length", {}), plugins, {})
    for name in ("greedy-by-reward", "coin"):
        save_component(opened.folder / "routers" / name, "router", name, services.make("router", name, {}), plugins, {})
    return opened.folder


def test_a_run_is_loaded_with_its_preference_its_seed_and_its_log(run: Path) -> None:
    with MetaController.load(run, plugins=installed()) as controller:
        decision = controller.route("Long " * 40)
        assert (decision.candidate, decision.router, controller.seed) == ("small", "greedy-by-reward", 3)
        assert controller.route("Long " * 40, preference=(1, 0, 0)).candidate == "large"
    assert (run / "log.db").is_file()
    with MetaController.load(run, router="coin", seed=0, plugins=installed()) as controller:
        assert controller.explain(decision.id).record.decision == decision
        assert controller.route("Hi").router == "coin"
    with MetaController.load(str(run), store="memory:", plugins=installed()) as controller, pytest.raises(UnknownDecisionError):
        controller.explain(decision.id)


def test_another_router_serves_with_what_a_run_trained(run: Path) -> None:
    with MetaController.load(run, router={"name": "counting"}, store="memory:", plugins=installed()) as controller:
        assert controller.route("Hi").router == "counting"
        assert isinstance(controller.estimator, Length)
    with pytest.raises(ConfigError, match="counting has no option 'speed'"):
        MetaController.load(run, router={"name": "counting", "speed": 3}, store="memory:", plugins=installed())


def test_a_router_is_loaded_by_its_folder_with_its_own_run(run: Path, tmp_path: Path) -> None:
    with MetaController.load(tmp_path, router=str(run / "routers" / "coin"), store="memory:", plugins=installed()) as controller:
        assert controller.route("Hi").router == "coin"
        assert isinstance(controller.estimator, Length)


def test_a_checkpoint_with_an_option_that_is_gone_says_to_train_it_again(run: Path) -> None:
    file = run / "routers" / "coin" / "component.json"
    write_json(file, {**read_json(file), "config": {"former": 1}})
    with pytest.raises(CheckpointError, match=r"no option 'former'.*; if another version made it, train it again$"):
        MetaController.load(run, router="coin", plugins=installed())


def test_what_is_no_run_cannot_be_loaded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="aamc run"):
        MetaController.load(tmp_path, plugins=installed())
    with pytest.raises(CheckpointError, match="a run is named by its folder, such as 'runs/latest', not 5"):
        MetaController.load(5, plugins=installed())  # type: ignore[arg-type]  # a mistake
    with pytest.raises(CheckpointError, match="holds no router 'slow'"):
        MetaController.load(run, router="slow", plugins=installed())


def test_the_programs_in_the_page_on_the_log_run() -> None:
    page = Path(__file__).parents[1] / "docs" / "explanation" / "decision-log.md"
    programs = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True)


def test_a_closed_controller_refuses(tmp_path: Path) -> None:
    controller = build(store=f"sqlite:{tmp_path / 'log.db'}")
    controller.close()
    controller.close()
    with pytest.raises(StoreError, match="closed"):
        controller.route("Hi")
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(controller.aroute("Hi"))


def refuses(controller: MetaController) -> bool:
    try:
        controller.feedback_batch([])
    except StoreError:
        return True
    return False


def test_what_is_decided_while_the_controller_closes_is_logged_and_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    hearer = Hearer()
    controller = build(hearer=hearer)
    logged, release = threading.Event(), threading.Event()
    log = controller.store.add_decisions

    def slowly(records: Any) -> Any:
        decisions = log(records)
        logged.set()
        assert release.wait(60)
        return decisions

    monkeypatch.setattr(controller.store, "add_decisions", slowly)
    with ThreadPoolExecutor(2) as pool:
        decision = pool.submit(controller.route, "Hi", decision_id="d")
        assert logged.wait(60)
        closed = pool.submit(controller.close)
        while not refuses(controller):
            assert not closed.done()
        assert not wait([closed], 0.05).done
        with pytest.raises(StoreError, match="the controller is closed"):
            controller.feedback("d", quality=1.0)
        release.set()
        closed.result(60)
        assert decision.result(60).id == "d"
    assert hearer.heard == [("decided", "d")]


def test_requests_that_race_with_closing_are_decided_or_refused(tmp_path: Path) -> None:
    controller = build("coin", store=f"sqlite:{tmp_path / 'log.db'}")
    acknowledged: list[str] = []

    def work(n: int) -> None:
        for _ in range(10_000):
            acknowledged.append(controller.route("Hi").id)
            controller.feedback(acknowledged[-1], quality=1.0)
            if n == 0 and len(acknowledged) > 20:
                controller.close()

    def work_until_refused(n: int) -> None:
        with pytest.raises(StoreError, match="the controller is closed"):
            work(n)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work_until_refused, range(8)))
    with build("coin", store=f"sqlite:{tmp_path / 'log.db'}") as again:
        assert {decision.id for decision in again.store.experience().decisions} == set(acknowledged)


@pytest.mark.parametrize("method", ["aroute", "adraw"])
def test_an_asynchronous_request_is_refused_when_the_controller_closes_meanwhile(method: str) -> None:
    async def work(controller: MetaController) -> None:
        task = asyncio.create_task(getattr(controller, method)("Hi"))
        while not controller.router.waiting:  # type: ignore[attr-defined]  # Slow has it
            await asyncio.sleep(0)
        controller.close()
        with pytest.raises(StoreError, match="the controller is closed"):
            await task

    with build("slow") as controller:
        asyncio.run(work(controller))
        assert controller.store.experience().position == 0


def hold_requests(controller: MetaController, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let requests wait before they are built; return the event that one waits, and the event after which it goes on."""
    build_request, waits, go_on = controller._decider.request, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Any:
        waits.set()
        assert go_on.wait(60)
        return build_request(*arguments)

    monkeypatch.setattr(controller._decider, "request", slowly)
    return waits, go_on


@pytest.mark.parametrize("method", ["aroute", "adraw"])
def test_an_asynchronous_router_is_not_asked_after_the_controller_was_closed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with build("slow") as controller:
        waits, go_on = hold_requests(controller, monkeypatch)

        async def work() -> None:
            task = asyncio.create_task(getattr(controller, method)("Hi"))
            await asyncio.to_thread(waits.wait, 60)
            closed = asyncio.create_task(asyncio.to_thread(controller.close))
            while not controller._guard.closed:
                await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(StoreError, match="the controller is closed"):
                await task
            await closed

        asyncio.run(work())
        assert not controller.router.waiting  # type: ignore[attr-defined]  # Slow has it
        assert not controller._loop.started


@pytest.mark.parametrize("method", ["route", "draw"])
def test_an_asynchronous_router_is_not_asked_by_a_thread_after_the_controller_was_closed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with build("patient") as controller, ThreadPoolExecutor(1) as pool:
        waits, go_on = hold_requests(controller, monkeypatch)
        waiting = pool.submit(getattr(controller, method), "Hi")
        assert waits.wait(60)
        controller.close()
        go_on.set()
        with pytest.raises(StoreError, match="the controller is closed"):
            waiting.result(60)
        assert not controller.router.waiting  # type: ignore[attr-defined]  # Slow has it
        assert not controller._loop.started


@pytest.mark.parametrize("method", ["route", "route_batch", "aroute"])
def test_decisions_are_learned_at_once_by_a_router_that_needs_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_sdk.serving.learner.learner.POLL_S", 3600.0)
    with build("charging") as controller:
        assert controller.learner is not None
        controller.learner.flush()
        if method == "aroute":
            asyncio.run(controller.aroute("Hi"))
        else:
            getattr(controller, method)(["Hi"] if method == "route_batch" else "Hi")
        ends = time.monotonic() + 60
        while not controller.router.charged and time.monotonic() < ends:  # type: ignore[attr-defined]  # Charging has it
            time.sleep(0.01)
        assert controller.router.charged == 1  # type: ignore[attr-defined]  # likewise


def test_a_router_that_cannot_begin_to_learn_is_closed() -> None:
    with pytest.raises(StoreError, match="the log cannot be read"):
        build("unattached")
    assert Unattached.closed


def test_keys_that_only_servers_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gate.yaml").write_text("router: greedy-by-reward\nestimator: length\ngateway: {port: 8000}\ndataset: tiny\n")
    with MetaController.from_file(tmp_path / "gate.yaml", plugins=installed()):
        assert f"{tmp_path / 'gate.yaml'}: without effect: gateway (only servers use it)" in caplog.messages
        assert f"{tmp_path / 'gate.yaml'}: without effect: dataset (only experiments use it)" in caplog.messages


def test_an_asynchronous_router_that_waits_for_itself_is_an_error() -> None:
    with build("eager") as controller, pytest.raises(PluginError, match=r"run was called on its own event loop.*await instead"):
        asyncio.run(controller.aroute("Hi"))


def test_a_thread_that_waits_for_an_asynchronous_router_is_refused_when_the_controller_closes() -> None:
    with build("patient") as controller, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(controller.route, "Hi")
        while not controller.router.waiting:  # type: ignore[attr-defined]  # Slow has it
            time.sleep(0.001)
        controller.close()
        with pytest.raises(StoreError, match="the controller is closed"):
            waiting.result(60)


def test_a_caller_that_cancels_while_the_controller_closes_is_cancelled() -> None:
    async def work(controller: MetaController) -> None:
        task = asyncio.create_task(controller.aroute("Hi"))
        while not controller.router.waiting:  # type: ignore[attr-defined]  # Slow has it
            await asyncio.sleep(0)
        task.cancel()
        controller.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    with build("slow") as controller:
        asyncio.run(work(controller))


def test_what_a_router_breaks_is_an_error_and_not_logged(controller: MetaController, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller.router, "score", lambda request: Scores(np.zeros((len(request), 3))))
    with pytest.raises(PluginError, match=f"^router {controller.router_name!r}: a router's utility must be real numbers of shape"):
        controller.route("Hi")
    assert controller.store.experience().position == 0


@pytest.mark.parametrize(
    ("add", "error"),
    [(lambda records: {}["table"], "KeyError: 'table'$"), (lambda records: [], "ValueError: ")],
)
def test_a_store_that_fails_is_named(
    controller: MetaController, monkeypatch: pytest.MonkeyPatch, add: Callable[[Sequence[Record]], Any], error: str
) -> None:
    monkeypatch.setattr(controller.store, "add_decisions", add)
    with pytest.raises(StoreError, match=f"^store 'memory' failed: {error}"):
        controller.route("Hi")

    with pytest.raises(StoreError, match=f"^store 'memory' failed: {error}"):
        controller.log_decisions([controller.draw("Hi")])


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("add_attempts", lambda controller: controller.attempt("d")),
        ("add_feedback", lambda controller: controller.feedback("d", quality=1.0)),
        ("record", lambda controller: controller.explain("d")),
        ("record", lambda controller: controller.route("Hi", decision_id="d")),
        ("forget", lambda controller: controller.forget("ann")),
        ("health", lambda controller: controller.health()),
    ],
)
def test_a_store_that_fails_is_named_whatever_it_was_asked(controller: MetaController, monkeypatch, method: str, call) -> None:
    monkeypatch.setattr(controller.store, method, lambda *arguments: {}["table"])
    with pytest.raises(StoreError, match=r"^store 'memory' failed: KeyError: 'table'$"):
        call(controller)


@pytest.mark.parametrize(
    ("method", "call", "contract"),
    [
        ("add_decisions", lambda controller: controller.route("Hi"), "add_decisions must return the logged decisions, one for each record"),
        ("add_attempts", lambda controller: controller.attempt("d"), "add_attempts must return the attempts' numbers"),
        ("add_feedback", lambda controller: controller.feedback("d", quality=1.0), "add_feedback must return a list of whether each piece is new"),
        ("record", lambda controller: controller.explain("d"), "record must return aamc_sdk.types.Record, or raise UnknownDecisionError"),
        ("record", lambda controller: controller.route("Hi", decision_id="d"), "record must return aamc_sdk.types.Record"),
    ],
)
def test_a_store_that_returns_nothing_is_told_what_to_return(controller: MetaController, monkeypatch, method: str, call, contract: str) -> None:
    monkeypatch.setattr(controller.store, method, lambda *arguments: None)
    with pytest.raises(StoreError, match=f"^store 'memory' failed: TypeError: {contract}.*, not None$"):
        call(controller)


@pytest.mark.parametrize(("own", "asked", "given"), [(None, None, False), (None, (1, 0, 0), True), ((1, 0, 0), None, True)])
def test_a_router_knows_whether_the_caller_gave_a_preference(
    own: tuple[float, ...] | None, asked: tuple[float, ...] | None, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def watched(router: Greedy, request: RoutingRequest) -> Scores:
        seen.append(request.preference_given)
        return Scores(router.services.reward.scalar(request.expected, request.preferences))

    monkeypatch.setattr(Greedy, "score", watched)
    with build(preference=own) as controller:
        controller.route("Hi", preference=asked)
    assert seen == [given]


def test_users_are_known_by_pseudonyms_where_there_is_a_key() -> None:
    controllers = [build("counting", user_key=key) for key in ("secret", "other", None)]
    names = []
    for controller in controllers:
        with controller:
            controller.route(Query("Hi", user="ann"), decision_id="d")
            controller.route("Hi", user="ann", session="s", decision_id="e")
            user, again = (controller.store.record(name).query.user for name in "de")
            assert user == again
            assert controller.forget("ann") == 2
            assert controller.store.record("e").query.user is None
            names.append(user)
    assert names == ["aad4e6199b77de3305e568999486a8be", names[1], "ann"]
    assert names[1] not in (names[0], "ann")


def test_the_function_that_routers_get_does_not_show_the_key() -> None:
    assert "secret" not in repr(pseudonymizer("secret"))


def test_a_key_may_be_bytes() -> None:
    with build(user_key="Schlüssel") as text, build(user_key="Schlüssel".encode()) as octets:
        for controller in (text, octets):
            controller.route("Hi", user="ann", decision_id="d")
        assert text.store.record("d").query.user == octets.store.record("d").query.user


@pytest.mark.parametrize("key", ["", b"", 7])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(ConfigError, match="must be a non-empty string or bytes"):
        build(user_key=key)


@pytest.mark.parametrize("user", ["", None, b"ann", "ann\0"])
def test_who_is_to_be_forgotten_is_named_as_users_are(controller: MetaController, user: Any) -> None:
    with pytest.raises(DataError, match="the user to forget must"):
        controller.forget(user)


def test_a_batch_of_feedback_is_made_of_feedback(controller: MetaController) -> None:
    with pytest.raises(DataError, match=r"must hold aamc_sdk\.Feedback objects, not {'decision_id'"):
        controller.feedback_batch([{"decision_id": "d", "quality": 1.0}])  # type: ignore[list-item]  # the mistake in question


@pytest.mark.parametrize("store", [None, 5, Path("log.db")])
def test_a_store_is_named_by_a_url(store: Any) -> None:
    with pytest.raises(ConfigError, match="a store is named by a URL such as sqlite:PATH"):
        MetaController.build(router="random", store=store)


@pytest.mark.parametrize("pool", [[], None, ["small"]])
def test_a_pool_is_a_pool_or_is_named(pool: Any) -> None:
    with pytest.raises(PoolError, match=r"a pool must be an aamc_sdk.Pool, a component's name or a YAML file"):
        MetaController.build(router="random", pool=pool)


@pytest.mark.parametrize(
    "make",
    [partial(MetaController.build, router="random"), partial(MetaController.load, "runs/none"), partial(MetaController.from_file, "none.yaml")],
)
@pytest.mark.parametrize("plugins", [3, "aamc-bandit", []])
def test_plugins_are_what_the_plugin_manager_returns(make: Any, plugins: Any) -> None:
    with pytest.raises(ConfigError, match=r"plugins must be an aamc_sdk\.plugins\.Plugins, such as get_plugin_manager returns, not"):
        make(plugins=plugins)


class Serving(Counting):
    """Records the start and the end of serving."""

    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self.diary: list[str] = []

    def attach(self, log: Any, to_log_user: Any) -> None:
        self.diary.append(f"serve a log of {len(log.experience().decisions)}")

    def learn(self, experience: Any) -> None:
        self.diary.append("learn")

    def close(self) -> None:
        self.diary.append("close")


def test_a_router_knows_when_serving_begins_and_ends(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'log.db'}"
    hearer = Hearer()
    with MetaController.build(
        router="coin", pool=POOL, store=url, plugins=Plugins({"core": builtin, "hearer": hearer}, discover=False)
    ) as controller:
        controller.route("first")
        services = controller.router.services
    router = Serving(None, services)
    store = open_store(url, Plugins({"core": builtin}, discover=False))
    controller = MetaController(ServedComponents(services=services, router=router, store=store))
    controller.close()
    assert router.diary == ["serve a log of 1", "learn", "close"]


def test_much_feedback_is_given_at_once(controller: MetaController) -> None:
    names = [decision.id for decision in controller.route_batch(["Hi"] * 3)]
    given = [Feedback(decision_id=name, quality=0.25) for name in names]
    assert controller.feedback_batch(given) == [True] * 3
    assert controller.feedback_batch([*given, Feedback(decision_id=names[0], quality=0.5, source="judge", time=7.0)]) == [False] * 3 + [True]
    *first, last = controller.store.experience().feedback
    assert all(abs(feedback.time - time.time()) < 60 for feedback in first)
    assert last.time == 7.0


def test_a_batch_ends_at_the_feedback_that_is_refused(controller: MetaController) -> None:
    name = controller.route("Hi").id
    given = [
        Feedback(decision_id=name, quality=1.0, source=source, candidate=candidate)
        for source, candidate in (("a", None), ("b", "nobody"), ("c", None))
    ]
    with pytest.raises(StoreError, match="'nobody'"):
        controller.feedback_batch(given)
    assert [feedback.source for feedback in controller.store.experience().feedback] == ["a"]


def test_a_store_whose_health_has_no_position_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with build("counting") as controller:
        learned(controller)
        monkeypatch.setattr(controller.store, "health", lambda: {"entries": 7})
        monkeypatch.setattr(controller.store, "position", lambda: controller.learner.position + 42)
        assert controller.health()["learner_lag"] == 42
        monkeypatch.setattr(type(controller.store), "is_away", True)
        assert controller.health()["learner_lag"] == 0


def test_health_is_plain_numbers_of_the_log_and_of_learning() -> None:
    with build("counting") as controller:
        controller.feedback(controller.route("Hi").id, quality=1.0)
        learned(controller)
        health = controller.health()
        assert {name: health[name] for name in ("position", "learner_lag", "staleness_s", "is_learner")} == {
            "position": 2,
            "learner_lag": 0,
            "staleness_s": 0,
            "is_learner": 1,
        }
        assert health["snapshot_age_s"] == 0  # this router has no snapshots
        assert all(isinstance(number, int | float) for number in health.values())
    with build("coin") as controller:
        assert "learner_lag" not in controller.health()
        assert controller.process_health() == {"unlogged": 0}


def test_the_health_of_a_process_is_found_without_reading_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with build("counting") as controller:
        learned(controller)
        whole = controller.health()
        for name in ("health", "position", "pending"):
            monkeypatch.setattr(controller.store, name, None)
        own = controller.process_health()
        assert own.keys() == {"unlogged", "is_learner", "learner_lag", "staleness_s", "snapshot_age_s"}
        assert own.items() <= whole.items()
