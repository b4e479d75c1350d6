from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.analysis.figures import draw_graph, draw_training, save_png
from aamc_puppeteer.analysis.terminal import describe, tree
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

from aamc_sdk import AgentOutput


def _episode(*agents: str, said: str = "4", verdict: Verdict | None = None, stop: Stop = Stop.STOPPED) -> Trajectory:
    history = tuple(Activation(agent=agent, output=AgentOutput(said), seconds=0.002, cost=0.25) for agent in agents)
    return Trajectory(state=TaskState(task=Task(id="1", text="What is 2 + 2?"), history=history), stop=stop, verdict=verdict, rewards=(1.0,))


def _text(*trajectories: Trajectory) -> str:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(tree(trajectories))
    return captured.get()


class TestTrees:
    def test_one_episode_is_a_chain(self) -> None:
        lines = _text(_episode("parser", "calculator", verdict=Verdict(True))).splitlines()
        assert lines[0].rstrip() == "What is 2 + 2?"
        assert "parser  4  0.25 USD, 2 ms" in lines[1]
        assert "calculator" in lines[2]
        assert lines[3].rstrip().endswith("stopped  4  right")

    def test_paths_branch_where_they_part(self) -> None:
        shown = _text(
            _episode("parser", "calculator", verdict=Verdict(True)), _episode("parser", "python", verdict=Verdict(False), stop=Stop.TRUNCATED)
        )
        assert [shown.count(name) for name in ("parser", "calculator", "python", "right", "wrong", "truncated")] == [1] * 6

    def test_an_episode_in_which_nothing_was_done_says_so(self) -> None:
        assert "failed  no answer" in _text(_episode(stop=Stop.FAILED))

    def test_a_failure_is_told_by_its_error(self) -> None:
        line = describe(Activation(agent="web", fault=Fault.RAISED, error="OSError: gone", cost=0.5))
        assert "OSError: gone" in line.plain


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


class TestFigures:
    def test_a_single_episodes_arrows_bear_step_numbers(self) -> None:
        shown = _texts(draw_graph([_episode("parser", "critic", "parser", "critic", "critic")]))
        assert {"2, 4", "3", "parser (2)", "critic (3)\nagain: 5"} <= set(shown)

    def test_several_episodes_arrows_bear_counts(self) -> None:
        shown = _texts(draw_graph([_episode("a", "b"), _episode("a", "b"), _episode("b", "a")], "three"))
        assert {"2", "1", "a (3)", "b (3)"} == set(shown)

    def test_an_empty_episode_is_no_error(self) -> None:
        assert _texts(draw_graph([_episode()])) == ["no agent ran"]

    def test_a_training_has_a_panel_for_each_figure(self) -> None:
        rng = random.Random(0)
        episodes = [_episode(*rng.choices("abc", k=1 + rng.randrange(5)), verdict=Verdict(rng.random() < 0.5)) for _ in range(60)]
        figure = draw_training(episodes, count=6)
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == ["success", "reward", "steps", "cost, USD", "density", "two-cycles an episode", "maximum hub share", "activations"]
        assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == [10, 20, 30, 40, 50, 60]

    def test_a_training_of_one_episode_can_be_drawn(self, tmp_path: Path) -> None:
        save_png(draw_training([_episode("$a_b$", verdict=Verdict(True))]), tmp_path / "one.png")
        assert imread(tmp_path / "one.png").shape[2] == 4

    def test_a_training_in_which_nobody_ran_can_be_drawn(self, tmp_path: Path) -> None:
        save_png(draw_training([_episode(), _episode()]), tmp_path / "none.png")
        assert imread(tmp_path / "none.png").shape[2] == 4

    def test_letters_that_the_font_lacks_can_be_drawn(self, tmp_path: Path) -> None:
        save_png(draw_graph([_episode("\u8a08\u7b97", "b")], "\u8a08\u7b97"), tmp_path / "graph.png")
        assert imread(tmp_path / "graph.png").shape[2] == 4

    def test_png_files_are_written_whole(self, tmp_path: Path) -> None:
        save_png(draw_graph([_episode("a", "b")]), tmp_path / "new" / "graph.png")
        assert imread(tmp_path / "new" / "graph.png").size > 10_000
