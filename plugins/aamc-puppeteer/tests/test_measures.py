from __future__ import annotations

import itertools
import math

import networkx as nx
import pytest
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.analysis.measures import Topology, activation_graph, episodes_to_learn, evolution, gain, in_words, summarise, windows
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory

from aamc_sdk import AgentOutput

NUMBERS = itertools.count()


def episode(
    agents: str, correct: bool | None = True, cost: float = 0.5, tokens: int = 10, reward: float = 1.0, text: str = "", file: str = ""
) -> Trajectory:
    """Return an episode whose agents are single letters; without a text it has a question of its own."""
    task = Task(id="1", text=text or f"question {next(NUMBERS)}", files={"file": file})
    said = AgentOutput("x", cost, {"tokens": tokens})
    history = tuple(Activation(agent=agent, output=said, cost=cost) for agent in agents)
    verdict = None if correct is None else Verdict(correct)
    return Trajectory(state=TaskState(task=task, history=history), stop=Stop.STOPPED, verdict=verdict, rewards=(reward,))


class TestSummaries:
    def test_the_figures_are_those_of_hand_and_paper(self) -> None:
        found = summarise([episode("ab", True, 0.5, 10, 1.0), episode("aaab", False, 0.25, 20, -1.0)])
        assert found["episodes"] == 2
        assert (found["success_rate"], found["mean_reward"], found["mean_steps"]) == (0.5, 0.0, 3.0)
        assert (found["mean_cost_usd"], found["mean_tokens"]) == (1.0, 50.0)
        assert (found["cost_usd_per_success"], found["tokens_per_success"]) == (2.0, 100.0)
        assert found["utilisation"] == pytest.approx({"a": 4 / 6, "b": 2 / 6})
        assert (found["stops"], found["faults"]) == ({"stopped": 2}, 0)

    def test_every_mean_has_an_interval_around_it(self) -> None:
        found = summarise([episode("a" * (1 + n % 3), n % 2 == 0, reward=n) for n in range(40)])
        for name, (low, high) in found["ci95"].items():
            assert low < found[name] < high

    def test_a_success_rate_of_one_has_the_exact_interval(self) -> None:
        found = summarise([episode("a", True) for _ in range(10)])
        assert found["ci95"]["success_rate"] == pytest.approx([0.025**0.1, 1.0])

    def test_episodes_of_one_question_say_no_more_than_one(self) -> None:
        once = [episode("a" * (1 + n % 3), n % 2 == 0, reward=n, text=f"Question {n}") for n in range(10)]
        repeated = [episode("a" * (1 + n % 3), n % 2 == 0, reward=n, text=f" question  {n}") for _ in range(20) for n in range(10)]
        found, expected = summarise(repeated), summarise(once)
        assert (found["episodes"], found["questions"], expected["questions"]) == (200, 10, 10)
        low, high = found["ci95"]["success_rate"]  # that of ten single episodes is exact
        assert high - low == pytest.approx(5 / 7)  # of seven drawn questions
        for name in found["ci95"].keys() - {"success_rate"}:
            assert found["ci95"][name] == pytest.approx(expected["ci95"][name]), name
        assert gain(repeated, repeated[::-1])["ci95"] == pytest.approx(gain(once, once[::-1])["ci95"])
        assert in_words(found).startswith("200 tasks, 10 questions: success 50% [")
        assert summarise([episode("a", False, text="Add them") for _ in range(3)])["ci95"]["success_rate"] is None

    def test_a_question_about_another_file_is_another_question(self) -> None:
        assert summarise([episode("a", text="Add them", file=content) for content in ("1 2", "1 2", "3 4")])["questions"] == 2

    def test_without_a_success_each_is_infinitely_dear(self) -> None:
        found = summarise([episode("a", False), episode("b", False)])
        assert found["cost_usd_per_success"] == math.inf
        assert found["success_rate"] == 0.0

    def test_without_a_verifier_nobody_knows_of_success_and_reward(self) -> None:
        found = summarise([episode("a", None), episode("b", True)])
        assert math.isnan(found["success_rate"])
        assert math.isnan(found["mean_reward"])
        assert found["ci95"]["success_rate"] is found["ci95"]["mean_reward"] is None
        assert found["mean_steps"] == 1.0
        assert in_words(found) == "2 tasks without a verdict on each answer: 1.0 steps, 0.5000 USD, busiest a (50%)"

    def test_activations_that_failed_are_counted(self) -> None:
        failed = Activation(agent="a", fault=Fault.RAISED, error="no", cost=0.25)
        state = TaskState(task=Task(id="1", text="t"), history=(failed,))
        found = summarise([Trajectory(state=state, stop=Stop.TRUNCATED, verdict=Verdict(False), rewards=(0.0,))])
        assert (found["faults"], found["mean_cost_usd"]) == (1, 0.25)

    def test_no_episode_has_no_figures(self) -> None:
        assert summarise([]) == {"episodes": 0}
        assert in_words(summarise([])) == "no episode"

    def test_in_words_they_are_a_line(self) -> None:
        told = in_words(summarise([episode("ab", True), episode("a", True)]))
        assert told == "2 tasks: success 100% [16%, 100%], reward 1.000, 1.5 steps, 0.7500 USD per success, busiest a (67%)"
        assert "success 100%, reward" in in_words(summarise([episode("a")]))
        assert "busiest nobody" in in_words(summarise([episode("")]))


class TestConvergence:
    @pytest.mark.parametrize(
        ("values", "window", "expected"),
        [
            ([0] * 10 + [1] * 10, 1, 11),
            ([0] * 10 + [1] * 10, 5, 15),
            ([1] * 20, 5, 5),
            ([0.2] * 5 + [0.45] * 5 + [0.5] * 10, 1, 6),
            ([0] * 20, 5, None),
            ([], None, None),
            ([1], None, 1),
        ],
    )
    def test_episodes_to_ninety_per_cent_of_the_final_value(self, values: list[float], window: int | None, expected: int | None) -> None:
        assert episodes_to_learn(values, window) == expected

    def test_windows_cover_every_episode_once_in_order(self) -> None:
        episodes = [episode("a", reward=n) for n in range(7)]
        found = list(windows(episodes, 3))
        assert [end for end, _ in found][-1] == 7
        assert [one for _, part in found for one in part] == episodes
        assert [len(part) for _, part in windows(episodes, 20)] == [1] * 7


class TestTopology:
    def test_nodes_and_edges_are_counted(self) -> None:
        graph = activation_graph([episode("abab"), episode("ba"), episode("")])
        assert graph.agents == {"a": 3, "b": 3}
        assert graph.transitions == {("a", "b"): 2, ("b", "a"): 2}

    @pytest.mark.parametrize(
        ("agents", "density", "two_cycles"),
        [("", 0.0, 0), ("a", 0.0, 0), ("aaa", 0.0, 0), ("ab", 0.5, 0), ("aba", 1.0, 1), ("abc", 2 / 6, 0), ("abcabacbc", 1.0, 3), ("abca", 0.5, 0)],
    )
    def test_density_and_two_cycles(self, agents: str, density: float, two_cycles: int) -> None:
        shape = Topology.of(activation_graph([episode(agents)]))
        assert shape.density == pytest.approx(density)
        assert shape.two_cycles == two_cycles

    def test_density_is_networkxs_where_no_agent_follows_itself(self) -> None:
        graph = activation_graph([episode("abcadbce"), episode("edab")])
        assert Topology.of(graph).density == pytest.approx(nx.density(nx.DiGraph(list(graph.transitions))))

    def test_a_hub_takes_part_in_most_transitions(self) -> None:
        shape = Topology.of(activation_graph([episode("abaca")]))
        assert shape.hubs == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.5})
        assert shape.hub_share == 1.0
        assert Topology.of(activation_graph([])).hub_share == 0.0

    def test_it_is_followed_over_training(self) -> None:
        first, last = evolution([episode("abc"), episode("abcd"), episode("aba"), episode("aba")], 2)
        assert (first["episode"], last["episode"]) == (2, 4)
        assert first["density"] == pytest.approx((2 / 6 + 3 / 12) / 2)
        assert (first["two_cycles"], last["two_cycles"]) == (0.0, 1.0)
        assert (last["density"], last["hub_share"]) == (1.0, 1.0)
