"""The options of environment ``queue``, and its named scenarios: the shared resource of the calls, and defaults at which planning ahead pays."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import attrs

from aamc_environments.environment import StreamOptions
from aamc_environments.queue.events import Event
from aamc_environments.resources import MAX_TURNS
from aamc_sdk import Latency, ModelSpec, Pool, Prices, option
from aamc_sdk.errors import ConfigError
from aamc_sdk.routing import default_pool

logger = logging.getLogger(__name__)
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


_OF_ONE_SCENARIO = {
    "slots": "batching",
    "tokens_per_minute": "rate-limit",
    "budget_usd": "daily-budget",
    "day": "daily-budget",
    "session_turns": "prompt-cache",
    "turn_tokens": "prompt-cache",
}
"""The options that one scenario alone reads."""
_WITHOUT_QUEUES = {"prompt-cache": ("load", "arrival_rate", "burst"), "daily-budget": ("arrival_rate", "burst")}
"""The options that scenarios in which nothing queues do not read."""
_INSTEAD_OF_LOAD = {"rate-limit": "tokens_per_minute", "daily-budget": "budget_usd"}
"""The options that replace load; in all other scenarios it is arrival_rate."""


@lru_cache  # options are made several times
def _warn_of_unread(scenario: str, name: str) -> None:
    """Warn of an option that one scenario does not read: it may be given for several scenarios at once."""
    logger.warning("%s is without effect in scenario %s, where nothing queues", name, scenario)


@attrs.frozen(kw_only=True)
class QueueOptions(StreamOptions):
    """Options of environment ``queue``."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"service_by_length": False}}

    world: Any = option("default", "Categories and skills of the candidates: default, a YAML file, or the content of one.")  # noqa: RUF009  # an attrs field
    scenario: str = option("default", "Shared resource of the calls, and the defaults of load and bursts.", choices=tuple(SCENARIOS))
    load: float | None = option(
        None,
        "Demand if the scarce candidates served every query, relative to their capacity: utilisation of the slowest candidate; in scenario "
        "rate-limit, of the limit; in daily-budget, of the budget by the most expensive candidate; none: the scenario's, default 0.6.",
        above=0.0,
        at_most=100.0,
    )
    arrival_rate: float | None = option(None, "Queries per second and stream; none: from load.", above=0.0)
    burst: float | None = option(
        None, "Arrival rate within bursts as a multiple of the rate between them; 1: no bursts; none: the scenario's, default 1.", at_least=1.0
    )
    burst_share: float = option(0.2, "Share of queries within bursts, as far as burst_length and warning allow it.", at_least=0.0, at_most=0.9)
    burst_length: float = option(20.0, "Mean number of queries in a burst.", at_least=1.0)
    warning: float | None = option(
        None,
        "Mean number of queries between a burst's announcement and its beginning, at least 1; 0: none; none: the scenario's, default 0.",
        at_least=0.0,
    )
    slots: int = option(4, "Scenario batching: number of calls that each candidate serves in parallel.", at_least=1)
    tokens_per_minute: float | None = option(None, "Scenario rate-limit: tokens per minute of a stream; none: from load.", above=0.0)
    budget_usd: float | None = option(None, "Scenario daily-budget: USD per day of a stream; none: from load.", at_least=0.0)
    day: int = option(100, "Scenario daily-budget: queries per day.", at_least=1)
    session_turns: float = option(8.0, f"Scenario prompt-cache: mean number of a session's turns, if none ended after {MAX_TURNS}.", at_least=1.0)
    turn_tokens: float = option(1500.0, "Scenario prompt-cache: tokens that each turn adds to the prompt.", at_least=0.0, at_most=1e9)
    service_by_length: bool = option(True, "Service time grows with the world's answer length, which estimators then learn.")
    events: list[Event] = option([], "Changes of the pool: a list of {at, candidate, kind, ...}.")  # noqa: RUF009  # an attrs field

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for name in _WITHOUT_QUEUES.get(self.scenario, ()):
            if getattr(self, name) is not None:
                _warn_of_unread(self.scenario, name)
        self._check_bursts()
        instead = _INSTEAD_OF_LOAD.get(self.scenario, "arrival_rate")
        if self.load is not None and getattr(self, instead) is not None:
            raise ConfigError(f"load and {instead} are given, and scenario {self.scenario} reads one of them; leave one out")
        for name, reads in _OF_ONE_SCENARIO.items():
            if self.scenario != reads and self._is_given(name):
                raise ConfigError(
                    f"scenario {self.scenario} does not read {name}, which is for scenario {reads}; leave it out, or choose that scenario"
                )

    def _check_bursts(self) -> None:
        """Refuse bursts that the chain of :class:`~aamc_environments.queue.queue_streams.Arrivals` cannot have: a phase has at least one query."""
        warning, length = self.present_warning, self.burst_length
        if 0 < warning < 1:
            raise ConfigError(f"warning must be 0 or at least 1, not {warning:g}")
        given = [name for name in ("burst_share", "burst_length") if self._is_given(name)] + (["warning"] if self.warning else [])
        if self.present_burst == 1 and given:
            raise ConfigError(f"{given[0]} is given, and burst 1 means no bursts; leave it out, or set burst above 1")
        maximum = length / (length + warning + 1)
        if self.present_burst > 1 and self.burst_share > maximum:
            others, lower = f"burst_length {length:g} and warning {warning:g}", "it or warning" if warning else "it"
            at_most = math.floor(1000 * maximum) / 1000
            raise ConfigError(f"burst_share must be at most {at_most} with {others}, not {self.burst_share:g}; lower {lower}, or raise burst_length")

    def _is_given(self, name: str) -> bool:
        """Return whether an option differs from its default."""
        return bool(getattr(self, name) != getattr(attrs.fields(type(self)), name).default)

    @property
    def present_load(self) -> float:
        """The load, or the scenario's."""
        return SCENARIOS[self.scenario].load if self.load is None else self.load

    @property
    def present_burst(self) -> float:
        """The factor of bursts, or the scenario's."""
        return SCENARIOS[self.scenario].burst if self.burst is None else self.burst

    @property
    def present_warning(self) -> float:
        """The length of warnings, or the scenario's."""
        return SCENARIOS[self.scenario].warning if self.warning is None else self.warning
