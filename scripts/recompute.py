"""Recompute every number of a ``metrics.json`` from the ``decisions.npz`` next to it, with code independent of the SDK.

``python scripts/recompute.py RUN`` prints all differences, and exits with status 1 if there are any. ``--resamples N`` also
compares the intervals with those of N bootstrap resamples. The script follows the definitions in docs/reference/metrics.md, and
supports only the default reward, efficiency and success threshold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm, t

Array = np.ndarray[Any, Any]
Place = tuple[str, ...]
HEADLINE, SWEEP, LATTICE, QUALITY_ALONE = 0, range(1, 22), range(22, 43), 1
SHARES = ("0.90", "0.95", "0.97", "0.99", "1.00")
PERMUTATIONS = 4_000
MIN_RESAMPLES = 400
"""With fewer, all of them may lie on one side of a correct bound."""


class Decisions:
    """The content of ``decisions.npz`` on some of its rows, with repetitions."""

    def __init__(self, arrays: dict[str, Array], rows: Array) -> None:
        self.arrays, self.rows, self.n = arrays, rows, len(rows)
        self.is_table = arrays["quality"].ndim == 2
        self.names, self.models = arrays["routers"].tolist(), arrays["candidates"].tolist()
        self.preferences = arrays["preferences"]

    def constant(self, name: str) -> Array:
        """Return one outcome of each constant policy of a table; the first allowed candidate serves where its own is not allowed."""
        values, cost = self.arrays[name][self.rows], self.arrays["cost_usd"][self.rows]
        first = np.isnan(cost).argmin(axis=1)
        return np.where(np.isnan(cost), values[np.arange(self.n), first][:, None], values)

    def column(self, name: str, router: int, point: int) -> Array:
        """Return one outcome of each row's decision at a preference."""
        values = self.arrays[name]
        chosen: Array = self.arrays["chosen"][router, point, self.rows]
        column: Array = values[self.rows, chosen] if self.is_table else values[router, point, self.rows]
        return column

    def realised(self, router: int, point: int) -> tuple[Array, Array, Array]:
        """Return quality, cost and latency, including cost and time of deciding."""
        quality, cost, latency = (self.column(name, router, point) for name in ("quality", "cost_usd", "latency_ms"))
        return quality, cost + self.arrays["spent_usd"][router, point, self.rows], latency + self.arrays["spent_ms"][router, point, self.rows]

    def singles(self) -> list[tuple[float, float]]:
        """Return each candidate's mean cost and quality."""
        if not self.is_table:
            return [(cost, quality) for quality, cost, _ in self.arrays["candidate_means"].tolist()]
        columns = (self.constant(name).mean(axis=0).tolist() for name in ("cost_usd", "quality"))
        return list(zip(*columns, strict=True))

    def objectives(self, outcome: tuple[Array, Array, Array]) -> list[Array]:
        """Return quality, cheapness and quickness."""
        quality, *costs = outcome
        goodness = [
            (maximum - values) / (maximum - minimum) if maximum > minimum else np.zeros(len(values))
            for values, (minimum, maximum) in zip(costs, self.arrays["scales"].tolist(), strict=True)
        ]
        return [quality, *goodness]

    def reward(self, outcome: tuple[Array, Array, Array], point: int) -> Array:
        """Return the reward of each row under a preference."""
        weights = self.preferences[point].tolist()
        return sum((w * x for w, x in zip(weights, self.objectives(outcome), strict=True) if w > 0), np.zeros(self.n))


def mixtures(points: list[tuple[float, float]], cost: float) -> float:
    """Return the maximum quality, at a cost, of one point or of a mixture of two."""
    below = [(c, q) for c, q in points if c <= cost]
    above = [(c, q) for c, q in points if c > cost]
    mixed = [q0 + (q1 - q0) * (cost - c0) / (c1 - c0) for c0, q0 in below for c1, q1 in above]
    return max((*(q for _, q in below), *mixed))


def area(heights: Any, places: Any) -> float:
    """Return the area below straight lines between points."""
    heights = np.asarray(heights)
    return float((np.diff(places) * (heights[1:] + heights[:-1]) / 2).sum())


def average_quality(points: list[tuple[float, float]], low: float, high: float) -> float | None:
    """Return AIQ; the best mixture's quality is linear between the points' costs."""
    if high <= low:
        return None
    costs = sorted({low, high, *(cost for cost, _ in points if low < cost < high)})
    return area([mixtures(points, cost) for cost in costs], costs) / (high - low)


def minimum_cost(points: list[tuple[float, float]], target: float) -> float:
    """Return the minimum cost of a mixture with the target quality; infinity if there is none."""
    target *= 1 - 1e-12
    enough = [cost for cost, quality in points if quality >= target]
    pairs = product([p for p in points if p[1] < target], [p for p in points if p[1] >= target])
    mixed = [c0 + (c1 - c0) * (target - q0) / (q1 - q0) for (c0, q0), (c1, q1) in pairs if c0 < c1]
    return min((*enough, *mixed), default=math.inf)


def volume(vectors: Array) -> float:
    """Return the volume of the grid's boxes that some vector covers."""
    vectors = np.maximum(vectors, 0)
    edges = [np.unique(np.append(column, 0.0)) for column in vectors.T]
    upper = np.meshgrid(*(edge[1:] for edge in edges), indexing="ij")
    covered = np.zeros(upper[0].shape, dtype=bool)
    for vector in vectors:
        covered |= np.all([corner <= height for corner, height in zip(upper, vector, strict=True)], axis=0)
    sizes = np.meshgrid(*(np.diff(edge) for edge in edges), indexing="ij")
    return float((np.prod(sizes, axis=0) * covered).sum())


def gaps(vectors: Array) -> float | None:
    """Return the sparsity of the distinct non-dominated vectors."""
    different = np.unique(vectors.round(9), axis=0)
    kept = np.array([p for p in different if not any((q >= p).all() and (q > p).any() for q in different)])
    return float((np.diff(np.sort(kept, axis=0), axis=0) ** 2).sum()) / (len(kept) - 1) if len(kept) > 1 else None


def arena(accuracy: float, cost_usd: float) -> float:
    """Return RouterArena's score."""
    margin = math.log2(200) - math.log2(max(1000 * cost_usd, 1e-300))
    cheapness = min(max(margin / (math.log2(200) - math.log2(0.0044)), 0.0), 1.0)
    weight = 0.1 * accuracy + cheapness
    return 1.1 * accuracy * cheapness / weight if weight else 0.0


def calibration(data: Decisions, router: int) -> dict[str, float | None]:
    """Return Brier score and calibration error."""
    expected = data.arrays["expected_quality"][router, data.rows].astype(float)
    if data.is_table:
        expected, quality = expected.ravel(), data.arrays["quality"][data.rows].ravel()
    else:
        expected = expected[np.arange(data.n), data.arrays["chosen"][router, QUALITY_ALONE, data.rows]]
        quality = data.column("quality", router, QUALITY_ALONE)
    known = ~np.isnan(expected) & ~np.isnan(quality)
    expected, quality = expected[known], quality[known]
    if not len(expected):
        return {"brier": None, "ece": None}
    bins = [(expected <= (k + 1) / 15) & ((expected > k / 15) | (k == 0)) if k < 14 else expected > 14 / 15 for k in range(15)]
    ece = sum(abs((quality - expected)[members].sum()) for members in bins) / len(expected)
    return {"brier": float(((expected - quality) ** 2).mean()), "ece": float(ece)}


def strong_calls(data: Decisions, router: int) -> dict[str, float | None]:
    """Return PGR, APGR and CPT: queries go to the strong candidate one after another, those of equal rank together."""
    nothing: dict[str, float | None] = dict.fromkeys(("pgr", "apgr", "cpt50", "cpt80"))
    means = data.arrays["candidate_means"]
    if not data.is_table or len(data.models) != 2 or np.isnan(means[:, 0]).any():
        return nothing
    weak, strong = sorted(range(2), key=lambda m: (means[m, 0], means[m, 1]))
    quality, utility = data.constant("quality"), data.arrays["utility"][router, data.rows].astype(float)
    gain, advantage = quality[:, strong] - quality[:, weak], utility[:, strong] - utility[:, weak]
    if gain.sum() <= 0:
        return nothing
    served = data.realised(router, HEADLINE)[0]
    figures = nothing | {"pgr": float((served - quality[:, weak]).sum() / gain.sum())}
    if np.isnan(advantage).any():
        return figures
    levels = sorted(set(advantage.tolist()), reverse=True)
    calls = np.array([0.0, *((advantage >= level).mean() for level in levels)])
    recovered = np.array([0.0, *(gain[advantage >= level].sum() / gain.sum() for level in levels)])
    figures["apgr"] = area(recovered, calls)
    for name, share in (("cpt50", 0.5), ("cpt80", 0.8)):
        after = next(k for k in range(1, len(calls)) if recovered[k] >= share)
        way = (share - recovered[after - 1]) / (recovered[after] - recovered[after - 1])
        figures[name] = float(calls[after - 1] + way * (calls[after] - calls[after - 1]))
    return figures


def headline(data: Decisions, router: int, price: tuple[float, float] | None) -> dict[str, Any]:
    """Return the figures at the headline preference."""
    outcome = quality, cost, latency = data.realised(router, HEADLINE)
    success = float((quality >= 0.5).mean())
    known = not np.isnan(latency).any()
    effort = None if price is None else price[0] * cost.mean() + (price[1] * latency.mean() if price[1] else 0.0)
    return {
        "success_rate": success,
        "mean_quality": float(quality.mean()),
        "mean_cost_usd": float(cost.mean()),
        "mean_latency_ms": float(latency.mean()) if known else None,
        "p95_latency_ms": float(np.percentile(latency, 95)) if known else None,
        "efficiency": success / effort if effort else None,
        "mean_reward": float(data.reward(outcome, HEADLINE).mean()),
        "decision_cost_usd": float(data.arrays["spent_usd"][router, HEADLINE, data.rows].mean()),
        "arena_score": arena(float(quality.mean()), float(cost.mean())),
    }


def price_of_time(data: Decisions) -> tuple[float, float] | None:
    """Return efficiency's alpha and beta."""
    if "llm-only" not in data.names:
        return None
    _, cost, latency = (values.mean() for values in data.realised(data.names.index("llm-only"), HEADLINE))
    if cost <= 0 or latency <= 0:
        return None
    return (1 / cost, 0.0) if np.isnan(latency) else (0.5 / cost, 0.5 / latency)


def best_single(data: Decisions) -> int:
    """Return the position of the best candidate, the cheapest of a tie."""
    singles = data.singles()
    return min(range(len(singles)), key=lambda m: (-singles[m][1], singles[m][0]))


def figures(data: Decisions, router: int, price: tuple[float, float] | None, best_candidate: int) -> dict[Place, Any]:
    """Return every figure of one router by its place in ``metrics.json``."""
    found: dict[Place, Any] = {(name,): value for name, value in headline(data, router, price).items()}
    sweep = [[float(values.mean()) for values in data.realised(router, point)] for point in SWEEP]
    for k, means in enumerate(sweep):
        found |= {("frontier", str(k), name): mean for name, mean in zip(("mean_quality", "mean_cost_usd", "mean_latency_ms"), means, strict=True)}
    singles = data.singles()
    best_cost, best = singles[best_candidate]
    reachable = [min(singles, key=lambda single: (single[0], -single[1])), *((cost, quality) for quality, cost, _ in sweep)]
    found["aiq",] = average_quality(reachable, min(singles)[0], max(singles)[0])
    for share in SHARES:
        found["cost_at_quality", share] = minimum_cost(reachable, float(share) * best) / best_cost if best_cost > 0 else None
    found |= over_the_lattice(data, router)
    found |= {(name,): value for part in (calibration(data, router), strong_calls(data, router)) for name, value in part.items()}
    chosen = data.arrays["chosen"][router, HEADLINE, data.rows]
    found |= {("model_share", model): float((chosen == m).mean()) for m, model in enumerate(data.models)}
    return found | per_category(data, router)


def over_the_lattice(data: Decisions, router: int) -> dict[Place, Any]:
    """Return the figures of many preferences at once."""
    outcomes = {point: data.realised(router, point) for point in LATTICE}
    rewards = {point: float(data.reward(outcome, point).mean()) for point, outcome in outcomes.items()}
    weighed = np.flatnonzero(data.preferences[list(LATTICE)].any(axis=0))
    vectors = np.array([[data.objectives(outcome)[k].mean() for k in weighed] for outcome in outcomes.values()])
    regret = None
    if "oracle" in data.names:
        oracle = data.names.index("oracle")
        regret = max(float(data.reward(data.realised(oracle, point), point).mean()) - rewards[point] for point in LATTICE)
    return {
        ("expected_utility",): sum(rewards.values()) / len(rewards),
        ("worst_regret",): regret,
        ("hypervolume",): volume(vectors),
        ("sparsity",): gaps(vectors),
    }


def per_category(data: Decisions, router: int) -> dict[Place, Any]:
    """Return the figures of each category."""
    found: dict[Place, Any] = {}
    everywhere, here = data.arrays["category"], data.arrays["category"][data.rows]
    quality, cost, _ = data.realised(router, HEADLINE)
    for category in sorted(set(everywhere.tolist())) if (everywhere != "").any() else ():
        members = here == category
        columns = {"success_rate": quality >= 0.5, "mean_quality": quality, "mean_cost_usd": cost}
        found |= {("per_category", category, name): float(values[members].mean()) if members.any() else None for name, values in columns.items()}
        found["per_category", category, "n"] = int(members.sum())
    return found


def constant_policies(data: Decisions, arrays: dict[str, Array] | None) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the mean cost and quality of each constant policy, and its mean reward; of a table, or from the arrays of ``constants.npz``."""
    if arrays is None:
        columns = [tuple(data.constant(name)[:, m] for name in ("quality", "cost_usd", "latency_ms")) for m in range(len(data.models))]
    else:
        constants = Decisions(arrays, data.rows)
        columns = [constants.realised(m, HEADLINE) for m in range(len(data.models))]
    points = [(float(costs.mean()), float(qualities.mean())) for qualities, costs, _ in columns]
    return points, [float(data.reward(column, HEADLINE).mean()) for column in columns]


def on_hull(points: list[tuple[float, float]]) -> list[int]:
    """Return the positions of the points that are better than every mixture of the others, the first one of equal points."""

    def is_better(m: int) -> bool:
        cost, quality = points[m]
        others = [point for point in points if point != points[m]]
        return points[m] not in points[:m] and (all(c > cost for c, _ in others) or mixtures(others, cost) < quality - 1e-12)

    return [m for m in range(len(points)) if is_better(m)]


def promotion(data: Decisions, points: list[tuple[float, float]], best: float, router: int) -> dict[str, Any]:
    """Return the figures of the promotion gate, by the constant policies on the hull and the best one's reward."""
    outcome = data.realised(router, HEADLINE)
    quality, cost, reward = float(outcome[0].mean()), float(outcome[1].mean()), float(data.reward(outcome, HEADLINE).mean())
    constant = mixtures(points, max(cost, min(points)[0]))
    way = None
    if "oracle" in data.names:
        way = float(data.reward(data.realised(data.names.index("oracle"), HEADLINE), HEADLINE).mean()) - best
    return {
        **{"mean_quality": quality, "mean_cost_usd": cost, "constant_quality": constant},
        **{"quality_gap": quality - constant, "reward_gap": reward - best},
        "oracle_share": (reward - best) / way if way is not None and way > 1e-9 else None,
    }


def everything(data: Decisions, price: tuple[float, float] | None, best_candidate: int) -> dict[Place, Any]:
    """Return every figure of ``metrics.json`` except the gate's, by its place."""
    singles = data.singles()
    found: dict[Place, Any] = {("zero_router", "aiq"): average_quality(singles, min(singles)[0], max(singles)[0])}
    mean = [float(data.reward(data.realised(router, HEADLINE), HEADLINE).mean()) for router in range(len(data.names))]
    for router, name in enumerate(data.names):
        found |= {("routers", name, *place): value for place, value in figures(data, router, price, best_candidate).items()}
        if router:
            found["comparisons", name, "difference"] = mean[0] - mean[router]
    return {place: None if value is None or math.isnan(value) else value for place, value in found.items()}


def reported(document: dict[str, Any]) -> dict[Place, tuple[Any, Any]]:
    """Return every figure of ``metrics.json`` and its interval, by its place."""
    found: dict[Place, tuple[Any, Any]] = {("zero_router", "aiq"): (document["zero_router"]["aiq"], document["zero_router"]["ci95"]["aiq"])}
    for name, entry in document["routers"].items():
        parts: dict[Place, tuple[dict[str, Any], dict[str, Any]]] = {
            ("routers", name): (entry, entry["ci95"]),
            **{("routers", name, "frontier", str(k)): (point, point["ci95"]) for k, point in enumerate(entry["frontier"])},
            **{("routers", name, "per_category", key): (part, part["ci95"]) for key, part in (entry["per_category"] or {}).items()},
            **{("routers", name, key): (entry[key], entry[f"{key}_ci95"]) for key in ("model_share", "cost_at_quality")},
        }
        if "gate" in document:
            parts["gate", name] = (document["gate"]["routers"][name], document["gate"]["routers"][name]["ci95"])
        for place, (values, intervals) in parts.items():
            single = {key: value for key, value in values.items() if value is None or type(value) in (int, float)}
            found |= {(*place, key): (value, intervals.get(key)) for key, value in single.items() if key not in ("missing", "per_category")}
    found |= {("comparisons", pair["b"], "difference"): (pair["difference"], pair["ci95"]) for pair in document["comparisons"]}
    return found


def differences(stated: dict[Place, tuple[Any, Any]], found: dict[Place, Any]) -> list[str]:
    """Return the differences of reported and recomputed figures; an infinite cost is null in JSON."""
    lines = [f"{'/'.join(place)} is reported and not recomputed" for place in stated.keys() - found.keys()]
    lines += [f"{'/'.join(place)} is recomputed and not reported" for place in found.keys() - stated.keys() if found[place] is not None]
    for place in stated.keys() & found.keys():
        value, own = stated[place][0], None if found[place] in (None, math.inf) else found[place]
        if (value is None) != (own is None) or (own is not None and not math.isclose(value, own, rel_tol=1e-7, abs_tol=1e-10)):
            lines.append(f"{'/'.join(place)} is reported as {value} and recomputed as {own}")
    return lines


def tested(data: Decisions, document: dict[str, Any]) -> list[str]:
    """Return the differences of the paired tests, repeated with other random exchanges."""
    lines, pairs, rng = [], document["comparisons"], np.random.default_rng(1)
    first = data.reward(data.realised(0, HEADLINE), HEADLINE)
    for router, pair in enumerate(pairs, start=1):
        p, differences = 0.0, first - data.reward(data.realised(router, HEADLINE), HEADLINE)
        for unit in units(data.arrays):
            totals = np.bincount(unit, differences)
            exchanged = np.abs(rng.choice([-1.0, 1.0], size=(PERMUTATIONS, len(totals))) @ totals)
            p = max(p, float((np.append(exchanged, np.inf) >= abs(totals.sum()) * (1 - 1e-9)).mean()))
        if abs(p - pair["p"]) > 5 * math.sqrt(p * (1 - p) / PERMUTATIONS) + 2 / PERMUTATIONS:
            lines.append(f"comparisons/{pair['b']}/p is reported as {pair['p']} and recomputed as {p}")
    worst = 0.0
    for rank, pair in enumerate(sorted(pairs, key=lambda pair: pair["p"])):
        worst = max(worst, min(1.0, pair["p"] * (len(pairs) - rank)))
        if not math.isclose(worst, pair["p_holm"], rel_tol=1e-9):
            lines.append(f"comparisons/{pair['b']}/p_holm is reported as {pair['p_holm']} and recomputed as {worst}")
    return lines


def agree(place: Place, interval: list[float] | None, drawn: Array, noise: float = 0.0) -> bool:
    """Return whether each bound agrees within five standard errors with that of figures on other resamples; null stands for infinity.

    ``noise`` is the relative error of the resamples' widths.
    """
    known = np.sort(drawn[~np.isnan(drawn)])
    if interval is None:
        return place[-1] == "n" or place[0] == "zero_router" or len(known) < 0.99 * len(drawn) or bool(np.isinf(known).mean() > 0.9)
    if not known.size:
        return False
    if known[0] == known[-1] and known[0] in (0, 1):  # the exact interval of a share
        return known[0] in interval
    chance = 5 * math.sqrt(0.025 * 0.975 * (1 / len(known) + 1 / 1000))
    low, high = interval[0], math.inf if interval[1] is None else interval[1]
    last = len(known) - 1
    inner, outer = math.ceil((0.025 + chance) * last), math.floor(max(0.025 - chance, 0.0) * last)
    wide = 0.0 if math.isinf(high) else noise * (high - low)
    slack = max(1e-9 * abs(low), 1e-12, wide)  # a gap of zero may be 1e-16
    lower = known[outer] - slack <= low <= known[inner] + slack
    return bool(lower and known[last - inner] - slack <= high <= known[last - outer] + slack)


def draws_of(units: int) -> int:
    """Return the number of units of a resample, with which the interval of a mean has the width of Student's."""
    return 1 if units < 2 else max(round((units - 1) * float(norm.ppf(0.975) / t.ppf(0.975, units - 1)) ** 2), 1)


def check(folder: Path, resamples: int = 0) -> list[str]:
    """Return the differences between a folder's ``metrics.json`` and its ``decisions.npz``."""
    arrays = load(folder / "decisions.npz")
    document = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    constant = load(folder / "constants.npz") if (folder / "constants.npz").exists() else None
    stated = reported(document)

    def recompute(rows: Array) -> dict[Place, Any]:
        drawn = Decisions(arrays, rows)
        found = everything(drawn, price, best_candidate)
        if "gate" in document:
            points, rewards = constant_policies(drawn, constant)
            for router, name in enumerate(drawn.names):
                gate = promotion(drawn, [points[m] for m in hull], rewards[best], router)
                found |= {("gate", name, key): value for key, value in gate.items()}
        return found

    data = Decisions(arrays, np.arange(len(arrays["queries"])))
    price, best_candidate = price_of_time(data), best_single(data)
    if "gate" in document:
        points, rewards = constant_policies(data, constant)
        hull, best = on_hull(points), int(np.argmax(rewards))
    lines = differences(stated, recompute(data.rows)) + tested(data, document)
    rng, found = np.random.default_rng(2), []
    for unit in units(arrays) if resamples else ():
        members = [np.flatnonzero(unit == number) for number in range(unit.max() + 1)]
        drawn = draws_of(len(members))
        draws = [recompute(np.concatenate([members[i] for i in rng.integers(len(members), size=drawn)])) for _ in range(resamples)]
        if len(members) < 2:  # no interval follows from a single unit
            draws = [{} for _ in draws]
        found.append({place: np.array([math.nan if draw.get(place) is None else draw[place] for draw in draws]) for place in stated})
        found[-1] |= category_draws(data, unit, resamples, rng)
    noise = 0.05 if len(found) > 1 else 0.0  # the widths over three units make up one
    for place, (value, interval) in stated.items() if found else ():
        own = exact(arrays, place, value)
        if not (agree(place, interval, two_way([each[place] for each in found]), noise) if own is None else np.allclose(interval or (), own)):
            lines.append(f"{'/'.join(place)} has the interval {interval}, but another one with other resamples")
    return lines


def category_draws(data: Decisions, unit: Array, resamples: int, rng: np.random.Generator) -> dict[Place, Array]:
    """Return the figures of each category on resamples of its own units; NaN for one or two units."""
    found: dict[Place, Array] = {}
    category = data.arrays["category"]
    for name in np.unique(category).tolist():
        members = [np.flatnonzero((unit == number) & (category == name)) for number in np.unique(unit[category == name])]
        drawn = rng.integers(len(members), size=(resamples, draws_of(len(members))))
        draws = [Decisions(data.arrays, np.concatenate([members[i] for i in own])) for own in drawn]
        for router, label in enumerate(data.names):
            means = [per_category(draw, router) for draw in draws]
            known = [place for place in means[0] if place[1] == name]
            found |= {("routers", label, *place): np.array([each[place] if len(members) > 2 else math.nan for each in means]) for place in known}
    return found


def exact(arrays: dict[str, Array], place: Place, value: Any) -> list[float] | None:
    """Return the interval of Clopper and Pearson of a share in data with one row a unit, else None; mean qualities of 0 and 1 are shares."""
    part, quality = place[2:3] == ("per_category",), arrays["quality"]
    rows = arrays["category"] == place[3] if part else np.ones(len(arrays["category"]), dtype=bool)
    n, own = int(rows.sum()), quality[rows] if quality.ndim == 2 else quality[..., rows]
    is_share = place[-1] == "success_rate" or "model_share" in place or (place[-1] == "mean_quality" and not ((own > 0) & (own < 1)).any())
    if not is_share or n < 2 + part or any(len(np.unique(unit[rows])) < n for unit in units(arrays)):
        return None
    return list(binomtest(round(value * n), n).proportion_ci(method="exact"))


def units(arrays: dict[str, Array]) -> list[Array]:
    """Return the number of the unit of each query: its question in a table; in streams its stream, its question, and itself."""
    query = np.arange(len(arrays["queries"]))
    question = np.where(arrays["queries"] == hashlib.sha256(b"").hexdigest(), query.astype(str), arrays["queries"])
    found = [arrays["stream"]] if arrays["quality"].ndim == 2 else [arrays["stream"], question, query]
    return [np.unique(unit, return_inverse=True)[1] for unit in found]


def two_way(drawn: list[Array]) -> Array:
    """Return a figure on resamples of streams or questions, spread as much as both are together: the variances add up, less that of queries."""
    if len(drawn) == 1 or any(np.isnan(each).mean() > 0.05 for each in drawn):
        return drawn[int(np.argmax([np.isnan(each).mean() for each in drawn]))]
    bounds = [np.nanquantile(each, (0.025, 0.975), method="inverted_cdf") for each in drawn]
    streams, questions, queries = [math.inf if math.isinf(high) else high - low for low, high in bounds]
    widest = int(questions > streams)
    if not 0 < max(streams, questions) < math.inf:
        return drawn[widest]
    factor = math.sqrt(max(1.0, (streams**2 + questions**2 - queries**2) / max(streams, questions) ** 2))
    middle = bounds[widest].mean()
    return np.asarray(middle + (drawn[widest] - middle) * factor)


def load(path: Path) -> dict[str, Array]:
    """Read the arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def main() -> None:
    """Check a run and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resamples", type=int, default=0, help=f"Resamples for intervals: 0 or at least {MIN_RESAMPLES} (default: 0).")
    given = parser.parse_args()
    if 0 < given.resamples < MIN_RESAMPLES:
        parser.error(f"--resamples must be 0 or at least {MIN_RESAMPLES}, not {given.resamples}")
    lines = check(given.run, given.resamples)
    sys.stdout.write("\n".join(lines or ["every number follows from the decisions"]) + "\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
