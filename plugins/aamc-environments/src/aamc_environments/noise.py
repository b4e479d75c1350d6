"""Observation noise: an estimator that errs more than it does."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk import RoutingRequest


def blur(request: RoutingRequest, noise: float, generator: np.random.Generator) -> RoutingRequest:
    """Return the request with noise on what was estimated.

    Complexity, tool use and expected quality get a normal error of standard deviation ``noise``,
    clipped to 0..1; category probabilities are mixed with random ones, which get ``noise`` of the weight.
    """
    if noise == 0:
        return request

    def shaken(values: np.ndarray) -> np.ndarray:
        return np.clip(values + noise * generator.standard_normal(values.shape), 0, 1)

    estimates = request.estimates
    strangers = generator.standard_exponential(estimates.categories.shape)
    strangers /= strangers.sum(axis=1, keepdims=True) if strangers.shape[1] else 1
    weight = min(noise, 1.0)
    blurred = attrs.evolve(
        estimates,
        complexity=shaken(estimates.complexity),
        categories=(1 - weight) * estimates.categories + weight * strangers,
        tool_use=shaken(estimates.tool_use),
    )
    quality = None if request.expected.quality is None else shaken(request.expected.quality)
    return attrs.evolve(request, estimates=blurred, expected=attrs.evolve(request.expected, quality=quality))
