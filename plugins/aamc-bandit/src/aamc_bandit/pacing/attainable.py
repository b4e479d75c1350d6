"""Checks that some candidate keeps the limits; errors give the attainable value."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from aamc_bandit.pacing.accounts import MeanAccount, WindowAccount
from aamc_bandit.pacing.options import REFUSE, PacedOptions
from aamc_bandit.pacing.recent_requests import without_unknown
from aamc_bandit.pacing.resources import LATE_SHARE, LateCalls, LimitedResource
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import one_of
from aamc_sdk.types import Floats, RoutingRequest

UNITS = {"usd_per_day": "USD", "usd_per_1k": "USD per 1,000 requests", "tokens_per_minute": "tokens"}
logger = logging.getLogger(__name__)


def default_limit(request: RoutingRequest) -> dict[str, float]:
    """Return the limit of a router without any: the mean cost of the candidates, which ``random`` would spend.

    Raises:
        ConfigError: No cost is known.
    """
    costs = request.expected.cost_usd[np.isfinite(request.expected.cost_usd)]
    if not costs.size or not costs.mean() > 0:
        raise ConfigError("paced has no limit, and no candidate has a price to take one from; give usd_per_day, usd_per_1k or another limit")
    return {"usd_per_1k": 1000 * float(costs.mean())}


def check_attainable(resources: Sequence[LimitedResource], request: RoutingRequest, config: PacedOptions) -> None:
    """Check that some candidate keeps each limit on the rows of a request.

    A warning gives the minimum use of the expected traffic if it is above a limit.

    Raises:
        ConfigError: None does; the message gives the attainable value.
    """
    for resource in resources:
        use = resource.use(resource.figures(request), request.pool.names)
        if not np.isfinite(use).any():
            raise ConfigError(f"{resource.name} cannot be kept: no candidate has a price; give prices in the pool")
        if isinstance(resource, LateCalls):
            _check_latency(resource, request)
            continue
        if unpriced := [name for m, name in enumerate(request.pool.names) if np.isnan(use[:, m]).all()]:
            logger.warning("%s leaves out candidates without a price: %s; give their prices in the pool", resource.name, one_of(unpriced))
        minimum = float(_minimum(use, request).mean())
        account = resource.account(config)
        if minimum <= account.limit:
            if isinstance(account, WindowAccount) and (minimum_use := minimum * (account.expected or 0)) > account.limit:
                below = f"{resource.name} {resource.limit:g} is below what the cheapest candidates take for requests_per_day"
                then = "later requests will be refused" if config.over_budget == REFUSE else "it will be exceeded"
                logger.warning("%s, %.3g %s; raise it, or %s", below, minimum_use, UNITS[resource.name], then)
            continue
        scale = 1000 if isinstance(account, MeanAccount) else 1
        raise ConfigError(
            f"{resource.name} {resource.limit:g} is below what the cheapest candidates take, {scale * minimum:.3g} {UNITS[resource.name]}"
            f"{'' if scale > 1 else ' for one request'}; give a limit above that, or add a cheaper candidate"
        )


def _check_latency(resource: LateCalls, request: RoutingRequest) -> None:
    figures = resource.figures(request)
    if np.isnan(figures).all():
        raise ConfigError("p95_ms cannot be kept: no candidate has a latency; give latencies in the pool")
    late = float(_minimum(resource.use(figures, request.pool.names), request).mean())
    if late <= LATE_SHARE:
        return
    attainable = attainable_p95(resource, request)
    message = (
        f"p95_ms {resource.limit:g} cannot be met: with the quickest candidates {late:.0%} of calls take longer; attainable is {attainable:.0f} ms"
    )
    if resource.limit < float(_minimum(figures, request).mean()):
        raise ConfigError(f"{message}; raise p95_ms, or add a quicker candidate")
    logger.warning("%s by present knowledge", message)


def attainable_p95(resource: LateCalls, request: RoutingRequest) -> float:
    """Return the latency in ms that 5% of calls exceed where each request goes to its quickest candidate."""
    figures = resource.figures(request)
    low, high = 0.0, 100 * float(np.nanmax(figures))
    for _ in range(40):
        middle = (low + high) / 2
        late = _minimum(resource.late(figures, request.pool.names, middle), request).mean()
        low, high = (low, middle) if late <= LATE_SHARE else (middle, high)
    return high if math.isfinite(high) else math.nan


def _minimum(use: Floats, request: RoutingRequest) -> Floats:
    """Return the minimum use of an allowed candidate, ``[B]``."""
    return np.asarray(np.where(request.mask, without_unknown(use, request.mask), np.inf).min(axis=1))
