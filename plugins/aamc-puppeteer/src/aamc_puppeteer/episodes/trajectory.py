"""Finished episodes, as objects and as JSON Lines, one episode a line.

A line has the task's id, text, kind, reference and difficulty, but not its files, documents and verifier. Metadata that JSON
cannot represent is kept as its ``repr``.
"""

from __future__ import annotations

import enum
import json
import math
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task, Verdict

from aamc_sdk.errors import DataError, OutputError
from aamc_sdk.interfaces import AgentOutput
from aamc_sdk.messages import read_errors, write_errors
from aamc_sdk.storage import plain, replacing

STOP = "stop"
"""Name of the policy's action that ends an episode. No agent may have it."""


class Stop(enum.Enum):
    """Why an episode ended."""

    ANSWERED = "answered"
    """An agent marked its output as the answer."""
    STOPPED = "stopped"
    """The policy chose to stop."""
    TRUNCATED = "truncated"
    """No steps were left."""
    OUT_OF_BUDGET = "out_of_budget"
    """The money or the time was used up."""
    FAILED = "failed"
    """The task is empty, or an error ended the work."""
    INTERRUPTED = "interrupted"
    """The work was broken off."""


@attrs.frozen(kw_only=True)
class Trajectory:
    """A finished episode.

    Attributes:
        state: The last state, with all activations.
        stop: Why the episode ended.
        verdict: The verifier's verdict; None if the task has no verifier.
        probabilities: Probability of each action when it was drawn; a decision to stop comes last.
        rewards: Reward of each action, in the order of ``probabilities``; the last is NaN without a verdict.
    """

    state: TaskState
    stop: Stop
    verdict: Verdict | None = None
    probabilities: tuple[float, ...] = ()
    rewards: tuple[float, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the verifier judged the answer correct."""
        return self.verdict is not None and self.verdict.correct

    @property
    def total_reward(self) -> float:
        """The undiscounted sum of the rewards."""
        return sum(self.rewards)


try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]  # known to be a module elsewhere

SCHEMA = 1
_BEGINNING = f'{{"schema": {SCHEMA}, "task": {{"id"'.encode()
"""The first bytes of each written line."""
_NO_EPISODE = (ValueError, KeyError, TypeError, AttributeError)
"""Raised for a line that is not an episode."""
_KEPT = attrs.filters.exclude("public_error")


def write_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> None:
    """Write episodes to a new file atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path) as file:
        for trajectory in trajectories:
            file.write(_line(trajectory))


def append_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> None:
    """Append episodes to a file, which need not exist; an incomplete last line, left by a crash, is removed first.

    Raises:
        OutputError: The file cannot be written, or holds something else.
    """
    content = b"".join(map(_line, trajectories))
    with write_errors(path, "choose another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if fcntl is not None:  # so that a line that another process is writing is not taken for a broken one
                fcntl.flock(file, fcntl.LOCK_EX)
            last = _last_line(file, path)
            if _incomplete(last):
                file.truncate(file.seek(-len(last), os.SEEK_END))
            else:
                file.write(b"\n")
            file.write(content)


def check_trajectories(path: Path) -> None:
    """Check that episodes can be appended to a file, which need not exist.

    Raises:
        OutputError: It cannot be read, or holds something else.
    """
    if path.is_file():
        with write_errors(path, "choose another file"), path.open("rb") as file:
            _last_line(file, path)


def truncate_trajectories(path: Path, episodes: int) -> None:
    """Truncate a file, which need not exist, to its first ``episodes`` episodes."""
    if not path.exists():
        return
    with write_errors(path, "choose another folder"), path.open("rb+") as file:
        for _ in range(episodes):
            file.readline()
        file.truncate(file.tell())


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """Yield the episodes of a file; an incomplete last line is skipped.

    Raises:
        DataError: The file is missing, or a line is not an episode.
    """
    with read_errors(path, "check the path"):
        file = path.open("rb")
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n") and _incomplete(line):
                return
            try:
                yield from_document(json.loads(line))
            except _NO_EPISODE as error:
                raise DataError(f"line {number} of {path} holds no trajectory ({type(error).__name__}: {error})") from error


def to_document(trajectory: Trajectory) -> dict[str, Any]:
    """Return an episode as plain JSON values."""
    state, task = trajectory.state, trajectory.state.task
    return {
        "schema": SCHEMA,
        "task": {"id": task.id, "text": task.text, "kind": task.kind, "reference": task.reference, "difficulty": task.difficulty},
        "activations": [{**attrs.asdict(turn, filter=_KEPT), "fault": turn.fault and turn.fault.value} for turn in state.history],
        "steps_left": state.steps_left,
        "luck": state.seed,
        "stop": trajectory.stop.value,
        "verdict": None if trajectory.verdict is None else attrs.asdict(trajectory.verdict),
        "probabilities": list(trajectory.probabilities),
        "rewards": list(trajectory.rewards),
    }


def from_document(document: Mapping[str, Any]) -> Trajectory:
    """Return the episode of a document; raise KeyError or ValueError for another document."""
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}, not {SCHEMA}")
    history = tuple(_activated(activation) for activation in document["activations"])
    return Trajectory(
        state=TaskState(task=Task(**document["task"]), history=history, steps_left=document["steps_left"], seed=document["luck"]),
        stop=Stop(document["stop"]),
        verdict=None if document["verdict"] is None else Verdict(**document["verdict"]),
        probabilities=tuple(document["probabilities"]),
        rewards=tuple(math.nan if reward is None else reward for reward in document["rewards"]),
    )


def _activated(document: Mapping[str, Any]) -> Activation:
    output, fault = document["output"], document["fault"]
    made = {"output": None if output is None else AgentOutput(**output), "fault": None if fault is None else Fault(fault)}
    return Activation(**{**document, **made})


def _line(trajectory: Trajectory) -> bytes:
    return json.dumps(plain(to_document(trajectory)), default=repr, allow_nan=False).encode() + b"\n"


def _last_line(file: BinaryIO, path: Path) -> bytes:
    """Return all that follows the last newline of a file of episodes, mostly nothing."""
    if not file.seek(0, os.SEEK_END):
        return b""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        first, last = content[: content.find(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
    if (first and not _is_episode(first)) or not (_incomplete(last) or _is_episode(last)):
        raise OutputError(f"{path} holds something other than episodes of a puppeteer; choose another file, as with --trajectory")
    return last


def _is_episode(line: bytes) -> bool:
    try:
        from_document(json.loads(line))
    except _NO_EPISODE:
        return False
    return True


def _incomplete(line: bytes) -> bool:
    """Return whether a line without its newline is only a part of an episode; an editor may have removed the newline of a whole one."""
    if line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False
