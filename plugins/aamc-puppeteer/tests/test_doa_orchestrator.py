from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

import pytest
import torch
from aamc_agents.state import Activation, Fault, TaskState, answer
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError
from aamc_puppeteer.config import MAX_CHARACTERS
from aamc_puppeteer.doa import AgentInterface, AgentOutput, EchoAgent, Orchestrator, PolicyNetwork, RewardConfig, SystemState, TerminatorAgent
from aamc_puppeteer.doa.bridge import CoreAgent, InterfaceAgent, as_trajectory, installed_agent
from aamc_puppeteer.episodes.trajectory import Stop

from aamc_sdk.errors import PoolError
from aamc_sdk.interfaces import Agent, NoOptions
from aamc_sdk.interfaces import AgentOutput as CoreOutput
from aamc_sdk.types import Candidate


class Scripted(PolicyNetwork):
    """Chooses what it is told, in this order."""

    def __init__(self, agents: int, *choices: int) -> None:
        super().__init__(16, agents, hidden_dim=4)
        self.choices = list(choices)

    def select_action(self, system_state: SystemState) -> tuple[int, torch.Tensor]:
        return self.choices.pop(0), torch.tensor(math.log(0.5), requires_grad=True)


class Doing(AgentInterface):
    """Does what a function does."""

    def __init__(self, function: Any, name: str = "doing") -> None:
        super().__init__(name)
        self.function = function

    def execute(self, state: SystemState) -> AgentOutput:
        return self.function(state)  # type: ignore[no-any-return]  # whatever a test wants


def _run(agents: list[AgentInterface], *choices: int, most: int = 4, **options: Any) -> Any:
    return Orchestrator(agents, Scripted(len(agents), *choices), RewardConfig(), **options).run_episode(SystemState("sort", [], 0, most))


class TestEpisodes:
    def test_the_terminator_ends_it_with_success(self) -> None:
        episode = _run([EchoAgent(), TerminatorAgent()], 0, 1)
        assert [step.agent_index for step in episode.steps] == [0, 1]
        assert (episode.task_successful, episode.stop) == (True, Stop.STOPPED)
        assert pytest.approx([step.reward for step in episode.steps]) == [-0.1, 1.0]
        assert episode.total_undiscounted_reward == pytest.approx(0.9)

    def test_without_it_the_steps_are_used_up_without_success(self) -> None:
        episode = _run([EchoAgent(), TerminatorAgent()], 0, 0, most=2)
        assert (episode.task_successful, episode.stop) == (False, Stop.TRUNCATED)
        assert [step.is_terminal_step for step in episode.steps] == [False, True]
        assert episode.steps[-1].reward == pytest.approx(-1.1)

    def test_a_terminator_in_the_last_step_is_in_time(self) -> None:
        assert _run([EchoAgent(), TerminatorAgent()], 0, 1, most=2).task_successful

    @pytest.mark.parametrize("agent", [TerminatorAgent("enough"), EchoAgent("TerminatorAgent")])
    def test_a_terminator_is_known_by_its_class_or_name(self, agent: AgentInterface) -> None:
        assert len(_run([EchoAgent(), agent], 1).steps) == 1

    def test_steps_hold_the_states_before_and_after(self) -> None:
        first, last = _run([EchoAgent(), TerminatorAgent()], 0, 1).steps
        assert torch.equal(first.next_state_embedding, last.state_embedding)
        assert last.next_state_embedding is None
        assert (first.is_terminal_step, last.is_terminal_step) == (False, True)
        assert first.agent_output.content == "Echo: sort"

    def test_no_steps_allowed_are_no_steps(self) -> None:
        episode = _run([EchoAgent(), TerminatorAgent()], most=0)
        assert (episode.steps, episode.total_undiscounted_reward, episode.task_successful) == ([], 0.0, False)

    def test_the_first_state_stays_as_it_was(self) -> None:
        first = SystemState("sort", [], 0, 4)
        Orchestrator([EchoAgent(), TerminatorAgent()], Scripted(2, 0, 1), RewardConfig()).run_episode(first)
        assert first == SystemState("sort", [], 0, 4)

    def test_custom_data_is_handed_on(self) -> None:
        def note(state: SystemState) -> AgentOutput:
            assert state.custom_data is not None
            state.custom_data["turns"] += 1
            return AgentOutput("", 0.0)

        data = {"turns": 0}
        orchestrator = Orchestrator([Doing(note), TerminatorAgent()], Scripted(2, 0, 0, 1), RewardConfig())
        orchestrator.run_episode(SystemState("sort", [], 0, 4, data))
        assert data == {"turns": 2}


class TestVerifiers:
    def test_success_is_the_verifiers_word(self) -> None:
        agents = [EchoAgent(), TerminatorAgent()]
        assert not _run(agents, 1, verifier=lambda state: "sort" in str(state.history)).task_successful
        assert _run(agents, 0, 0, most=2, verifier=lambda state: "sort" in str(state.history)).task_successful

    def test_one_that_raises_says_no(self) -> None:
        episode = _run([EchoAgent(), TerminatorAgent()], 1, verifier=lambda state: 1 / 0)
        assert not episode.task_successful
        assert "ZeroDivisionError" in episode.verdict.why
        assert episode.steps[-1].reward == -1.0


def _raise(state: SystemState) -> AgentOutput:
    raise OSError("the disk is gone")


class TestAgentsThatFail:
    @pytest.mark.parametrize(
        ("function", "fault", "words"),
        [
            (_raise, Fault.RAISED, "the disk is gone"),
            (lambda state: None, Fault.NO_OUTPUT, "None"),
            (lambda state: "text", Fault.NO_OUTPUT, "'text'"),
            (lambda state: AgentOutput("", -1.0), Fault.BAD_COST, "-1.0"),
            (lambda state: AgentOutput("", math.nan), Fault.BAD_COST, "nan"),
            (lambda state: AgentOutput("", "free"), Fault.BAD_COST, "free"),
        ],
    )
    def test_the_episode_goes_on(self, function: Any, fault: Fault, words: str) -> None:
        episode = _run([Doing(function), TerminatorAgent()], 0, 1)
        output = episode.steps[0].agent_output
        assert episode.task_successful
        assert ("", 0.0, fault.value) == (output.content, output.cost, output.metadata["fault"])
        assert words in output.metadata["error"]
        assert math.isfinite(episode.total_undiscounted_reward)

    def test_a_long_text_is_cut_and_says_so(self) -> None:
        episode = _run([Doing(lambda state: AgentOutput("x" * 2**20, 1.0)), TerminatorAgent()], 0, 1)
        output = episode.steps[0].agent_output
        assert (len(output.content), output.metadata["cut"]) == (MAX_CHARACTERS, 2**20)

    def test_what_one_does_to_its_history_did_not_happen(self) -> None:
        def forge(state: SystemState) -> AgentOutput:
            state.history[0][1].content = "forged"
            state.history.clear()
            return AgentOutput("", 0.0)

        seen: list[Any] = []

        def look(state: SystemState) -> AgentOutput:
            seen.extend((name, output.content) for name, output in state.history)
            return AgentOutput("", 0.0)

        _run([EchoAgent(), Doing(forge), Doing(look, "looking"), TerminatorAgent()], 0, 1, 2, 3)
        assert seen == [("EchoAgent", "Echo: sort"), ("doing", "")]

    def test_one_that_hangs_is_left_behind(self) -> None:
        class Hanging(EchoAgent):
            async def aexecute(self, state: SystemState) -> AgentOutput:
                await asyncio.sleep(60)
                raise AssertionError

        orchestrator = Orchestrator([Hanging(), TerminatorAgent()], Scripted(2, 0, 1), RewardConfig())
        began = time.monotonic()
        episode = asyncio.run(orchestrator.arun_episode(SystemState("sort", [], 0, 4), timeout=1.0))
        assert time.monotonic() - began < 30
        assert episode.steps[0].agent_output is not None
        assert (episode.steps[0].agent_output.metadata or {})["fault"] == "timeout"
        assert episode.task_successful


class TestPools:
    def test_there_must_be_an_agent(self) -> None:
        with pytest.raises(PoolError, match="none"):
            Orchestrator([], PolicyNetwork(16, 1), RewardConfig())

    def test_a_name_may_stand_once(self) -> None:
        with pytest.raises(PoolError, match="used twice: EchoAgent"):
            Orchestrator([EchoAgent(), EchoAgent()], PolicyNetwork(16, 2), RewardConfig())

    def test_the_policy_must_choose_among_as_many(self) -> None:
        with pytest.raises(PoolError, match="chooses among 3 agents, and there are 2"):
            Orchestrator([EchoAgent(), TerminatorAgent()], PolicyNetwork(16, 3), RewardConfig())

    def test_no_terminator_is_needed(self) -> None:
        assert len(_run([EchoAgent()], 0, 0, 0, most=3).steps) == 3


class TestBridges:
    def test_an_agent_here_works_for_the_sdk(self) -> None:
        done = Activation(agent="other", output=CoreOutput("partly", 0.5))
        state = TaskState(task=Task(id="1", text="sort"), history=(done,), steps_left=3)
        seen: list[SystemState] = []
        agent = CoreAgent(Doing(lambda state: seen.append(state) or AgentOutput("sorted", 2.0)), "Sorts lists.")  # type: ignore[func-returns-value]
        output = asyncio.run(agent.execute(state))
        assert (output.content, output.cost, agent.spec.description) == ("sorted", 2.0, "Sorts lists.")
        assert seen == [SystemState("sort", [("other", AgentOutput("partly", 0.5, {}))], 1, 4)]

    def test_a_terminator_there_declares_what_was_said_last_to_be_the_answer(self) -> None:
        state = TaskState(task=Task(id="1", text="sort"), history=(Activation(agent="other", output=CoreOutput("sorted")),), steps_left=3)
        output = asyncio.run(CoreAgent(TerminatorAgent(), "Ends.").execute(state))
        after = state.after(Activation(agent="TerminatorAgent", output=output))
        assert (after.history[-1].answers, answer(after)) == (True, "sorted")

    def test_an_agent_of_the_sdk_works_here(self) -> None:
        agent = InterfaceAgent(CoreAgent(Doing(lambda state: AgentOutput(f"{len(state.history)} before", 2.0)), "Counts."))
        episode = _run([agent, TerminatorAgent()], 0, 0, 1)
        assert [step.agent_output.content for step in episode.steps] == ["0 before", "1 before", "TERMINATE"]

    def test_an_agent_of_the_sdk_works_where_a_loop_is_running(self) -> None:
        agent = InterfaceAgent(CoreAgent(EchoAgent(), "Echoes."))

        async def run() -> AgentOutput:
            return agent.execute(SystemState("sort", [], 0, 4))

        assert asyncio.run(run()).content == "Echo: sort"

    def test_an_agent_that_a_plugin_offers_works_here(self) -> None:
        episode = Orchestrator([installed_agent("calculator", usd_per_second=0.5), TerminatorAgent()], Scripted(2, 0, 1), RewardConfig()).run_episode(
            SystemState("What is 12 * (3 + 4)?", [], 0, 4)
        )
        output = episode.steps[0].agent_output
        assert output is not None
        assert (output.content, output.cost) == ("84", 0.5)

    def test_an_episode_becomes_a_trajectory(self) -> None:
        agents = [EchoAgent(), Doing(_raise), TerminatorAgent()]
        trajectory = as_trajectory(_run(agents, 0, 1, 2), agents)
        assert [activation.agent for activation in trajectory.state.history] == ["EchoAgent", "doing", "TerminatorAgent"]
        assert [activation.fault for activation in trajectory.state.history] == [None, Fault.RAISED, None]
        assert pytest.approx(trajectory.rewards) == (-0.1, 0.0, 1.0)
        assert pytest.approx(trajectory.probabilities) == (0.5, 0.5, 0.5)
        assert trajectory.succeeded


class _Swallowing(Agent):
    """Calls a model that fails, and says something else."""

    def __init__(self, role: Agent) -> None:
        self.config, self.spec, self._role = NoOptions(), Candidate("swallowing"), role

    async def execute(self, state: TaskState) -> CoreOutput:
        with suppress(AgentError):
            await self._role.execute(state)
        return CoreOutput("I do not know", 0.0)


@pytest.mark.parametrize("swallows", [False, True], ids=["the role itself", "an agent that calls it"])
@pytest.mark.parametrize("waits", [False, True], ids=["run_episode", "arun_episode"])
def test_the_call_of_a_role_that_fails_costs_its_prompt_if_its_server_may_bill_it(serve_model, make_agent, swallows: bool, waits: bool) -> None:
    server = serve_model(lambda body: (200, [1, 2]))  # no usable answer
    role = make_agent("reasoner", endpoint={"provider": "openai", "base_url": server.url, "retries": 0}, prices={"input": 1e6, "output": 1e6})
    agent = InterfaceAgent(_Swallowing(role) if swallows else role)
    orchestrator = Orchestrator([agent], Scripted(1, 0), RewardConfig())
    state = SystemState("sort", [], 0, 1)
    episode = asyncio.run(orchestrator.arun_episode(state)) if waits else orchestrator.run_episode(state)
    sent = sum(len(message["content"]) for message in server.asked[0]["messages"])
    assert episode.steps[0].agent_output.cost == pytest.approx(sent / 4, rel=0.02)
