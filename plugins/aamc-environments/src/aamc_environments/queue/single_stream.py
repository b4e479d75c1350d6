"""A single stream under load, computed in Python numbers: on arrays of one, numpy's overhead would be most of the time.

The trajectory is bit by bit that of :class:`QueueStreams`, which handles rare cases: events, bursts, actions that are not allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_environments.queue.events import Schedule
from aamc_environments.queue.queue_streams import Arrivals, QueueStreams, TrueOutcomes
from aamc_environments.resources import Resource
from aamc_environments.streams import StepDraws, StreamSetup
from aamc_sdk import Outcomes, Reward
from aamc_sdk.routing import Array32, LinearReward, Scale
from aamc_sdk.types import Floats

Objectives = Callable[[float, float, float], tuple[float, float, float]]
"""From quality, cost in USD and latency in ms to a reward's three objectives."""


def objectives_function(reward: Reward) -> Objectives:
    """Return :meth:`aamc_sdk.interfaces.Reward.vector` for one outcome, by the default reward's formula if it is the default reward."""
    if type(reward) is LinearReward:  # a subclass may have another formula
        cheapness, quickness = _scaled(reward.cost), _scaled(reward.latency)
        return lambda quality, cost_usd, latency_ms: (quality, cheapness(cost_usd), quickness(latency_ms))
    return lambda *outcome: tuple(reward.vector(Outcomes(*np.array(outcome)[:, None]))[0].tolist())


def _scaled(scale: Scale) -> Callable[[float], float]:
    """Return :meth:`Scale.goodness` for one value."""
    maximum, span = scale.maximum, scale.maximum - scale.minimum
    return (lambda value: 0.0) if span <= 0 else (lambda value: (maximum - value) / span)


class SingleQueueStream(QueueStreams):
    """One stream whose candidates are queues; see :class:`QueueStreams`."""

    def __init__(self, setup: StreamSetup, truth: TrueOutcomes, arrivals: Arrivals, schedule: Schedule, resource: Resource | None = None) -> None:
        super().__init__(setup, truth, arrivals, schedule, resource)
        self._objectives = objectives_function(setup.reward)

    def advance(self, action: int) -> tuple[float, dict[str, Any]]:
        """Serve the present query by a candidate, and let the next query arrive; return the reward and the info.

        Raises:
            InvalidAction: The action is not a candidate's number.
        """
        candidates, row = self.backlog_ms.shape[1], self.row.item()
        cell = row * candidates + action
        if self.resource is not None or not (0 <= action < candidates and self._allowed.item(cell)):
            rewards, infos = super()._advance(self._checked(np.array([action])))
            return rewards.item(), {key: values[0] for key, values in infos.items()}
        quality, cost_usd, latency_ms = self._outcome(action, cell)
        vector = self._objectives(quality, cost_usd, latency_ms)
        reward = self._scalar_reward(vector)
        self._advance_clock()
        seen = {"vector_reward": np.array(vector), "quality": quality, "cost_usd": cost_usd, "latency_ms": latency_ms}
        return reward, seen | {"row": row, "masked": False}

    def observe(self) -> Array32:
        """Return the observation of the present query, ``[width]``."""
        if self.resource is not None or self.arrivals.warning:
            return np.asarray(self.observation()[0])
        return self.observer.observe(self.row[0], self.setup.preferences.present[0], self.backlog_ms[0])

    def _outcome(self, action: int, cell: int) -> tuple[float, float, float]:
        """Return quality, cost and latency; see :meth:`QueueStreams._serve`."""
        chance, prompt_usd, answer_usd = self._flat_tables[:, cell].tolist()
        service_ms = self._draws.service * self.service_ms.item(action) * self.service_factors.item(self.row.item())
        wait_ms = self.backlog_ms.item(action)
        self.backlog_ms[0, action] = wait_ms + service_ms
        quality = 1.0 if self._draws.success < chance else 0.0
        return quality, prompt_usd + answer_usd * (0.5 + self._draws.length), wait_ms + service_ms + self._network_ms.item(action)

    def _scalar_reward(self, vector: tuple[float, float, float]) -> float:
        """Return the reward of a query's objectives under its preference; objectives of weight 0 may be NaN."""
        weights = self.setup.reward.weights(self.setup.preferences.present)[0].tolist()
        reward = 0.0  # not sum(), which rounds differently from numpy since Python 3.12
        for weight, objective in zip(weights, vector, strict=True):
            if weight > 0:
                reward += weight * objective
        return reward

    def _advance(self, actions: NDArray[np.intp]) -> tuple[Floats, dict[str, Any]]:
        reward, info = self.advance(actions.item())
        return np.array([reward]), {key: np.array([value]) for key, value in info.items()}

    def _draws_of(self, exponentials: Floats, uniforms: Floats) -> list[StepDraws]:
        return list(map(StepDraws, *exponentials[:, :, 0].T.tolist(), *uniforms[:, :, 0].T.tolist()))
