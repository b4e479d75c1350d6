"""The use of candidates that ``paced`` learns from a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from aamc_bandit.pacing.resources import LimitedResource, learn_table, resources_of

from aamc_sdk.routing import build_request
from aamc_sdk.types import Attempt, Latency, ModelSpec, Pool, Prices, Query, RoutingRequest

POOL = Pool([ModelSpec(name, prices=Prices(price, price), latency=Latency(service_ms=600.0)) for name, price in (("cheap", 1.0), ("strong", 20.0))])
ROWS = 400


def learned(factor: np.ndarray) -> tuple[RoutingRequest, list[LimitedResource]]:
    """Return the resources after a table whose rows cost and take ``factor`` ``[N]`` of what was expected."""
    request = build_request([Query("?", prompt_tokens=500, output_tokens=500)] * len(factor), POOL, np.array([1.0, 0.0, 0.0]))
    resources = resources_of({"usd_per_1k": 1.0, "p95_ms": 900.0})
    learn_table(resources, request, factor[:, None] * request.expected.cost_usd, factor[:, None] * request.expected.latency_ms)
    return request, resources


@pytest.mark.parametrize("order", [1, -1])
def test_rows_count_equally_in_any_order(order: int) -> None:
    request, (cost, late) = learned(np.repeat([0.2, 1.8], ROWS // 2)[::order])
    assert cost.use(cost.figures(request), POOL.names) == pytest.approx(request.expected.cost_usd, rel=0.01)
    assert late.use(late.figures(request), POOL.names) == pytest.approx(0.5, abs=0.03)  # 1.8 times 600 ms is above 900 ms


def test_a_few_expensive_rows_count_fully() -> None:
    factor = np.ones(ROWS)
    factor[: ROWS // 100] = 100.0
    request, (cost, _) = learned(factor)
    assert cost.use(cost.figures(request), POOL.names) == pytest.approx(1.99 * request.expected.cost_usd, rel=0.06)


def test_the_first_call_of_a_candidate_counts_beside_five_as_expected() -> None:
    (cost,) = resources_of({"usd_per_1k": 1.0})
    cost.learn("cheap", 0.01, Attempt("d", candidate="cheap", cost_usd=0.03))
    assert cost.use(np.array([[0.01, 0.01]]), POOL.names) == pytest.approx(np.array([[0.01 * (5 + 3) / 6, 0.01]]))


def test_calls_in_service_soon_outweigh_a_long_table() -> None:
    request, (cost, late) = learned(np.ones(10 * ROWS))
    for _ in range(100):
        for resource in (cost, late):
            figure = float(resource.figures(request)[0, 0])
            resource.learn("cheap", figure, Attempt("d", candidate="cheap", cost_usd=3 * figure, latency_ms=3 * figure))
    assert cost.use(cost.figures(request), POOL.names)[0, 0] > 2 * request.expected.cost_usd[0, 0]
    assert late.use(late.figures(request), POOL.names)[0, 0] > 0.5


@pytest.mark.parametrize(
    ("call", "used"),
    [
        ({"prompt_tokens": 3, "output_tokens": 4}, 7.0),
        ({"prompt_tokens": 3}, math.nan),
        ({"prompt_tokens": 3, "output_tokens": 4, "status": "error"}, 7.0),
        ({"status": "error"}, 0.0),
        ({"status": "cancelled"}, math.nan),
    ],
)
def test_a_call_uses_the_tokens_of_its_prompt_and_answer_if_both_are_known(call: dict[str, Any], used: float) -> None:
    (tokens,) = resources_of({"tokens_per_minute": 1000.0})
    assert tokens.reported(Attempt("d", candidate="cheap", **call)) == pytest.approx(used, nan_ok=True)
