"""Observation noise: additional errors of estimates."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk import RoutingRequest


def add_noise(request: RoutingRequest, noise: float, generator: np.random.Generator) -> RoutingRequest:
    """Return the request with noise on its estimates.

    Complexity, tool use and expected quality get a normal error of standard deviation ``noise``,
    clipped to [0, 1]. Category probabilities become a mixture with random ones, of weight ``noise`` (at most 1).
    """
    if noise == 0:
        return request

    def with_error(values: np.ndarray) -> np.ndarray:
        return np.clip(values + noise * generator.standard_normal(values.shape), 0, 1)

    estimates = request.estimates
    random = generator.standard_exponential(estimates.categories.shape)
    random /= random.sum(axis=1, keepdims=True) if random.shape[1] else 1
    weight = min(noise, 1.0)
    noisy = attrs.evolve(
        estimates,
        complexity=with_error(estimates.complexity),
        categories=(1 - weight) * estimates.categories + weight * random,
        tool_use=with_error(estimates.tool_use),
    )
    quality = None if request.expected.quality is None else with_error(request.expected.quality)
    return attrs.evolve(request, estimates=noisy, expected=attrs.evolve(request.expected, quality=quality))
