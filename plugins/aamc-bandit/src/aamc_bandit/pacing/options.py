"""The options of ``paced``."""

from __future__ import annotations

from typing import Any

import attrs

from aamc_bandit.inner_router import check_router_option, router_label
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError

PACED = "paced"
PACED_TWICE = "paced cannot wrap paced; give all limits to one, such as usd_per_day together with p95_ms"
LIMITS = ("usd_per_day", "usd_per_1k", "tokens_per_minute", "p95_ms")
REFUSE, CHEAPEST = "refuse", "cheapest"
"""The values of ``over_budget``."""


@attrs.frozen(kw_only=True)
class PacedOptions:
    """Options of ``paced``. Without any limit, the limit is the mean cost of the pool's candidates."""

    router: Any = option("linear-thompson", "The wrapped router: its name, a checkpoint folder, or options with a name.")  # noqa: RUF009  # a text
    usd_per_day: float | None = option(None, "Maximum cost of each tenant's requests per day (UTC), in USD.", above=0)
    usd_per_1k: float | None = option(None, "Maximum mean cost of each tenant's requests, in USD per 1,000 requests.", above=0)
    tokens_per_minute: float | None = option(None, "Maximum tokens of prompts and answers per minute of each tenant.", above=0)
    p95_ms: float | None = option(None, "Latency in ms that at most 5% of each tenant's calls exceed.", above=0)
    requests_per_day: float | None = option(
        None, "Expected requests per day of a tenant; required in evaluations, which have no times; None: from the traffic.", above=0
    )
    over_budget: str = option(
        REFUSE, "Effect on a request if no candidate fits the remaining budget of the day or minute.", choices=(REFUSE, CHEAPEST)
    )
    window: int = option(512, "Number of recent requests from which the multipliers are computed.", at_least=16, at_most=4096)
    horizon: int = option(100, "Number of requests over which a difference from usd_per_1k or p95_ms is corrected.", at_least=1)

    def __attrs_post_init__(self) -> None:
        check_router_option("router", self.router)
        if router_label(self.router) == PACED:
            raise ConfigError(PACED_TWICE)
