"""Limits of endpoints that all workers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_sdk.types import Endpoint, ModelSpec, Pool

_UNITS = ("requests_per_minute", "tokens_per_minute")


def with_endpoint_limits(access: AccessSettings, pool: Pool) -> AccessSettings:
    """Return the settings of access with the limits a minute of the candidates' endpoints.

    A provider counts the calls of its own process only. What the settings limit is counted in the state that all workers share.
    """
    models = dict(access.models)
    for candidate in pool:
        if isinstance(candidate, ModelSpec) and candidate.endpoint is not None:
            own = models.get(candidate.name, Limits())
            found = _limits_of(Endpoint.of(candidate.endpoint).options)
            lower = {unit: limit for unit, limit in found.items() if limit < (getattr(own, unit) or limit + 1)}
            if lower:
                models[candidate.name] = attrs.evolve(own, **lower)
    return attrs.evolve(access, models=models)


def _limits_of(options: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of an endpoint: the sum over its deployments, unless one has none."""
    deployments: Sequence[Mapping[str, Any]] = options.get("deployments") or ({},)
    found = {}
    for unit in _UNITS:
        given = (deployment.get(unit) or options.get(unit) for deployment in deployments)
        limits = [limit for limit in given if isinstance(limit, int)]
        if len(limits) == len(deployments):
            found[unit] = sum(limits)
    return found
