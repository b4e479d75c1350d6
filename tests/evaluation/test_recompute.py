"""The table, recomputed from the file alone by a script that shares no code with the SDK."""

from __future__ import annotations

import math
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk.evaluation import metrics

Point = tuple[float, ...]


class File:
    """What one router did, as plain lists."""

    def __init__(self, path: Path, router: int) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.data: dict[str, Any] = {name: file[name].tolist() for name in file.files}
        self.router = router
        self.count = len(self.data["queries"])
        self.rows = range(self.count)

    def realised(self, point: int, row: int) -> Point:
        m = self.data["chosen"][self.router][point][row]
        spent = self.data["spent_usd"][self.router][point][row]
        return self.data["quality"][row][m], self.data["cost_usd"][row][m] + spent, self.data["latency_ms"][row][m]

    def objectives(self, point: int, row: int) -> Point:
        (cheap, dear), (quick, slow) = self.data["scales"]
        quality, cost, latency = self.realised(point, row)
        return quality, (dear - cost) / (dear - cheap), (slow - latency) / (slow - quick)

    def mean_objectives(self, point: int) -> Point:
        return tuple(sum(self.objectives(point, row)[k] for row in self.rows) / self.count for k in range(3))

    def mean_reward(self, point: int) -> float:
        return math.fsum(w * x for w, x in zip(self.data["preferences"][point], self.mean_objectives(point), strict=True))


def recompute(path: Path, router: int, oracle: int) -> dict[str, float | None]:
    file, data = File(path, router), File(path, router).data
    rows, count = file.rows, file.count
    mean = [[sum(file.realised(point, row)[k] for row in rows) / count for k in range(3)] for point in range(43)]
    latencies = sorted(file.realised(0, row)[2] for row in rows)
    place = 0.95 * (count - 1)
    low, share = int(place), place - int(place)
    singles = [(sum(row[m] for row in data["cost_usd"]) / count, sum(row[m] for row in data["quality"]) / count) for m in range(4)]
    reachable = [min(singles), *((mean[point][1], mean[point][0]) for point in range(1, 22))]
    best = [max(_mixture(reachable, cost)) for cost in np.linspace(min(singles)[0], max(singles)[0], 101).tolist()]
    yardstick = File(path, oracle)
    front = {file.mean_objectives(point) for point in range(22, 43)}
    return {
        "success_rate": sum(file.realised(0, row)[0] >= 0.5 for row in rows) / count,
        "mean_quality": mean[0][0],
        "mean_cost_usd": mean[0][1],
        "mean_latency_ms": mean[0][2],
        "p95_latency_ms": latencies[low] + share * (latencies[min(low + 1, count - 1)] - latencies[low]),
        "mean_reward": file.mean_reward(0),
        "expected_utility": sum(file.mean_reward(point) for point in range(22, 43)) / 21,
        "worst_regret": max(yardstick.mean_reward(point) - file.mean_reward(point) for point in range(22, 43)),
        "hypervolume": _volume(front),
        "sparsity": _sparsity(front),
        "arena_score": _arena_score(mean[0][0], mean[0][1]),
        **_calibration(file),
        "aiq": sum((a + b) / 2 for a, b in pairwise(best)) / (len(best) - 1),
    }


def _mixture(points: list[tuple[float, float]], cost: float) -> list[float]:
    """Return the qualities that mixtures of two points reach at a cost."""
    below = [(c, q) for c, q in points if c <= cost]
    above = [(c, q) for c, q in points if c > cost]
    alone = [q for _, q in below]
    return alone + [q0 + (q1 - q0) * (cost - c0) / (c1 - c0) for c0, q0 in below for c1, q1 in above]


def _volume(front: set[Point]) -> float:
    """Add up the boxes of the grid through all points that some point covers."""
    edges = [sorted({0.0, *(max(point[k], 0.0) for point in front)}) for k in range(3)]
    boxes = product(*(list(pairwise(values)) for values in edges))
    covered = (box for box in boxes if any(all(point[k] >= box[k][1] for k in range(3)) for point in front))
    return sum(math.prod(high - low for low, high in box) for box in covered)


def _sparsity(front: set[Point]) -> float | None:
    kept = [p for p in front if not any(q != p and all(x >= y for x, y in zip(q, p, strict=True)) for q in front)]
    if len(kept) < 2:
        return None
    return sum((b - a) ** 2 for k in range(3) for a, b in pairwise(sorted(point[k] for point in kept))) / (len(kept) - 1)


def _arena_score(accuracy: float, cost_usd: float) -> float:
    cheapness = (math.log2(200) - math.log2(1000 * cost_usd)) / (math.log2(200) - math.log2(0.0044))
    cheapness = min(max(cheapness, 0.0), 1.0)
    return 1.1 * accuracy * cheapness / (0.1 * accuracy + cheapness)


def _calibration(file: File) -> dict[str, float | None]:
    forecasts = [
        (expected, quality)
        for row in file.rows
        for expected, quality in zip(file.data["expected_quality"][file.router][row], file.data["quality"][row], strict=True)
    ]
    bins: dict[int, list[tuple[float, float]]] = {}
    for expected, quality in forecasts:
        bins.setdefault(next(k for k in range(15) if expected <= (k + 1) / 15 or k == 14), []).append((expected, quality))
    gaps = (abs(sum(q for _, q in pairs) / len(pairs) - sum(e for e, _ in pairs) / len(pairs)) * len(pairs) for pairs in bins.values())
    return {"brier": sum((e - q) ** 2 for e, q in forecasts) / len(forecasts), "ece": sum(gaps) / len(forecasts)}


@pytest.mark.parametrize("router", [0, 1, 2, 3])
def test_every_figure_follows_from_the_file(large_table: Any, routers: Any, tmp_path: Path, router: int) -> None:
    large_table = attrs.evolve(large_table, outcomes=attrs.evolve(large_table.outcomes, cost_usd=large_table.outcomes.cost_usd / 1000))
    large_table.reward.fit(large_table.outcomes)
    costly = routers.Always(routers.options, large_table.services)
    costly.spent_usd = 0.01
    everyone = {
        "greedy": routers.Greedy(routers.options, large_table.services),
        "dice": routers.Dice(routers.options, large_table.services),
        "llm-only": costly,
        "oracle": routers.Prophet(routers.options, large_table.services),
    }
    comparison = large_table.compare(everyone)
    noise = np.random.default_rng(0).random(comparison.expected_quality.shape)
    comparison = attrs.evolve(comparison, expected_quality=(comparison.expected_quality + noise) / 2)
    comparison.save(tmp_path / "decisions.npz")
    reported = metrics(comparison, large_table.reward)["routers"][list(everyone)[router]]
    recomputed = recompute(tmp_path / "decisions.npz", router, list(everyone).index("oracle"))
    area = recomputed.pop("aiq")
    assert reported["aiq"] == pytest.approx(area, abs=1e-3)  # the script samples the hull at 101 costs
    assert {name: reported[name] for name in recomputed} == pytest.approx(recomputed, abs=1e-12)


def recompute_calls(path: Path) -> dict[str, float]:
    """Send one query after the other to the strong candidate."""
    file = File(path, 0)
    quality, utility = file.data["quality"], file.data["utility"][0]
    weak, strong = sorted(range(2), key=lambda m: file.data["candidate_means"][m][0])
    floor, ceiling = (sum(row[m] for row in quality) / file.count for m in (weak, strong))
    ranking = sorted(file.rows, key=lambda row: utility[row][weak] - utility[row][strong])
    recovered = []
    for calls in range(file.count + 1):
        mean = sum(quality[row][strong if rank < calls else weak] for rank, row in enumerate(ranking)) / file.count
        recovered.append((mean - floor) / (ceiling - floor))
    first = {at: next(calls for calls, share in enumerate(recovered) if share >= at) for at in (0.5, 0.8)}
    served = sum(file.realised(0, row)[0] for row in file.rows) / file.count
    return {
        "pgr": (served - floor) / (ceiling - floor),
        "apgr": sum((a + b) / 2 for a, b in pairwise(recovered)) / file.count,
        "cpt50": first[0.5] / file.count,
        "cpt80": first[0.8] / file.count,
    }


def test_strong_calls_follow_from_the_file(make_table: Any, routers: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = make_table(rng.uniform(0, (1.0, 0.6), (200, 2)), rng.uniform((1.0, 0.5), (2.0, 1.0), (200, 2)))
    comparison = table.compare({"dice": routers.Dice(routers.options, table.services)})
    comparison = attrs.evolve(comparison, utility=comparison.expected_quality + rng.normal(0, 0.3, comparison.utility.shape))
    comparison.save(tmp_path / "decisions.npz")
    reported = metrics(comparison, table.reward)["routers"]["dice"]
    recomputed = recompute_calls(tmp_path / "decisions.npz")
    for name, step in (("pgr", 1e-9), ("apgr", 1e-9), ("cpt50", 1 / 200), ("cpt80", 1 / 200)):  # thresholds lie between two queries
        assert reported[name] == pytest.approx(recomputed[name], abs=step)
