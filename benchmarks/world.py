"""Simple policies in the default world, on the test queries of dataset ``synthetic``.

Prints JSON: success, cost and latency of each policy at the default preference and load, with 95% intervals over streams.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from aamc_environments.queue import standalone

from aamc_sdk import Preference, RoutingRequest, get_plugin_manager
from aamc_sdk.types import Floats

STREAMS, STEPS = 512, 200
Policy = Callable[[RoutingRequest], Any]


def always(name: str) -> Policy:
    return lambda request: np.full(len(request), request.pool.index(name))


def thresholds(request: RoutingRequest) -> Any:
    """Choose a small, a medium or the largest model by complexity."""
    small, medium, large = (request.pool.index(name) for name in ("SLM-Small", "SLM-Medium", "LLM-XLarge"))
    complexity = request.estimates.complexity
    return np.select([complexity < 1 / 3, complexity < 2 / 3], [small, medium], large)


def greedy(reward: Any, error: float) -> Policy:
    """Return the greedy policy on true expectations whose log-odds of success are wrong by a normal error."""
    generator = np.random.default_rng(0)

    def choose(request: RoutingRequest) -> Any:
        hindsight = request.hindsight
        assert hindsight is not None
        odds = hindsight.known_quality / (1 - hindsight.known_quality)
        odds *= np.exp(error * generator.standard_normal(odds.shape))
        return reward.scalar(attrs.evolve(hindsight, quality=odds / (1 + odds)), request.preferences).argmax(axis=1)

    return choose


def interval(values: Floats) -> list[float]:
    return [float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    environment = standalone()
    services = environment.services
    environment.prepare(get_plugin_manager().make("dataset", "synthetic", services).read(""))
    outcomes = environment.dataset("train").outcomes
    assert outcomes is not None  # sampled just now
    services.reward.fit(outcomes)
    policies: dict[str, Policy] = {name: always(name) for name in services.pool.names}
    policies |= {"thresholds": thresholds, "oracle": greedy(services.reward, 0.0), "noisy greedy": greedy(services.reward, 0.6)}
    for name, policy in policies.items():
        streams = environment.vector(STREAMS, "test", preferences=np.tile(Preference().array, (STREAMS, 1)))
        streams.reset()
        infos = [streams.step(policy(streams.request()))[-1] for _ in range(STEPS)]
        figures = {key: interval(np.mean([info[key] for info in infos], axis=0)) for key in ("quality", "cost_usd", "latency_ms")}
        print(json.dumps({"policy": name, "streams": STREAMS, "steps": STEPS, **figures}))


if __name__ == "__main__":
    main()
