"""Relative values of one shared resource, by policy iteration (Howard 1960) on a discretised Markov decision process.

The state is the outstanding work x of a server or token bucket, and the phase of arrivals. At each query the resource serves it, for a reward
that falls with x, or the query goes elsewhere for a fixed reward. Naor (1969) is the case of one type of query: the best policy is a threshold.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.errors import AamcError
from aamc_sdk.types import Floats

STATES = 160
"""States of the grid of work."""
SIZE_CLASSES = 4
"""Classes of queries by the work that they bring."""
MAX_ITERATIONS = 60
OPEN = 0.85
"""Share of the grid beyond free work in which queries may use the resource: at its end more work would cost nothing, so use without end would pay."""


class NotConvergedError(AamcError):
    """Raised when the computation of a reference policy does not converge."""


@attrs.frozen(eq=False, kw_only=True)
class SharedResource:
    """A resource and the K types of queries, equally frequent, that may use it.

    Attributes:
        use: Reward of using it without a wait, ``[K]``.
        size: Work that a query brings, ``[K]``.
        loss: Loss of reward by the wait at work x ``[N]`` for queries of a size: a function of both.
        drain: Work done in a unit of time at work x, a function.
        gaps: Mean time between queries by phase, ``[P]``.
        transitions: Chances of the phases from query to query, ``[P, P]``.
        free: Work up to which no call waits.
        stages: Stages of a call's Erlang-distributed work: 1 for exponential, more for nearly constant.
    """

    use: Floats
    size: Floats
    loss: Callable[[Floats, float], Floats]
    drain: Callable[[Floats], Floats]
    gaps: Floats
    transitions: Floats
    stages: int = 1
    free: float = 0.0


@attrs.frozen(eq=False)
class RelativeValues:
    """The solution of a resource.

    Attributes:
        grid: Work, ``[N]``.
        after: Value of continuing after a query that went elsewhere, by phase and work, ``[P, N]``.
        after_use: The same after a query of each class was served, ``[P, C, N]``.
        sizes: The mean work of each class, ``[C]``.
        gain: Mean reward of a query.
        price: Mean loss that each type of query pays and causes at the resource, ``[K]``.
    """

    grid: Floats
    after: Floats
    after_use: Floats
    sizes: Floats
    gain: float
    price: Floats

    def cost_of_use(self, phase: NDArray[np.intp], work: Floats, size: Floats) -> Floats:
        """Return the expected loss of later queries if the resource serves the present ones, ``[n]``; sizes count in proportion."""
        step = self.grid[1]
        below = np.clip((work / step).astype(int), 0, len(self.grid) - 2)
        part = np.clip(work / step - below, 0.0, 1.0)
        classes = np.abs(self.sizes[:, None] - size).argmin(axis=0)

        after, use = self.after[phase, below] * (1 - part) + self.after[phase, below + 1] * part, self.after_use
        used = use[phase, classes, below] * (1 - part) + use[phase, classes, below + 1] * part
        return np.asarray((after - used) * size / self.sizes[classes])


def solve(resource: SharedResource, other: Floats, limit: float) -> RelativeValues:
    """Return the relative values of a resource against the best alternative's reward ``[K]``, up to a limit of work beyond which no query uses it.

    Raises:
        NotConvergedError: Policy iteration does not end.
    """
    grid = np.linspace(0.0, limit, STATES)
    groups = [part for part in np.array_split(np.argsort(resource.size), SIZE_CLASSES) if len(part)]
    sizes = np.array([resource.size[part].mean() for part in groups])
    up = np.stack([_service(grid, size, resource.stages) for size in sizes])
    down = np.stack([_gap(grid, resource.drain(grid), gap) for gap in resource.gaps])
    phases, states = len(resource.gaps), len(grid)
    ahead = (resource.transitions[:, None, :, None] * down.swapaxes(0, 1)[None]).reshape(phases, states, phases * states)  # [P, N, P N]
    loss = np.stack([resource.loss(grid, size) for size in sizes])
    uses: Floats = np.zeros((phases, len(groups), states))  # share of a class that uses the resource
    values: Floats = np.zeros((phases, states))
    gain = 0.0
    for _ in range(MAX_ITERATIONS):
        after = ahead @ values.ravel()
        after_use = np.einsum("cij,pj->pci", up, after)
        margin = np.where(grid <= resource.free + OPEN * (limit - resource.free), after_use - loss - after[:, None], -np.inf)
        found, reward = _improved(resource, other, groups, loss, margin)
        if np.abs(found - uses).max() < 1e-9 and gain:
            break
        uses = found
        values, gain, chain = _evaluate(uses, reward, up, ahead, np.array([len(part) for part in groups]) / len(other))
    else:
        raise NotConvergedError(f"the reference policy does not converge in {MAX_ITERATIONS} iterations; try another load, world or preference")
    after = ahead @ values.ravel()
    after_use = np.einsum("cij,pj->pci", up, after)
    price = np.empty(len(other))
    stationary = _stationary(chain).reshape(phases, states)
    for c, part in enumerate(groups):
        price[part] = (stationary * (loss[c] + after - after_use[:, c])).sum() * resource.size[part] / sizes[c]
    return RelativeValues(grid, after, after_use, sizes, gain, price)


def _improved(resource: SharedResource, other: Floats, groups: list[NDArray[np.intp]], loss: Floats, margin: Floats) -> tuple[Floats, Floats]:
    """Return the best policy against the present values: the share of each class that uses the resource, ``[P, C, N]``, and rewards ``[P, N]``.

    ``groups`` are the types of the C classes, ``loss`` is that by the wait, ``[C, N]``, and ``margin`` the value of use over going elsewhere, rewards
    apart, ``[P, C, N]``; it is minus infinity where use is not allowed.
    """
    shares, reward = np.empty_like(margin), np.zeros((margin.shape[0], margin.shape[2]))
    for c, part in enumerate(groups):
        wins = (resource.use[part] - other[part])[:, None, None] + margin[:, c] > 0  # [k, P, N]
        shares[:, c] = wins.mean(axis=0)
        gained = np.where(wins, resource.use[part][:, None, None] - loss[c], other[part][:, None, None])
        reward += gained.sum(axis=0) / len(other)
    return shares, reward


def _service(grid: Floats, size: float, stages: int) -> Floats:
    """Return the chances ``[N, N]`` of the work after a call that brings Erlang-distributed work; work beyond the grid counts as its end."""
    jump = size / stages / grid[1]
    chain = np.eye(len(grid)) * (1 + jump) - np.eye(len(grid), k=1) * jump
    chain[-1, -1] = 1.0
    return np.asarray(np.linalg.matrix_power(np.linalg.inv(chain), stages))


def _gap(grid: Floats, drain: Floats, gap: float) -> Floats:
    """Return the chances ``[N, N]`` of the work at the next query, after an exponential gap."""
    rate = gap * drain / grid[1]
    rate[0] = 0.0
    return np.asarray(np.linalg.inv(np.diag(1 + rate) - np.diag(rate[1:], k=-1)))


def _evaluate(uses: Floats, reward: Floats, up: Floats, ahead: Floats, shares: Floats) -> tuple[Floats, float, Floats]:
    """Return relative values ``[P, N]``, mean reward, and transition chances ``[P N, P N]`` of a policy."""
    phases, states = reward.shape
    elsewhere = 1 - np.einsum("pcn,c->pn", uses, shares)
    post = np.einsum("pcn,c,cnj->pnj", uses, shares, up) + elsewhere[:, :, None] * np.eye(states)
    chain = np.einsum("pnj,pjs->pns", post, ahead).reshape(phases * states, -1)
    system = np.eye(phases * states) - chain + 1 / chain.size**0.5  # the values' mean is the mean reward: no state has to be a frequent one
    values = np.linalg.solve(system, reward.ravel())
    return values.reshape(phases, states), float(values.mean()), chain


def _stationary(chain: Floats) -> Floats:
    system = np.vstack((chain.T - np.eye(len(chain)), np.ones(len(chain))))
    target = np.zeros(len(system))
    target[-1] = 1.0
    return np.asarray(np.clip(np.linalg.lstsq(system, target, rcond=None)[0], 0.0, None))
