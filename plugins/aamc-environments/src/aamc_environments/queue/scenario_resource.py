"""The resource of a scenario, made for a pool and a split."""

from __future__ import annotations

import numpy as np

from aamc_environments.queue.options import QueueOptions
from aamc_environments.queue.streams import TrueOutcomes
from aamc_environments.resources import DailyBudget, PromptCache, Resource, Slots, TokenLimit
from aamc_sdk import ModelSpec, Pool
from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.types import Floats


def make_resource(options: QueueOptions, pool: Pool, truth: TrueOutcomes, per_second: float) -> Resource | None:
    """Return the resource that calls share in a scenario; None for queues with one server.

    Raises:
        PoolError: The pool lacks the candidates that the scenario needs.
        ConfigError: The budget is below the cost of the cheapest candidate.
    """
    name = options.scenario
    if name == "batching":
        return Slots(np.array([c.latency.service_ms for c in pool if isinstance(c, ModelSpec) and c.latency]), options.slots)
    cost_usd = truth.prompt_usd + truth.answer_usd
    cheapest = cost_usd.mean(axis=0).argmin()
    if name == "rate-limit":
        tokens = truth.prompt_tokens + truth.output_tokens
        per_minute = options.tokens_per_minute or 60 * per_second * float(tokens.mean()) / options.present_load
        if per_minute < tokens.max():
            raise ConfigError(
                f"tokens_per_minute must hold the longest call ({tokens.max():.0f} tokens), not {per_minute:g}; raise it, or the arrival rate"
            )
        return TokenLimit(per_minute, np.arange(len(pool)) != cheapest, tokens)
    if name == "daily-budget":
        return DailyBudget(_budget_usd(options, cost_usd.mean(axis=0), pool), options.day, cost_usd)
    if name == "prompt-cache":
        prices = [c.prices for c in pool if isinstance(c, ModelSpec) and c.prices]
        full, cached = (np.array([getattr(price, field) for price in prices], dtype=np.float64) / 1e6 for field in ("input", "cached_input"))
        cached = np.where(np.isnan(cached), full, cached)
        if not (cached < full).any():
            raise PoolError(
                "scenario prompt-cache needs a candidate with a price for cached input below its price for input; give one in the pool's file"
            )
        return PromptCache(full, cached, options.turn_tokens, options.session_turns)
    return None


def check_pool(scenario: str, pool: Pool) -> None:
    """Check that a pool has the candidates that a scenario needs.

    Raises:
        PoolError: The pool lacks them.
    """
    if scenario != "default" and len(pool) < 2:
        raise PoolError(f"scenario {scenario} needs at least two candidates to choose from, and the pool has {len(pool)}; add one to the pool's file")


def _budget_usd(options: QueueOptions, mean_usd: Floats, pool: Pool) -> float:
    least = float(mean_usd.min()) * options.day
    budget = options.budget_usd
    if budget is None:
        return max(float(mean_usd.max()) * options.day / options.present_load, 1.001 * least)
    if budget <= least:
        cheapest = pool.names[int(mean_usd.argmin())]
        needed = f"{options.day} queries of the cheapest candidate, {cheapest}, cost {least:.4g} USD"
        raise ConfigError(f"budget_usd must be more than {least:.4g}, not {budget:g}: {needed}; raise it, or lower day")
    return budget
