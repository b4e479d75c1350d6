"""The table, recomputed from the file alone by a script that shares no code with the SDK."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aamc_sdk.evaluation import metrics


def recompute(path: Path, router: int) -> dict[str, float]:
    with np.load(path, allow_pickle=False) as file:
        data = {name: file[name].tolist() for name in file.files}
    rows, points = range(len(data["queries"])), range(len(data["preferences"]))
    (cheap, dear), (quick, slow) = data["scales"]
    count = len(data["queries"])

    def realised(point: int, row: int) -> tuple[float, float, float]:
        m = data["chosen"][router][point][row]
        spent = data["spent_usd"][router][point][row]
        return data["quality"][row][m], data["cost_usd"][row][m] + spent, data["latency_ms"][row][m]

    def reward(point: int, row: int) -> float:
        quality, cost, latency = realised(point, row)
        weights = data["preferences"][point]
        return weights[0] * quality + weights[1] * (dear - cost) / (dear - cheap) + weights[2] * (slow - latency) / (slow - quick)

    mean = [[sum(realised(point, row)[k] for row in rows) / count for k in range(3)] for point in points]
    latencies = sorted(realised(0, row)[2] for row in rows)
    place = 0.95 * (count - 1)
    low, share = int(place), place - int(place)
    singles = [
        (sum(row[m] for row in data["cost_usd"]) / count, sum(row[m] for row in data["quality"]) / count) for m in range(len(data["candidates"]))
    ]
    reachable = [min(singles), *((mean[point][1], mean[point][0]) for point in range(1, 22))]
    best = [max(_mixture(reachable, cost)) for cost in np.linspace(min(singles)[0], max(singles)[0], 101).tolist()]
    return {
        "success_rate": sum(realised(0, row)[0] >= 0.5 for row in rows) / count,
        "mean_quality": mean[0][0],
        "mean_cost_usd": mean[0][1],
        "mean_latency_ms": mean[0][2],
        "p95_latency_ms": latencies[low] + share * (latencies[min(low + 1, count - 1)] - latencies[low]),
        "mean_reward": sum(reward(0, row) for row in rows) / count,
        "expected_utility": sum(reward(point, row) for point in range(22, 43) for row in rows) / count / 21,
        "aiq": sum((a + b) / 2 for a, b in pairwise(best)) / (len(best) - 1),
    }


def _mixture(points: list[tuple[float, float]], cost: float) -> list[float]:
    """Return the qualities that mixtures of two points reach at a cost."""
    below = [(c, q) for c, q in points if c <= cost]
    above = [(c, q) for c, q in points if c > cost]
    alone = [q for _, q in below]
    return alone + [q0 + (q1 - q0) * (cost - c0) / (c1 - c0) for c0, q0 in below for c1, q1 in above]


@pytest.mark.parametrize("router", [0, 1, 2])
def test_every_figure_follows_from_the_file(large_table: Any, routers: Any, tmp_path: Path, router: int) -> None:
    costly = routers.Always(routers.options, large_table.services)
    costly.spent_usd = 0.01
    everyone = {
        "greedy": routers.Greedy(routers.options, large_table.services),
        "dice": routers.Dice(routers.options, large_table.services),
        "llm-only": costly,
    }
    comparison = large_table.compare(everyone)
    comparison.save(tmp_path / "decisions.npz")
    reported = metrics(comparison, large_table.reward)["routers"][list(everyone)[router]]
    recomputed = recompute(tmp_path / "decisions.npz", router)
    area = recomputed.pop("aiq")
    assert reported["aiq"] == pytest.approx(area, abs=1e-3)  # the script samples the hull at 101 costs
    assert {name: reported[name] for name in recomputed} == pytest.approx(recomputed)
