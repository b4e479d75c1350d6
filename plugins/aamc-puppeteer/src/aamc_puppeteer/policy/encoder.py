"""The policy's features: the task, the activations so far, and each agent's description.

There is no hash of a whole task and no index of an agent: an agent is its description and its turns in this episode.
B states, M agents, D width of the estimator's embedding, W = 64 width of a text's hashed words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import attrs
import numpy as np
from aamc_agents.state import Activation, Fault, TaskState
from aamc_lexical.quality import unit_rows
from numpy.typing import NDArray

from aamc_sdk.routing import Array32, hash_terms
from aamc_sdk.types import Candidate, read_only

WORDS = 64
NAME = 32
LENGTH = 4.0
"""Norm of a text's hashed words, so that each weighs about as much as one dimension of the embedding."""
_MIN_DEVIATION = 0.05
"""Minimum deviation of cosines: below it, differences between agents are noise."""
_MAX_CHARACTERS = 2000
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
STATE_NUMBERS = ("activations", "few_left", "last_one", "steps_left", "cost", "said_something", "agents_used", "output_length")
"""The first scalar features of a state; one for each fault of the last activation follows."""
PAIR_NUMBERS = (
    "ran",
    "runs",
    "ran_last",
    "ran_before",
    "failed_last",
    "cost",
    "output_words",
    "task_words",
    "task_meaning",
    "best_words",
    "best_meaning",
)
"""Features of an agent in a state: its turns so far, the similarity of its description to the last output relative to the present
agents', and its similarity to the task by words and by embedding, absolute and relative. They apply to unseen agents too."""

Embed = Callable[[Sequence[str]], Array32]


@attrs.frozen(eq=False)
class StateFeatures:
    """Features of B states: ``state [B, S]`` and ``pair [B, M, 11]``."""

    state: Array32
    pair: Array32

    def take(self, rows: NDArray[np.intp]) -> StateFeatures:
        """Return some rows."""
        return StateFeatures(self.state[rows], self.pair[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[StateFeatures]) -> StateFeatures:
        """Return the rows of several, one after the other."""
        return cls(np.concatenate([part.state for part in parts]), np.concatenate([part.pair for part in parts]))


@lru_cache(maxsize=8192)
def hashed_words(text: str, buckets: int = WORDS) -> Array32:
    """Return a text's hashed words, ``[W]``."""
    tokens = _TOKEN.findall(text[:_MAX_CHARACTERS].lower())
    counts = Counter(tokens)
    counts.update("<number>" for token in tokens if token.isdecimal())
    vector = hash_terms({token: 1 + np.log(count) for token, count in counts.items()}, buckets, np.float32)
    length = float(np.linalg.norm(vector))
    vector *= LENGTH / length if length else 1
    return read_only(vector)


def described(agent: Candidate) -> str:
    """Return an agent's description and abilities as one text."""
    return " ".join((agent.description, *(f"ability:{ability}" for ability in sorted(agent.abilities)))).strip()


class Encoder:
    """Computes the features of states for one set of agents; ``embed`` is the estimator's embedding of texts, ``[B, D]``."""

    def __init__(self, agents: Sequence[Candidate], embed: Embed) -> None:
        self._embed = embed
        self._tasks: dict[str, Array32] = {}
        self._places = {agent.name: place for place, agent in enumerate(agents)}
        texts = [described(agent) for agent in agents]
        self._words = np.stack([hashed_words(text) for text in texts])
        self._meaning: Array32 = np.asarray(unit_rows(embed([text or agent.name for text, agent in zip(texts, agents, strict=True)])), np.float32)
        self.width = self._meaning.shape[1]
        self.names = np.stack([hashed_words(agent.name, NAME) for agent in agents])
        self.descriptions = np.concatenate((self._words, self._meaning * LENGTH), axis=1)

    def learn_tasks(self, texts: Sequence[str]) -> None:
        """Embed tasks of a training in advance, in one batch, and keep their embeddings; others are embedded when they are encoded."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tasks]
        if new:
            self._tasks.update(zip(new, self._embed(new), strict=True))

    def encode(self, states: Sequence[TaskState], present: NDArray[np.bool_] | None = None) -> StateFeatures:
        """Return the features of B states; only the agents in ``present [B, M]`` count for similarities relative to others (default: all)."""
        texts = [state.task.text for state in states]
        new = [text for text in dict.fromkeys(texts) if text not in self._tasks]
        known = {**self._tasks, **dict(zip(new, self._embed(new), strict=True))} if new else self._tasks
        tasks, task_words = np.stack([known[text] for text in texts]), np.stack([hashed_words(text) for text in texts])
        said = [_last_outputs(state) for state in states]
        last, before = (np.stack([hashed_words(texts[place]) for texts in said]) for place in (0, 1))
        pair = np.zeros((len(states), len(self._places), len(PAIR_NUMBERS)), np.float32)
        compared = np.ones(pair.shape[:2], bool) if present is None else present
        ran = np.zeros((len(states), 2, WORDS), np.float32)
        for row, state in enumerate(states):
            self._write_turns(state.history, pair[row], ran[row])
        pair[:, :, 6] = _relative(last @ self._words.T / LENGTH**2, compared)
        pair[:, :, 7] = 2 * task_words @ self._words.T / LENGTH**2
        with np.errstate(invalid="ignore"):  # OpenBLAS may raise it for finite numbers, from lanes that a narrow matrix leaves unused
            pair[:, :, 8] = 2 * unit_rows(tasks) @ self._meaning.T
        pair[:, :, 9] = _relative(pair[:, :, 7], compared)
        pair[:, :, 10] = _relative(pair[:, :, 8], compared)
        numbers = np.array([_numbers(state, texts[0]) for state, texts in zip(states, said, strict=True)], np.float32)
        return StateFeatures(np.concatenate((tasks, last, before, ran[:, 0], ran[:, 1], numbers), axis=1), pair)

    def _write_turns(self, history: Sequence[Activation], pair: Array32, ran: Array32) -> None:
        """Write the turns into ``pair [M, 11]``, and the words of the last agent and the mean of all agents' into ``ran [2, W]``."""
        known = [(self._places[turn.agent], turn) for turn in history if turn.agent in self._places]
        for place, turn in known:
            numbers = pair[place]
            numbers[0] = 1
            numbers[1] += 0.5
            numbers[4] = turn.output is None
            numbers[5] += turn.cost
        if known:
            places = [place for place, _ in known]
            pair[places[-1], 2] = 1
            if len(places) > 1:
                pair[places[-2], 3] = 1
            pair[:, 5] = np.log1p(pair[:, 5])
            ran[0] = self._words[places[-1]]
            ran[1] = self._words[places].mean(axis=0)


def state_width(embedding: int) -> int:
    """Return S, the number of features of a state."""
    return embedding + 4 * WORDS + len(STATE_NUMBERS) + len(Fault)


def _last_outputs(state: TaskState) -> tuple[str, str]:
    outputs = state.outputs
    return outputs[-1].content if outputs else "", outputs[-2].content if len(outputs) > 1 else ""


def _numbers(state: TaskState, output: str) -> list[float]:
    history = state.history
    left = state.steps_left
    used = len({turn.agent for turn in history})
    fault = history[-1].fault if history else None
    said = any(turn.output is not None for turn in history)
    numbers = [len(history) / 4, 1 / (1 + left), left == 1, min(left, 16) / 8, np.log1p(state.cost), said, used / 4, np.log1p(len(output)) / 4]
    return [*map(float, numbers), *(float(fault is each) for each in Fault)]


def _relative(similarity: Array32, present: NDArray[np.bool_]) -> Array32:
    """Return each agent's similarity ``[B, M]`` relative to those of the present agents, in standard deviations."""
    deviation = np.maximum(similarity.std(axis=1, keepdims=True, where=present), _MIN_DEVIATION)
    return np.asarray((similarity - similarity.mean(axis=1, keepdims=True, where=present)) / deviation)
