from __future__ import annotations

import json
import math
from pathlib import Path

import attrs
import pytest
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_puppeteer.episodes.player import Running
from aamc_puppeteer.episodes.rewards import EpisodeReward
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory, append_trajectories, check_trajectories, read_trajectories, write_trajectories

from aamc_sdk import AgentOutput
from aamc_sdk.errors import DataError, OutputError

TASK = Task(id="sum-1", text="What is 2 + 2?\n\u2028 \ud800", kind="sums", reference="4", difficulty=2)
EPISODE = Trajectory(
    state=TaskState(
        task=TASK,
        history=(
            Activation(agent="parser", fault=Fault.TIMEOUT, error="gave no answer in 1 s", seconds=1.25, cost=0.1),
            Activation(agent="calculator", output=AgentOutput("4", 1 / 3, {"tokens": 7, "cut": None}), seconds=0.1, cost=1 / 3),
        ),
        steps_left=3,
        seed=2**61 + 1,
    ),
    stop=Stop.STOPPED,
    verdict=Verdict(True, "equal"),
    probabilities=(0.1, 0.7, 1e-300),
    rewards=(-0.1, 0.0, 1.0),
)
UNJUDGED = Trajectory(state=TaskState(task=Task(id="2", text="Sort.")), stop=Stop.FAILED)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_trajectories(tmp_path / "all.jsonl", [EPISODE, UNJUDGED])
    assert list(read_trajectories(tmp_path / "all.jsonl")) == [EPISODE, UNJUDGED]
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 2


def test_the_unknown_reward_of_an_answer_without_verdict_is_null(tmp_path: Path) -> None:
    state = TaskState(task=TASK, history=EPISODE.state.history)
    episode = Running(0, state, Stop.STOPPED, costs=[0.0, 0.25, 0.0]).finished(None, EpisodeReward(cost_weight=2.0, failure=-1.0))
    write_trajectories(tmp_path / "all.jsonl", [episode])
    assert json.loads((tmp_path / "all.jsonl").read_text())["rewards"] == [0.0, -0.5, None]
    (back,) = read_trajectories(tmp_path / "all.jsonl")
    assert back.rewards == pytest.approx([0.0, -0.5, math.nan], nan_ok=True)


def test_episodes_can_be_added_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "all.jsonl"
    append_trajectories(path, [EPISODE])
    append_trajectories(path, [])
    append_trajectories(path, [UNJUDGED, EPISODE])
    assert list(read_trajectories(path)) == [EPISODE, UNJUDGED, EPISODE]


@pytest.mark.parametrize("length", [1, 100, 70_000])
def test_a_line_that_a_crash_left_half_written_is_passed_over_and_then_cut_off(tmp_path: Path, length: int) -> None:
    path = tmp_path / "all.jsonl"
    write_trajectories(path, [attrs.evolve(UNJUDGED, state=TaskState(task=Task(id="long", text="x" * 80_000)))])
    half = path.read_bytes()[:length]
    write_trajectories(path, [EPISODE])
    with path.open("ab") as file:
        file.write(half)
    assert list(read_trajectories(path)) == [EPISODE]
    append_trajectories(path, [UNJUDGED])
    assert list(read_trajectories(path)) == [EPISODE, UNJUDGED]


def test_an_episode_without_its_newline_stays(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    write_trajectories(path, [UNJUDGED, EPISODE])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert list(read_trajectories(path)) == [UNJUDGED, EPISODE]
    append_trajectories(path, [UNJUDGED])
    assert list(read_trajectories(path)) == [UNJUDGED, EPISODE, UNJUDGED]


@pytest.mark.parametrize(
    "content",
    [
        '{"note": "important"}',
        "a, b\n1, 2\n",
        '{"schema": 1}\n# a note',
        '{"schema": 1, "router": "ppo", "figures": {}}\n',
        '{"schema": 1, "task": "x",\n"answer": 2,\n',
        '{"schema": 1, "note": "important", x: 1}',
    ],
)
def test_a_file_that_holds_something_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text(content)
    with pytest.raises(OutputError, match="holds something other than episodes of a puppeteer; choose another file"):
        append_trajectories(path, [EPISODE])
    with pytest.raises(OutputError, match="holds something other than episodes of a puppeteer; choose another file"):
        check_trajectories(path)
    with pytest.raises(DataError, match="holds no trajectory"):
        list(read_trajectories(path))
    assert path.read_text() == content


@pytest.mark.parametrize("end", ["\n", ""])
def test_episodes_may_be_added_to_lines_that_another_program_wrote(tmp_path: Path, end: str) -> None:
    path = tmp_path / "all.jsonl"
    write_trajectories(path, [EPISODE])
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True) + end)
    append_trajectories(path, [UNJUDGED])
    assert list(read_trajectories(path)) == [EPISODE, UNJUDGED]


def test_a_file_with_nothing_but_half_a_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_bytes(b'{"schema"')
    append_trajectories(path, [EPISODE])
    assert list(read_trajectories(path)) == [EPISODE]


def test_nothing_is_written_where_one_episode_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    write_trajectories(path, [UNJUDGED])
    with pytest.raises(AttributeError):
        write_trajectories(path, [EPISODE, None])  # type: ignore[list-item]  # on purpose
    assert list(read_trajectories(path)) == [UNJUDGED]


def test_metadata_that_json_lacks_is_kept_as_text(tmp_path: Path) -> None:
    said = AgentOutput("x", 0.0, {"set": {2}, "object": complex(1, 2), "nan": math.nan})
    state = TaskState(task=Task(id="1", text="t"), history=(Activation(agent="a", output=said),))
    write_trajectories(tmp_path / "all.jsonl", [Trajectory(state=state, stop=Stop.TRUNCATED)])
    (back,) = read_trajectories(tmp_path / "all.jsonl")
    assert back.state.outputs[0].metadata == {"set": [2], "object": "(1+2j)", "nan": None}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 .* holds no trajectory"),
        ("[]", "line 2"),
        ('{"schema": 2}', "schema is 2, not 1"),
        ('{"schema": 1}', "KeyError"),
        (json.dumps({"schema": 1, "activations": [{"agent": "a"}]}), "KeyError"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "all.jsonl"
    write_trajectories(path, [EPISODE])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=words):
        list(read_trajectories(path))


def test_a_file_that_is_missing_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.jsonl"):
        list(read_trajectories(tmp_path / "none.jsonl"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        append_trajectories(tmp_path / "file" / "all.jsonl", [EPISODE])
