"""Every number, recomputed from the file alone by a script that shares no code with the SDK."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import Comparison, ConstantOutcomes, constant_routers, metrics, promotion

from aamc_sdk.storage import write_json

pytestmark = pytest.mark.one_python

SCRIPT = Path(__file__).parents[4] / "scripts" / "recompute.py"
PER_ROUTER = ("routers", "chosen", "spent_usd", "spent_ms", "expected_quality", "utility")


@pytest.fixture(scope="module")
def recompute() -> Any:
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compared(large_table: Any, routers: Any) -> tuple[Any, Comparison]:
    """Four routers of which one is costly and slow, on a table that its reward fits and the arena's costs reach."""
    table = attrs.evolve(large_table, outcomes=attrs.evolve(large_table.outcomes, cost_usd=large_table.outcomes.cost_usd / 1000))
    table.reward.fit(table.outcomes)
    costly = routers.Always(routers.options, table.services)
    costly.spent_usd, costly.spent_ms, costly.candidate = 0.01, 20.0, 3
    everyone = {
        "greedy": routers.Greedy(routers.options, table.services),
        "dice": routers.Dice(routers.options, table.services),
        "llm-only": costly,
        "oracle": routers.Prophet(routers.options, table.services),
    }
    comparison = table.compare(everyone)
    noise = np.random.default_rng(0).random(comparison.expected_quality.shape)
    return table, attrs.evolve(comparison, expected_quality=(comparison.expected_quality + noise) / 2)


def as_streams(comparison: Comparison) -> Comparison:
    """Return the same decisions as if they had been played in 30 streams of two queries, with each question asked twice."""
    played = [comparison.realised(router) for router in range(len(comparison.routers))]
    return attrs.evolve(
        comparison,
        quality=np.stack([one.known_quality for one in played]),
        cost_usd=np.stack([one.cost_usd for one in played]) - comparison.spent_usd,
        latency_ms=np.stack([one.latency_ms for one in played]) - comparison.spent_ms,
        queries=comparison.queries[::2].repeat(2),
        stream=np.arange(len(comparison.queries)) % 30,
    )


def write(folder: Path, comparison: Comparison, reward: Any, constants: ConstantOutcomes | None = None) -> None:
    comparison.save(folder / "decisions.npz")
    document = metrics(comparison, reward)
    if constants is not None:
        document["gate"] = promotion(comparison, constants, reward, comparison.routers[0])
    write_json(folder / "metrics.json", document)


def test_every_figure_of_a_table_follows_from_the_file(recompute: Any, compared: Any, tmp_path: Path) -> None:
    table, comparison = compared
    write(tmp_path, comparison, table.reward, ConstantOutcomes.of(comparison, table.reward))
    assert recompute.check(tmp_path) == []


def test_every_figure_of_a_table_with_candidates_that_are_not_allowed_follows(recompute: Any, compared: Any, routers: Any, tmp_path: Path) -> None:
    table, comparison = compared
    allowed = np.random.default_rng(1).random(comparison.quality.shape) < 0.7
    allowed[:, 2] |= ~allowed.any(axis=1)
    table = attrs.evolve(table, request=attrs.evolve(table.request, mask=allowed), outcomes=table.outcomes.where(allowed))
    everyone = {name: getattr(routers, kind)(routers.options, table.services) for name, kind in (("greedy", "Greedy"), ("oracle", "Prophet"))}
    masked = table.compare({"llm-only": routers.Always(routers.options, table.services), **everyone})
    assert np.isnan(masked.quality).any()
    write(tmp_path, masked, table.reward, ConstantOutcomes.of(masked, table.reward))
    assert recompute.check(tmp_path) == []


def test_every_figure_of_streams_follows_from_the_files(recompute: Any, compared: Any, tmp_path: Path) -> None:
    table, comparison = compared
    constant = as_streams(table.compare(constant_routers(table.services), preferences=comparison.preferences[:1]))
    constant.save(tmp_path / "constants.npz")
    write(tmp_path, as_streams(comparison), table.reward, ConstantOutcomes.of(constant, table.reward))
    assert recompute.check(tmp_path) == []


def test_streams_need_no_constants_without_a_gate(recompute: Any, compared: Any, tmp_path: Path) -> None:
    table, comparison = compared
    write(tmp_path, as_streams(comparison), table.reward)
    assert recompute.check(tmp_path) == []


def test_other_resamples_give_the_same_intervals(recompute: Any, compared: Any, tmp_path: Path) -> None:
    table, comparison = compared
    two = attrs.evolve(comparison, **{name: getattr(comparison, name)[[0, 3]] for name in PER_ROUTER})
    write(tmp_path, two, table.reward, ConstantOutcomes.of(two, table.reward))
    assert recompute.check(tmp_path, resamples=400) == []


@pytest.mark.parametrize("interval", [[-1.2, 1.96], [-1.96, 1.2], [-4.0, 1.96], [-1.96, None], None])
def test_an_interval_that_is_too_narrow_or_too_wide_is_noticed(recompute: Any, interval: list[float] | None) -> None:
    drawn = np.random.default_rng(0).normal(size=recompute.MIN_RESAMPLES)
    assert recompute.agree(("mean_quality",), [-1.96, 1.96], drawn)
    assert not recompute.agree(("mean_quality",), interval, drawn)


def test_one_stream_alone_has_no_intervals_to_agree_with(recompute: Any, compared: Any, tmp_path: Path) -> None:
    table, comparison = compared
    write(tmp_path, attrs.evolve(as_streams(comparison), stream=np.zeros(60, dtype=np.intp)), table.reward)
    assert recompute.check(tmp_path, resamples=200) == []
    document = json.loads((tmp_path / "metrics.json").read_text())
    document["routers"]["greedy"]["ci95"]["mean_quality"] = [0.5, 0.5]
    write_json(tmp_path / "metrics.json", document)
    (line,) = recompute.check(tmp_path, resamples=200)
    assert line.startswith("routers/greedy/mean_quality has the interval [0.5, 0.5]")


def test_strong_calls_follow_from_the_file(recompute: Any, make_table: Any, routers: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = make_table(rng.uniform(0, (1.0, 0.6), (200, 2)), rng.uniform((1.0, 0.5), (2.0, 1.0), (200, 2)))
    comparison = table.compare({"dice": routers.Dice(routers.options, table.services)})
    utility = comparison.expected_quality + rng.normal(0, 0.3, comparison.utility.shape)
    write(tmp_path, attrs.evolve(comparison, utility=utility.round(1)), table.reward)
    assert json.loads((tmp_path / "metrics.json").read_text())["routers"]["dice"]["cpt80"] > 0
    assert recompute.check(tmp_path) == []


@pytest.mark.parametrize(
    "place",
    [
        ("routers", "greedy", "efficiency"),
        ("routers", "greedy", "frontier", 20, "mean_cost_usd"),
        ("routers", "dice", "per_category", "odd", "mean_quality"),
        ("routers", "dice", "per_category", "odd", "n"),
        ("routers", "oracle", "model_share", "m3"),
        ("routers", "oracle", "cost_at_quality", "0.97"),
        ("zero_router", "aiq"),
        ("comparisons", 0, "difference"),
        ("comparisons", 0, "p"),
        ("comparisons", 1, "p_holm"),
        ("gate", "routers", "greedy", "constant_quality"),
    ],
    ids=lambda place: "/".join(map(str, place)),
)
def test_a_number_that_does_not_follow_is_named(recompute: Any, compared: Any, tmp_path: Path, place: tuple[Any, ...]) -> None:
    table, comparison = compared
    write(tmp_path, comparison, table.reward, ConstantOutcomes.of(comparison, table.reward))
    document = json.loads((tmp_path / "metrics.json").read_text())
    *way, last = place
    part = document
    for step in way:
        part = part[step]
    part[last] += 0.2 if last != "n" else 1
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    assert any(last in line for line in recompute.check(tmp_path))
