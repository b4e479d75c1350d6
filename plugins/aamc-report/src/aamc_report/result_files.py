"""The files of a run, read and checked as far as a report relies on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from aamc_experiments.evaluation import HEADLINE, MEASURE_AGAIN, Comparison, evaluation_points
from aamc_experiments.run_folder import RunFolder

from aamc_report.results import Difference, Gate, Results, bounds, entry_errors, number
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import TRAINING, read_json_object
from aamc_sdk.types import Preference

INTERVALS = ("ci95", "model_share_ci95", "cost_at_quality_ci95")
NESTED = ("per_category", "model_share", "cost_at_quality", *INTERVALS)
COUNTS = ("dropped", "warm_up", "steps")
"""The numbers of ``data`` that a report states."""
GAPS = ("quality_gap", "reward_gap", "oracle_share")
"""The promotion gate's figures in a report."""

_ROUNDING = 1e-6
"""Difference up to which two shares are equal."""


def read_results(folder: Path) -> Results:
    """Read a run's folder.

    Raises:
        CheckpointError: The folder is not a run of routers, or one of its files is missing or damaged.
    """
    run = RunFolder.open(folder)
    run.refuse_orchestrator()
    if run.goal.command == "train":
        how = f"compare routers with aamc run, or a trained one with: aamc evaluate {run.folder} --out FOLDER"
        raise CheckpointError(f"{run.folder} was made by aamc train and holds no comparison; {how}")
    content = _read_metrics(run.folder / "metrics.json")
    routers = content["routers"]
    decisions = _read_decisions(run.folder / "decisions.npz", routers)
    _check_same_measurement(run.folder, decisions, routers)
    headline, (curves, limits) = run.router_name, _read_trainings(run.folder)
    with entry_errors("comparisons"):
        paired = {(str(test["a"]), str(test["b"])): Difference.of(test) for test in content.get("comparisons") or []}
    return Results(
        run=run,
        data=content["data"],
        routers=routers,
        headline=headline if headline in routers else next(iter(routers)),
        decisions=decisions,
        curves=curves,
        limits=limits,
        configuration=(run.folder / "run.yaml").read_text(encoding="utf-8"),
        paired=paired,
        gate=None if content.get("gate") is None else _read_gate(content["gate"]),
    )


def _read_gate(found: Mapping[str, Any]) -> Gate:
    with entry_errors("gate"):
        routers = found["routers"].items()
        gaps = {name: {key: (number(result[key]), bounds(result["ci95"][key])) for key in GAPS} for name, result in routers}
        return Gate(str(found["why"]), {name: bool(result["passed"]) for name, result in routers}, gaps)


def _read_metrics(path: Path) -> Mapping[str, Any]:
    content = read_json_object(path, MEASURE_AGAIN)
    routers, data = content.get("routers"), content.get("data")
    if not (isinstance(data, Mapping) and isinstance(routers, Mapping) and routers and all(map(_is_usable, routers.values()))):
        raise CheckpointError(f"{path} is damaged: it must hold 'data', and figures of 'routers'; {MEASURE_AGAIN}")
    _check_figures(path, "data", {key: data.get(key) for key in COUNTS})
    for name, metrics in routers.items():
        _check_figures(path, f"routers.{name}", metrics)
    return content


def _check_figures(path: Path, where: str, figures: Mapping[str, Any], intervals: bool = False) -> None:
    """Check that figures are numbers or null, nested ones too; of ``intervals`` each is two numbers or null."""
    for key, value in figures.items():
        if isinstance(value, Mapping):
            _check_figures(path, f"{where}.{key}", value, key in INTERVALS)
        elif key == "frontier":
            for position, point in enumerate(value or ()):
                _check_figures(path, f"{where}.frontier[{position}]", point)
        elif key != "preference" and value is not None:
            is_interval = intervals or key in INTERVALS
            numbers = value if is_interval and isinstance(value, list) else [value]
            are_numbers = all(number is None or (isinstance(number, int | float) and not isinstance(number, bool)) for number in numbers)
            if not are_numbers or len(numbers) != 1 + is_interval:
                expected = "two numbers" if is_interval else "a number"
                raise CheckpointError(f"{path} is damaged: {where}.{key} must be {expected} or null, not {value!r:.40}; {MEASURE_AGAIN}")


def _is_usable(metrics: Any) -> bool:
    """Return whether a router's entry has the expected shape; its numbers are checked later."""
    if not isinstance(metrics, Mapping):
        return False
    nested: dict[str, Any] = {key: metrics.get(key) or {} for key in NESTED}
    frontier = metrics.get("frontier") or []
    return (
        all(isinstance(part, Mapping) for part in nested.values())
        and all(isinstance(part, Mapping) and "n" in part and isinstance(part.get("ci95") or {}, Mapping) for part in nested["per_category"].values())
        and isinstance(frontier, list)
        and all(isinstance(point, Mapping) and {"mean_cost_usd", "mean_quality"} <= point.keys() for point in frontier)
    )


def _read_decisions(path: Path, routers: Collection[str]) -> Comparison:
    decisions = Comparison.load(path)
    if set(decisions.routers.tolist()) != set(routers):
        raise CheckpointError(f"{path} and metrics.json are about different routers; {MEASURE_AGAIN}")
    r, p, q, m = len(decisions.routers), len(evaluation_points(Preference())), len(decisions.queries), len(decisions.candidates)
    outcomes = (q, m) if decisions.is_table else (r, p, q)
    shapes = {
        "preferences": (p, 3),
        "category": (q,),
        "stream": (q,),
        "candidate_means": (m, 3),
        "scales": (2, 2),
        "chosen": (r, p, q),
        "spent_usd": (r, p, q),
        "expected_quality": (r, q, m),
        **dict.fromkeys(("quality", "cost_usd", "latency_ms"), outcomes),
    }
    unfit = [name for name, shape in shapes.items() if getattr(decisions, name).shape != shape]
    if unfit or not q or not ((decisions.chosen >= 0) & (decisions.chosen < m)).all():
        raise CheckpointError(f"{path} is damaged: its arrays do not fit together ({', '.join(unfit) or 'chosen'}); {MEASURE_AGAIN}")
    return decisions


def _check_same_measurement(folder: Path, decisions: Comparison, routers: Mapping[str, Any]) -> None:
    """Check that the figures are those of the decisions, by the share of each candidate."""
    for position, name in enumerate(decisions.routers.tolist()):
        stated = routers[name].get("model_share") or {}
        chosen = decisions.chosen[position, HEADLINE]
        shares = {candidate: float((chosen == n).mean()) for n, candidate in enumerate(decisions.candidates.tolist())}
        if any(abs((share or 0.0) - shares.get(candidate, 0.0)) > _ROUNDING for candidate, share in stated.items()):
            raise CheckpointError(f"metrics.json and decisions.npz of {folder} are of two measurements: {name} chose otherwise; {MEASURE_AGAIN}")


def _read_trainings(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the learning curves by component, and the limits that routers reported to keep, by router; a damaged limit counts as none."""
    curves, limits = {}, {}
    for path in (folder / "estimator" / TRAINING, *sorted(folder.glob(f"routers/*/{TRAINING}"))):
        if not path.is_file():
            continue
        advice = "delete the file to report without its curve, or train again"
        content = read_json_object(path, advice)
        curve, kept = content.get("curve") or [], content.get("limits")
        if not isinstance(curve, list) or not all(isinstance(point, Mapping) for point in curve):
            raise CheckpointError(f"{path} is damaged: its 'curve' must be a list of points; {advice}")
        if curve:
            curves[path.parent.name] = curve
        if isinstance(kept, Mapping) and all(isinstance(limit, Mapping) for limit in kept.values()):
            limits[path.parent.name] = kept
    return curves, limits
