"""The parts of a state that the policy sees; a training withholds some of them at random."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.routing import Array32


@attrs.frozen(eq=False)
class Visibility:
    """The parts of B states that the policy sees.

    Attributes:
        described: Whether it sees each agent's name and description; the last row: whether its stop head sees the task, ``[B, M + 1, 2]``.
        present: The agents that can be activated, ``[B, M]``.
    """

    described: Array32
    present: NDArray[np.bool_]

    @classmethod
    def full(cls, states: int, agents: int) -> Visibility:
        """Return the visibility of everything."""
        return cls(np.ones((states, agents + 1, 2), np.float32), np.ones((states, agents), bool))

    @classmethod
    def in_service(cls, known: Sequence[bool], present: NDArray[np.bool_]) -> Visibility:
        """Return what a served policy sees where ``present`` agents ``[B, M]`` can be activated: all descriptions, and the names of ``known`` agents.

        Where an agent is not known from the training, the stop head does not see the task: the new one may solve what no agent could.
        """
        seen = cls.full(*present.shape)
        seen.described[:, :-1, 0] = known
        seen.described[:, -1, 0] = ~(present & ~np.array(known, bool)).any(axis=1)
        return cls(seen.described, present)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Visibility:
        """Return some rows."""
        return Visibility(self.described[rows], self.present[rows])


def drawn_presence(rng: np.random.Generator, episodes: int, agents: int, share: float) -> NDArray[np.bool_]:
    """Return the present agents, ``[N, M]``: all, but in a share of the episodes about half of them, at least one."""
    present = rng.random((episodes, agents)) < 0.5
    present[np.arange(episodes), rng.integers(agents, size=episodes)] = True
    present[rng.random(episodes) >= share] = True
    return present


def drawn_descriptions(rng: np.random.Generator, episodes: int, agents: int, share: float) -> Array32:
    """Return the visible names and descriptions of the agents, and last whether the stop head sees the task, ``[N, M + 1, 2]``.

    A share of agents has no visible name, half of them no visible description. In the same share of episodes the stop head does
    not see the task.
    """
    drawn = rng.random((episodes, agents + 1, 1))
    return np.asarray(drawn >= (share, share / 2), np.float32)
