from __future__ import annotations

from pathlib import Path

from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory, read_trajectories
from aamc_puppeteer.training.training_record import EPISODES, TrainingRecord

from aamc_sdk import AgentOutput


def _episodes(*numbers: int, right: bool = True) -> list[Trajectory]:
    history = (Activation(agent="a", output=AgentOutput("x")), Activation(agent="b", output=AgentOutput("y")))
    states = [TaskState(task=Task(id=str(number), text="t"), history=history) for number in numbers]
    return [Trajectory(state=state, stop=Stop.STOPPED, verdict=Verdict(right)) for state in states]


def _kept(folder: Path) -> list[str]:
    return [trajectory.state.task.id for trajectory in read_trajectories(folder / EPISODES)]


def test_episodes_are_kept_in_their_order(tmp_path: Path) -> None:
    record = TrainingRecord(tmp_path, episodes=2)
    record(0, _episodes(1, 2))
    record(1, _episodes(3, 4))
    assert _kept(tmp_path) == ["1", "2", "3", "4"]


def test_a_training_that_goes_on_plays_what_its_checkpoint_did_not_hold_anew(tmp_path: Path) -> None:
    first = TrainingRecord(tmp_path, episodes=2)
    for update in range(3):
        first(update, _episodes(2 * update, 2 * update + 1))
    again = TrainingRecord(tmp_path, episodes=2)
    again(1, _episodes(12, 13))
    again(2, _episodes(14, 15))
    assert _kept(tmp_path) == ["0", "1", "12", "13", "14", "15"]


def test_its_figures_say_how_soon_the_policy_had_learned(tmp_path: Path) -> None:
    record = TrainingRecord(tmp_path, episodes=10)
    record(0, _episodes(*range(10), right=False))
    for update in range(1, 4):
        record(update, _episodes(*range(10)))
    figures = record.figures()
    assert figures["episodes_to_90_percent"] == 14
    assert figures["steps"] == 80
    assert len(figures["topology"]) == 20


def test_what_is_kept_in_the_end_lies_with_the_policy(tmp_path: Path) -> None:
    record = TrainingRecord(tmp_path / "resume", episodes=2)
    (tmp_path / "part").mkdir()
    record.save(tmp_path / "part")
    assert not list((tmp_path / "part").iterdir())
    record(0, _episodes(1, 2))
    record.save(tmp_path / "part")
    assert _kept(tmp_path / "part") == ["1", "2"]
    assert (tmp_path / "part" / "figures" / "training.png").stat().st_size > 10_000
