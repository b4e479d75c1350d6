"""The orchestrator as the core uses it: steps, budgets, bad input, forked paths."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from aamc_agents.roles import Role
from aamc_agents.state import ANSWER, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.episodes.player import Running, begin
from aamc_puppeteer.episodes.trajectory import Stop
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.serving.orchestration import in_fixed_order, work_on
from aamc_puppeteer.serving.parallel_paths import fork, picked_number, vote

from aamc_sdk import Agent, AgentOutput, Candidate, Query, get_plugin_manager
from aamc_sdk.errors import ConfigError, DataError, PoolError
from aamc_sdk.interfaces import Budget, Step
from aamc_sdk.testing import assert_conforms


class Says(Agent):
    """An agent that always says the same, or raises."""

    def __init__(self, name: str, content: str | Exception = "2", cost: float = 0.5, **metadata: Any) -> None:
        self.spec = Candidate(name, f"Says {content}.")
        self.content, self.cost, self.metadata = content, cost, metadata

    async def execute(self, state: TaskState) -> AgentOutput:
        if isinstance(self.content, Exception):
            raise self.content
        return AgentOutput(self.content, self.cost, self.metadata)


class SlowToJudge(Says):
    """An agent that works at once and takes long to judge."""

    async def execute(self, state: TaskState) -> AgentOutput:
        if "These answers" in state.task.text:
            await asyncio.sleep(30)
        return await super().execute(state)


async def is_two(task: Task, answer: str) -> Verdict:
    return Verdict(answer == "2")


SUM = Task(id="sum", text="Add one and one.", verifier=is_two)


@pytest.fixture
def puppeteer_of() -> Iterator[Callable[..., Puppeteer]]:
    made: list[Puppeteer] = []

    def make(*agents: Agent | str, **options: Any) -> Puppeteer:
        made.append(Puppeteer.of(agents, **options))
        return made[-1]

    yield make
    for puppeteer in made:
        puppeteer.close()


def steps_of(puppeteer: Puppeteer, task: Task | Query, budget: Budget) -> list[Step]:
    async def collect() -> list[Step]:
        return [step async for step in puppeteer.run(task, budget)]

    return asyncio.run(collect())


def forked(puppeteer: Puppeteer, budget: Budget, paths: list[Running]) -> list[Step]:
    async def collect() -> list[Step]:
        return [step async for step in fork(puppeteer, SUM, budget, paths)]

    return asyncio.run(collect())


def test_it_conforms() -> None:
    assert_conforms("orchestrator", "puppeteer", get_plugin_manager())


@pytest.mark.parametrize("agents", [[], [Says("a"), Says("a")], [Says("stop")]])
def test_a_pool_that_cannot_be_used_is_refused(agents: list[Agent]) -> None:
    with pytest.raises(PoolError):
        Puppeteer.of(agents)


def test_it_goes_on_until_the_steps_are_used_up(puppeteer_of: Callable[..., Puppeteer]) -> None:
    steps = steps_of(puppeteer_of(Says("a")), SUM, Budget(steps=3))
    assert [step.final for step in steps] == [False, False, True]
    assert [step.content for step in steps] == ["2", "2", "2"]
    assert [step.decision.candidate for step in steps if step.decision is not None] == ["a", "a", "a"]


def test_an_agents_answer_ends_it(puppeteer_of: Callable[..., Puppeteer]) -> None:
    steps = steps_of(puppeteer_of(Says("a", **{ANSWER: True})), Query("Add one and one."), Budget(steps=3))
    assert [(step.content, step.final) for step in steps] == [("2", True)]


@pytest.mark.parametrize(("tokens", "prompt_tokens", "counted"), [(9, 4, (9, 4)), (3, 4, (3, 3)), (-5, -9, (0, 0)), ("9", None, (0, 0))])
def test_only_counts_of_tokens_count(puppeteer_of: Callable[..., Puppeteer], tokens: Any, prompt_tokens: Any, counted: tuple[int, int]) -> None:
    puppeteer = puppeteer_of(Says("guesser", tokens=tokens, prompt_tokens=prompt_tokens))
    (step,) = steps_of(puppeteer, SUM, Budget(steps=1))
    assert (step.tokens, step.prompt_tokens) == counted


def test_money_and_time_end_it(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a"))
    assert len(steps_of(puppeteer, SUM, Budget(steps=9, cost_usd=1.0))) == 2


@pytest.mark.parametrize("paths", [1, 2])
@pytest.mark.parametrize("nothing", [{"seconds": 0.0}, {"cost_usd": 0.0}])
def test_with_nothing_to_spend_nobody_works(puppeteer_of: Callable[..., Puppeteer], paths: int, nothing: dict[str, float]) -> None:
    puppeteer, budget = puppeteer_of(Says("a"), Says("b"), paths=paths), Budget(steps=9, **nothing)
    trajectory = asyncio.run(puppeteer.solve(SUM, budget))
    assert (trajectory.stop, trajectory.state.history) == (Stop.OUT_OF_BUDGET, ())
    assert [(step.content, step.cost_usd, step.final) for step in steps_of(puppeteer, SUM, budget)] == [("", 0.0, True)]


@pytest.mark.parametrize("nothing", [{"seconds": 0.0}, {"cost_usd": 0.0}])
def test_with_nothing_to_spend_no_pipeline_works(puppeteer_of: Callable[..., Puppeteer], nothing: dict[str, float]) -> None:
    async def work() -> list[tuple[str, float, bool]]:
        steps = work_on(puppeteer_of(Says("a")).activate, in_fixed_order(["a"]), episode, Budget(**nothing))
        return [(step.content, step.cost_usd, step.final) async for step in steps]

    episode = begin(0, SUM, 9, 0)
    assert (asyncio.run(work()), episode.stop, episode.state.history) == ([("", 0.0, True)], Stop.OUT_OF_BUDGET, ())


def test_an_error_of_the_policy_ends_the_episode_as_failed_and_its_turns_are_logged(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a"), updates=1, episodes=1)
    puppeteer.fit([Task(id="1", text="2", verifier=is_two)])
    probabilities = puppeteer.policy.probabilities
    puppeteer.policy.probabilities = lambda states: {}["weights"] if states[0].steps_left == 1 else probabilities(states)
    orchestration = puppeteer.orchestration(Query(SUM.text), Budget(steps=3))

    async def work() -> None:
        async for _ in orchestration.steps():
            pass

    with pytest.raises(KeyError):
        asyncio.run(work())
    assert (orchestration.stop, orchestration.document()["stop"], len(orchestration.document()["steps"])) == ("failed", "failed", 2)
    assert [attempt.cost_usd for attempt in orchestration.log()[1]] == [0.5, 0.5]


@pytest.mark.parametrize(("task", "steps", "stop"), [(Task(id="e", text="  "), 3, Stop.FAILED), (SUM, 0, Stop.TRUNCATED)])
def test_nothing_to_do_ends_at_once_with_its_reason(puppeteer_of: Callable[..., Puppeteer], task: Task, steps: int, stop: Stop) -> None:
    puppeteer = puppeteer_of(Says("a"))
    trajectory = asyncio.run(puppeteer.solve(task, Budget(steps=steps)))
    assert (trajectory.stop, trajectory.state.history, trajectory.rewards) == (stop, (), ())
    assert [step.final for step in steps_of(puppeteer, task, Budget(steps=steps))] == [True]


def test_an_agent_that_fails_leaves_the_answer_as_it_was(puppeteer_of: Callable[..., Puppeteer]) -> None:
    trajectory = asyncio.run(puppeteer_of(Says("a", ValueError("no"))).solve(SUM, Budget(steps=2)))
    assert [activation.fault for activation in trajectory.state.history] == [Fault.RAISED] * 2
    assert (trajectory.succeeded, trajectory.stop) == (False, Stop.TRUNCATED)


def test_training_meets_every_failure_and_stays_finite(puppeteer_of: Callable[..., Puppeteer]) -> None:
    bad = [Says("raises", ValueError("no")), Says("nan", cost=float("nan")), Says("mute", content=None), Says("huge", content="x" * 1_000_000)]  # type: ignore[arg-type]  # what agents should not say
    puppeteer = puppeteer_of(*bad, Says("fine"), updates=6, episodes=8, max_steps=3)
    curve = puppeteer.fit([SUM, Task(id="empty", text="", verifier=is_two)])["curve"]
    assert all(value == value for point in curve for value in point.values())
    assert all(parameter.isfinite().all() for parameter in puppeteer.policy.parts()[0].policy.parameters())


def test_tasks_that_teach_nothing_are_refused(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a"))
    for tasks in ([], [Task(id="t", text="Who knows?")]):
        with pytest.raises(DataError):
            puppeteer.fit(tasks)


def test_forked_paths_vote_within_the_budget(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a", "3"), Says("b"), Says("c"), paths=3, branches=3, fork_depth=1)
    steps = steps_of(puppeteer, SUM, Budget(steps=3))
    assert [step.final for step in steps] == [False, False, False, True]
    assert steps[-1].content == "2"
    assert sum(step.cost_usd for step in steps) == 1.5


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 7])
def test_each_path_has_a_turn_of_its_own(puppeteer_of: Callable[..., Puppeteer], most: int) -> None:
    paths: list[Running] = []
    puppeteer = puppeteer_of(*(Says(name, name) for name in "abcd"), paths=6, branches=3, fork_depth=2)
    assert len(forked(puppeteer, Budget(steps=most), paths)) == most + 1
    routes = [tuple(turn.agent for turn in path.state.history) for path in paths]
    assert len(set(routes)) == len(routes)
    turns = {id(turn) for path in paths for turn in path.state.history}
    assert (len(turns), all(routes)) == (most, True)
    assert all(path.stop is Stop.TRUNCATED for path in paths)
    assert [path.path_probability for path in paths] == sorted((path.path_probability for path in paths), reverse=True)
    finished = [path.finished(None, puppeteer.config.rule) for path in paths]
    assert all(len(episode.probabilities) == len(episode.rewards) == len(episode.state.history) for episode in finished)
    if most == 7:  # every path had all its turns
        assert [np.prod(episode.probabilities) for episode in finished] == pytest.approx([path.path_probability for path in paths])


def test_a_path_that_stops_does_not_fork(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a"), Says("b"), paths=4)
    puppeteer.policy.probabilities = lambda states: np.array([[0.3, 0.3, 0.4] if state.history else [0.6, 0.3, 0.1] for state in states], np.float32)  # type: ignore[method-assign]  # a policy that is known
    steps = steps_of(puppeteer, SUM, Budget(steps=9))
    assert [step.final for step in steps] == [False, False, True]
    paths: list[Running] = []
    forked(puppeteer, Budget(steps=9), paths)
    episodes = [path.finished(None, puppeteer.config.rule) for path in paths]
    assert [(episode.probabilities, len(episode.rewards)) for episode in episodes] == [
        (pytest.approx((0.6, 0.4)), 2),
        (pytest.approx((0.3, 0.4)), 2),
    ]


def test_the_decision_to_stop_counts_in_a_paths_probability(puppeteer_of: Callable[..., Puppeteer]) -> None:
    """Path a is more probable than b only without its end: 0.5 * 0.35 to stop, against 0.45 * 0.95 for c * 0.99 to stop."""
    rows = {(): [0.5, 0.45, 0.04, 0.01], ("a",): [0.32, 0.33, 0.0, 0.35], ("b",): [0.0, 0.0, 0.95, 0.05]}
    puppeteer = puppeteer_of(Says("a", "a"), Says("b", "b"), Says("c", "c"), paths=2, fork_depth=1)
    puppeteer.policy.probabilities = lambda states: np.array(  # type: ignore[method-assign]  # a policy that is known
        [rows.get(tuple(turn.agent for turn in state.history), [0.0, 0.0, 0.01, 0.99]) for state in states], np.float32
    )
    paths: list[Running] = []
    assert forked(puppeteer, Budget(steps=6), paths)[-1].content == "c"
    assert [path.path_probability for path in paths] == pytest.approx([0.45 * 0.95 * 0.99, 0.5 * 0.35])


def test_a_judge_picks_among_the_paths_answers(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a", "3"), Says("b", "number 2"), paths=2, fork_depth=1, join="judge", judge="b")
    steps = steps_of(puppeteer, SUM, Budget(steps=3))
    assert (steps[-1].content, steps[-1].cost_usd) == ("number 2", 0.5)


def test_the_steps_of_parallel_paths_have_the_tokens_of_their_turns_and_of_the_judges(puppeteer_of: Callable[..., Puppeteer]) -> None:
    counted = {"tokens": 12, "prompt_tokens": 10}
    puppeteer = puppeteer_of(Says("a", "3", **counted), Says("b", "number 2", **counted), paths=2, fork_depth=1, join="judge", judge="b")
    steps = steps_of(puppeteer, SUM, Budget(steps=3))
    assert [(step.tokens, step.prompt_tokens) for step in steps] == [(12, 10)] * 3


def test_turns_that_ended_together_count_although_the_caller_stops_at_the_first(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer, paths = puppeteer_of(Says("a", "3"), Says("b"), paths=2, fork_depth=1), list[Running]()

    async def leave() -> None:
        steps = fork(puppeteer, SUM, Budget(steps=9), paths)
        await anext(steps)
        await steps.aclose()

    asyncio.run(leave())
    assert [path.state.cost for path in paths] == [0.5, 0.5]


def test_the_cost_of_an_orchestration_has_the_judges_turn(puppeteer_of: Callable[..., Puppeteer]) -> None:
    options = {"paths": 2, "fork_depth": 1, "join": "judge", "judge": "b", "updates": 1, "episodes": 1}
    puppeteer = puppeteer_of(Says("a", "3"), Says("b", "number 2"), **options)
    puppeteer.fit([Task(id="1", text="2", verifier=is_two)])
    orchestration = puppeteer.orchestration(Query(SUM.text), Budget(steps=3))

    async def work() -> float:
        return sum([step.cost_usd async for step in orchestration.steps()])

    assert orchestration.cost_usd == 0
    assert asyncio.run(work()) == orchestration.cost_usd == 1.5
    assert orchestration.document()["join_cost_usd"] == 0.5


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("Of the 3 answers, 2 is the best.", 2),
        ("Of the 3 answers, 2 explains it.", 2),
        ("2 is the best of the 3 answers.", 2),
        ("1 and 3 are wrong.\nANSWER: 2", 2),
        ("Answer 1 is short.\n**Answer:** 3", 3),
        ("The best answer is number 1, since 2 and 3 are wrong.", 1),
        ("2", 2),
        ("number 2", 2),
        ("(3)", 3),
        ("ANSWER: 7", None),
        ("1 is wrong, 3 is right.", 3),
        ("1 and 2 are alike", None),
        ("none of them", None),
        ("Answer 2 is not right", None),
        ("Answer 2 isn't right.", None),
        ("I do not think that 2 is correct.", None),
        ("Neither 1 nor 2 is correct.", None),
        ("2 is wrong.", None),
        ("Answer 2 is not right, so 3 is.", 3),
        ("Not 1 but 3", 3),
        ("The best is 2. The others are not right.", 2),
        ("2 is not perfect.\nANSWER: 2", 2),
        ("", None),
    ],
)
def test_a_judges_reply_is_read_as_it_is_meant(reply: str, number: int | None) -> None:
    assert picked_number(reply, 3) == number


@pytest.mark.parametrize("names", ["", "gives 7"])
def test_the_vote_decides_where_the_judge_names_none(puppeteer_of: Callable[..., Puppeteer], names: str) -> None:
    judge = Says("judge", names or ValueError("error 2"))
    puppeteer = puppeteer_of(Says("a", "3"), Says("b", "3"), judge, paths=3, branches=3, fork_depth=1, join="judge", judge="judge")
    steps = steps_of(puppeteer, SUM, Budget(steps=4))
    assert (steps[-1].content, steps[-1].cost_usd) == ("3", 0.0 if not names else 0.5)


def test_with_the_money_gone_no_judge_is_asked(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a", "3"), Says("b", "number 2"), paths=2, fork_depth=1, join="judge", judge="b")
    steps = steps_of(puppeteer, SUM, Budget(steps=3, cost_usd=1.0))
    assert [step.cost_usd for step in steps] == [0.5, 0.5, 0.0]


def test_the_judge_has_the_time_that_is_left(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of(Says("a", "3"), SlowToJudge("b"), paths=2, fork_depth=1, join="judge", judge="b")
    began = time.monotonic()
    steps = steps_of(puppeteer, SUM, Budget(steps=3, seconds=2.0))
    assert time.monotonic() - began < 20
    assert (len(steps), steps[-1].content in ("3", "2")) == (3, True)


def test_a_judge_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="did you mean 'anna'"):
        Puppeteer.of([Says("anna")], join="judge", judge="ana")


def test_options_of_an_agent_that_there_is_not_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="did you mean 'calculator'"):
        Puppeteer.of(["calculator"], agent_options={"calculater": {}})


def test_models_that_there_are_not_are_told_before_anyone_works() -> None:
    with pytest.raises(PoolError, match=r"nope\.yaml"):
        Puppeteer.of(["planner"], agent_options={"planner": {"router": "random", "pool": "nope.yaml"}})


def test_agents_by_name_get_their_options(puppeteer_of: Callable[..., Puppeteer]) -> None:
    puppeteer = puppeteer_of("calculator", agent_options={"calculator": {"billed_seconds": 2.0, "usd_per_second": 1.0}})
    steps = steps_of(puppeteer, Query("1 + 1"), Budget(steps=1))
    assert steps[0].cost_usd == 2.0


def test_votes_are_counted_whatever_the_spacing() -> None:
    assert vote([("Lima", 0.1), ("Quito", 0.8), (" lima ", 0.1)]) == "Lima"
    assert vote([("Lima", 0.1), ("Quito", 0.8)]) == "Quito"
    assert vote([]) == ""


def test_closing_it_closes_the_agents_that_it_made_only(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Role, "close", lambda role: closed.append(role.spec.name))
    given = Puppeteer.of(["planner"])._made
    puppeteer = Puppeteer.of(["critic", *given])
    puppeteer.close()
    assert closed == ["critic"]
    puppeteer.use(given)
    puppeteer.close()
    assert closed == ["critic", "critic"]  # replaced agents are closed, given ones are not
