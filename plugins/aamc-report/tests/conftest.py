"""A run's folder as the core writes it, small and made up, in every form that a report must bear."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from aamc_experiments.evaluation import Comparison
from aamc_experiments.settings import read_settings
from aamc_report.report import write_report
from numpy.typing import NDArray

from aamc_sdk.routing import pool_to_dict
from aamc_sdk.storage import plain, write_json, write_text
from aamc_sdk.types import Floats, ModelSpec, Pool, text_hash

ROUTERS = ("ppo", "llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle")
CANDIDATES = ("SLM-Tiny", "SLM-Small", "SLM-Medium", "LLM-Code", "LLM-Tools", "LLM-Large", "LLM-XLarge")
CATEGORIES = ("code", "math", "facts", "writing", "tools", "chat", "science", "summary")
PREFERENCES, QUERIES, RESAMPLES = 43, 240, 60
TEXTS = [f"What is {n} and {n}?" for n in range(QUERIES)]

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run's folder and returns it."""
    return partial(_build, tmp_path / "run")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, for tests that only read."""
    folder = _build(tmp_path_factory.mktemp("reported"))
    write_report(folder)
    return folder


def _build(
    folder: Path,
    routers: tuple[str, ...] = ROUTERS,
    candidates: tuple[str, ...] = CANDIDATES,
    categories: tuple[str, ...] = CATEGORIES,
    streams: bool = False,
    latency: bool = True,
    curves: bool = True,
    split: str = "5eed",
    seed: int = 7,
) -> Path:
    comparison = _comparison(routers, candidates, categories, streams, latency)
    questions = folder.parent / "questions.csv"
    write_text(questions, "\n".join(("text,complexity,category,tool_use", *(f"{text},0.5,math,0" for text in TEXTS))) + "\n")
    given = {"router": routers[0], "estimator": "tce", "seed": seed, "dataset": f"synthetic:{questions}", "evaluation": {"resamples": RESAMPLES}}
    content = {"schema": 1, "settings": read_settings(given).to_dict(), "router": routers[0], "goal": "comparison", "versions": {"aamc-sdk": "0.1.0"}}
    write_text(folder / "run.yaml", yaml.safe_dump(content | {"splits": {"test": {"queries": QUERIES, "sha256": split}}}))
    write_text(folder / "pool.yaml", yaml.safe_dump(plain(pool_to_dict(Pool([ModelSpec(name) for name in candidates])))))
    comparison.save(folder / "decisions.npz")
    write_json(folder / "metrics.json", _metrics(comparison))
    if curves:
        returns = [{"step": 1024 * n, "mean_return": 1 - 1 / n, "entropy": 1 / n} for n in range(1, 40)]
        losses = [{"epoch": n, "loss": 0.9**n, "validation_loss": 0.92**n} for n in range(9)]
        write_json(folder / "routers" / "ppo" / "training.json", {"curve": returns, "seconds": 61.0})
        write_json(folder / "estimator" / "training.json", {"curve": losses})
    return folder


def _comparison(routers: tuple[str, ...], candidates: tuple[str, ...], categories: tuple[str, ...], streams: bool, latency: bool) -> Comparison:
    generator = np.random.default_rng(0)
    shape, m = (len(routers), PREFERENCES, QUERIES), len(candidates)
    ability = np.linspace(0.66, 0.94, m)
    costs = np.geomspace(2e-5, 0.02, m)
    means = np.column_stack((ability, costs, np.geomspace(300, 3000, m) if latency else np.full(m, np.nan)))
    table = {
        "quality": (generator.random((QUERIES, m)) < ability).astype(float),
        "cost_usd": costs * generator.gamma(4, 0.25, (QUERIES, m)),
        "latency_ms": means[:, 2] * generator.gamma(3, 1 / 3, (QUERIES, m)),
    }
    chosen = np.stack([_choices(name, table["quality"], generator) for name in routers])
    place = (np.arange(QUERIES), chosen)
    played = {name: values[place] for name, values in table.items()} if streams else table
    return Comparison(
        routers=np.array(routers),
        preferences=np.tile((0.9, 0.08, 0.02), (PREFERENCES, 1)),
        queries=np.array([text_hash(text) for text in TEXTS]),
        category=np.array([categories[n % len(categories)] for n in range(QUERIES)]),
        candidates=np.array(candidates),
        candidate_means=means,
        scales=np.array(((costs[0], costs[-1]), (300.0, 3000.0))),
        chosen=chosen,
        spent_usd=np.zeros(shape),
        expected_quality=np.stack([_expected(name, ability, table["quality"], generator) for name in routers]),
        utility=np.zeros((len(routers), QUERIES, m)),
        stream=np.arange(QUERIES),
        missing=np.array(3),
        **played,
    )


def _expected(router: str, ability: Floats, quality: Floats, generator: np.random.Generator) -> Floats:
    """Return what a router expected, ``[Q, M]``: the truth, nothing, or a guess that is partly right."""
    if router == "oracle":
        return quality
    if router == "random":
        return np.full_like(quality, np.nan)
    return np.clip(ability + 0.3 * (quality - ability) + generator.normal(0, 0.1, quality.shape), 0, 1)


def _choices(router: str, quality: Floats, generator: np.random.Generator) -> NDArray[np.int16]:
    """Return what a router chose, ``[P, Q]``: an always equal model, any, or the cheapest that answers well, as far as it can tell."""
    count = quality.shape[1]
    always = {"llm-only": count - 1, "best-single": count - 1, "slm-only": count // 3}
    if router in always:
        return np.full((PREFERENCES, QUERIES), always[router], dtype=np.int16)
    if router == "random":
        return generator.integers(0, count, (PREFERENCES, QUERIES)).astype(np.int16)
    noise = {"ppo": 0.6, "oracle": 0.0, "greedy": 0.7, "supervised": 0.9}.get(router, 1.4)
    thrift = np.concatenate(([0.4], np.geomspace(0.01, 8, PREFERENCES - 1)))[:, None, None]
    utility = quality + noise * generator.normal(size=quality.shape) - thrift * np.geomspace(0.01, 1, count)
    return utility.argmax(axis=2).astype(np.int16)


def _metrics(comparison: Comparison) -> dict[str, Any]:
    data = {
        "source": "synthetic, queue simulator",
        "queries": len(comparison.queries),
        "models": comparison.candidates,
        "preference": [0.9, 0.08, 0.02],
        "cost_note": "prices times counted tokens.",
    }
    return {"schema": 1, "data": data, "routers": {name: _router(comparison, r) for r, name in enumerate(comparison.routers.tolist())}}


def _router(comparison: Comparison, r: int) -> dict[str, Any]:
    outcomes = comparison.realised(r)
    quality, cost, latency = outcomes.known_quality, outcomes.cost_usd, outcomes.latency_ms
    success = (quality[0] >= 0.5).mean()
    figures = {
        "success_rate": success,
        "mean_quality": quality[0].mean(),
        "mean_cost_usd": cost[0].mean(),
        "mean_latency_ms": latency[0].mean(),
        "p95_latency_ms": np.quantile(latency[0], 0.95),
        "efficiency": success / (cost[0].mean() / 0.02),
        "expected_utility": 0.8,
        "aiq": 0.87,
    }
    groups = {str(name): comparison.category == name for name in np.unique(comparison.category)}
    by_category = {name: {"n": rows.sum(), "success_rate": (quality[0][rows] >= 0.5).mean()} for name, rows in groups.items() if name}
    return {
        **figures,
        "mean_reward": None,
        "ci95": {name: [0.96 * value, 1.04 * value] if np.isfinite(value) else None for name, value in figures.items()},
        "per_category": by_category or None,
        "model_share": {name: (comparison.chosen[r, 0] == m).mean() for m, name in enumerate(comparison.candidates.tolist())},
        "missing": 3,
        "frontier": [{"preference": [1, 0, 0], "mean_quality": q.mean(), "mean_cost_usd": c.mean(), "mean_latency_ms": None}
                     for q, c in zip(quality[1:22], cost[1:22], strict=True)],
    }  # fmt: skip
