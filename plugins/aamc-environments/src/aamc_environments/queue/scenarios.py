"""Named scenarios of environment ``queue``: the shared resource of the calls, and defaults at which planning ahead pays.

All figures are options. A scenario is measured with a pool, a world and a preference of its own unless others are given
(``aamc bench control``); any pool can be played in any scenario that it has the candidates for.
"""

from __future__ import annotations

from typing import Any

import attrs

from aamc_sdk import Latency, ModelSpec, Pool, Prices
from aamc_sdk.routing import default_pool

TWO_MODELS = Pool(
    [
        ModelSpec("strong", "a good slow model", prices=Prices(1.0, 3.0), latency=Latency(40, 2000)),
        ModelSpec("weak", "a weak quick model", prices=Prices(0.1, 0.3), latency=Latency(40, 100)),
    ]
)
TWO_SKILLS: dict[str, Any] = {
    "categories": {"chat": {"complexity": 0.5}},
    "candidates": {
        "strong": {"success": {"chat": 0.92}, "slope": 2.0, "tools": 0.0, "price": 3.0},
        "weak": {"success": {"chat": 0.55}, "slope": 2.0, "tools": 0.0, "price": 0.3},
    },
}


@attrs.frozen(kw_only=True)
class Scenario:
    """A scenario's defaults.

    Attributes:
        summary: The shared resource of the calls, in one line.
        load: Demand of all queries at the scarce candidates, relative to what these can serve.
        burst: Arrival rate within bursts as a multiple of the rate between them.
        warning: Mean number of queries between the announcement of a burst and its beginning.
        preference: The preference that it is measured at, as text.
        pool: The candidates that it is measured with.
        world: Their skills.
    """

    summary: str
    load: float
    burst: float = 1.0
    warning: float = 0.0
    preference: str = "0.95,0,0.05"
    pool: Pool = TWO_MODELS
    world: Any = attrs.field(factory=lambda: TWO_SKILLS)


def _of_default_pool(*names: str) -> Pool:
    return Pool(candidate for candidate in default_pool() if candidate.name in names)


_HOSTED = _of_default_pool("SLM-Small", "LLM-Large", "LLM-XLarge")
_CACHED = _of_default_pool("SLM-Small", "LLM-Tools", "LLM-Large")
SCENARIOS = {
    "default": Scenario(summary="one server a candidate, load .6", load=0.6, preference="0.9,0.08,0.02", pool=default_pool(), world="default"),
    "scarce-server": Scenario(summary="one server a candidate, of which the good one cannot serve all queries", load=1.2),
    "rate-limit": Scenario(summary="tokens a minute that all candidates but the cheapest share", load=1.5, pool=_HOSTED, world="default"),
    "daily-budget": Scenario(summary="USD a day", load=4.0, preference="0.95,0.05,0", pool=_HOSTED, world="default"),
    "batching": Scenario(summary="several slots a candidate, service by the answer's length", load=1.2),
    "forecast": Scenario(summary="bursts that are announced", load=0.8, burst=5.0, warning=5.0),
    "prompt-cache": Scenario(summary="sessions whose prompt cache a switch loses", load=0.6, preference="0.9,0.1,0", pool=_CACHED, world="default"),
}
