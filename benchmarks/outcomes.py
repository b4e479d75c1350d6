"""The quality of expected quality on real outcomes, on data like the training data and on other data: prints JSON.

Every job is the experiment of ``aamc run --router greedy --estimator tce --preset full`` on a part of the public data in
``AAMC_DATA``, with other splits for each seed. The comparisons are plain 10 nearest neighbours, the best single candidate and the oracle,
on the same rows; ``above_knn`` is paired. Intervals are 95%, by the bootstrap over test rows; ``over_seeds`` has means. Each job's
results are written to stderr at once.

    python benchmarks/outcomes.py --parts llmrouter mmlu-subjects --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_bench.samples import Sample
from aamc_experiments.data import split_rows
from aamc_experiments.evaluation import Comparison
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import read_settings
from aamc_experiments.setup import make_setup
from aamc_experiments.target_preferences import Target, calibrate
from aamc_experiments.training import Experiment

from aamc_sdk import Component, Dataset, DatasetFormat, Outcomes, Services, get_plugin_manager, hookimpl
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import LinearReward, build_request, default_pool
from aamc_sdk.storage import plain
from aamc_sdk.types import Floats, normalized_text

Splits = dict[str, Dataset]
FORMATS = {"llmrouter": "llmrouter", "routellm/mmlu": "routellm", "routellm/gsm8k": "routellm", "routerarena": "routerarena"}
FIGURES = ("aiq", "relative_quality", "cost_at_0.97", "cost_at_0.99", "cost_at_1.00", "apgr", "mean_quality", "arena_score")
RIVALS: Mapping[str, Any] = {"knn": {"neighbours": 10, "shrinkage": 0.0}, "best-single": None, "oracle": None}
FLOOR = 0.97
DIALOGUES = 80


@cache
def whole(name: str) -> Dataset:
    services = Services(pool=default_pool(), reward=LinearReward(), make=lambda *_: None)
    read = get_plugin_manager().make("dataset", FORMATS[name], services).read(str(Path(os.environ["AAMC_DATA"]) / name))
    assert isinstance(read, Dataset)
    return read


def random_rows(name: str, seed: int) -> Splits:
    """Divide 70/10/20 by question."""
    dataset = whole(name)
    return {split: dataset.take(rows) for split, rows in split_rows([normalized_text(query.text) for query in dataset.queries], seed).items()}


def few_rows(name: str, rows: int, seed: int) -> Splits:
    """Keep a number of training rows, and an eighth of it of validation rows."""
    splits = random_rows(name, seed)
    return splits | {"train": _some(splits["train"], rows, seed), "validation": _some(splits["validation"], rows // 8, seed)}


def one_observed(name: str, seed: int) -> Splits:
    """Keep the outcome of one random candidate for each training and validation row, as a log would."""
    splits = random_rows(name, seed)
    return splits | {split: _observed(splits[split], seed) for split in ("train", "validation")}


def other_categories(name: str, seed: int) -> Splits:
    """Test on a quarter of the categories, and hold out all their rows."""
    dataset = whole(name)
    category = dataset.labels.category
    assert category is not None
    names = np.unique(category)
    held = np.isin(category, np.random.default_rng(seed).permutation(names)[: len(names) // 4])
    return elsewhere(dataset.take(np.flatnonzero(~held)), dataset.take(np.flatnonzero(held)), seed)


def elsewhere(dataset: Dataset, test: Dataset, seed: int) -> Splits:
    """Train on one table and test on another."""
    rows = split_rows([normalized_text(query.text) for query in dataset.queries], seed, test=0.0)
    return {"train": dataset.take(rows["train"]), "validation": dataset.take(rows["validation"]), "test": test}


def _some(dataset: Dataset, rows: int, seed: int) -> Dataset:
    return dataset.take(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:rows]))


def _observed(dataset: Dataset, seed: int) -> Dataset:
    assert dataset.outcomes is not None
    outcomes = dataset.outcomes
    rows, candidates = outcomes.cost_usd.shape
    seen = np.equal.outer(np.random.default_rng(seed).integers(candidates, size=rows), np.arange(candidates))
    kept = (np.where(seen, values, np.nan) for values in (outcomes.known_quality, outcomes.cost_usd, outcomes.latency_ms))
    return attrs.evolve(dataset, outcomes=Outcomes(*kept))


PARTS: Mapping[str, Callable[[int], Dataset | Splits]] = {
    "llmrouter": lambda seed: whole("llmrouter"),
    "llmrouter-100": lambda seed: few_rows("llmrouter", 100, seed),
    "llmrouter-500": lambda seed: few_rows("llmrouter", 500, seed),
    "llmrouter-2000": lambda seed: few_rows("llmrouter", 2000, seed),
    "llmrouter-observed": lambda seed: one_observed("llmrouter", seed),
    "llmrouter-tasks": lambda seed: other_categories("llmrouter", seed),
    "mmlu": lambda seed: whole("routellm/mmlu"),
    "mmlu-subjects": lambda seed: other_categories("routellm/mmlu", seed),
    "gsm8k": lambda seed: whole("routellm/gsm8k"),
    "gsm8k-from-mmlu": lambda seed: elsewhere(whole("routellm/mmlu"), whole("routellm/gsm8k"), seed),
    "gsm8k-80-from-mmlu": lambda seed: elsewhere(whole("routellm/mmlu"), _some(whole("routellm/gsm8k"), DIALOGUES, seed), seed),
    "routerarena": lambda seed: whole("routerarena"),
}
"""The rows of each part, for a seed; the experiment divides undivided ones 70/10/20."""


class PartFormat(DatasetFormat):
    """The parts as a dataset's format, whose path is ``PART/SEED``."""

    def read(self, path: str) -> Dataset | Splits:
        part, _, seed = path.rpartition("/")
        return PARTS[part](int(seed))


@hookimpl
def aamc_datasets() -> list[Component]:
    return [Component("part", f"{__name__}:PartFormat", "A part of the benchmark.")]


def measure(part: str, seed: int, args: argparse.Namespace, plugins: Plugins) -> dict[str, Any]:
    """Train on a part and return all results."""
    choices = {"router": "greedy", "estimator": args.estimator, "dataset": f"part:{part}/{seed}", "routers": RIVALS}
    settings = read_settings(choices | {"preset": args.preset, "seed": seed})
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        Experiment(settings, plugins, Path(folder) / "run", NoProgress()).complete()
        run = RunFolder.open(Path(folder) / "run")
        comparison = Comparison.load(run.folder / "decisions.npz")
        reward = run.services(plugins).reward
        sample = Sample.of(comparison, reward, settings.evaluation, seed)
        calibrated = calibrated_figures(run, plugins) if part == "llmrouter" else {}
    figures = {name: values for name, values in sample.figures.items() if name in FIGURES}
    names = sample.routers.tolist()
    routers = {name: {figure: summary(values[place]) for figure, values in figures.items()} for place, name in enumerate(names)}
    with np.errstate(invalid="ignore"):  # where neither reaches a quality, at infinite cost
        above = {figure: summary(values[0] - values[names.index("knn")]) for figure, values in figures.items()}
    result = {"rows": len(comparison.queries), "seconds": round(time.perf_counter() - started, 1), **calibrated}
    return {"seed": seed, **result, "routers": routers, "above_knn": above}


def calibrated_figures(run: RunFolder, plugins: Plugins) -> dict[str, Any]:
    """Calibrate for a minimum quality on validation rows, and return the results on test rows."""
    preference = calibrate(run, plugins, NoProgress(), Target("quality-floor", FLOOR)).preference
    world, services = make_setup(run.settings, plugins), run.services(plugins)
    request = build_request(
        world.splits["test"].queries, run.pool, preference.array, estimator=run.estimator(plugins, services), candidate_means=run.candidate_means
    )
    router = {run.router_name: run.router(plugins, services)}
    point = preference.array[None]
    played = Measurement(world, router, request, run.candidate_means, run.settings, preferences=point).compare().realised(0)
    outcomes = world.splits["test"].outcomes
    assert outcomes is not None
    best = int(outcomes.known_quality.mean(axis=0).argmax())
    shares = {
        "relative_quality": played.known_quality.mean() / outcomes.known_quality[:, best].mean(),
        "share_of_cost": played.cost_usd.mean() / outcomes.cost_usd[:, best].mean(),
    }
    return {f"calibrated_{FLOOR:g}": {name: round(float(value), 4) for name, value in shares.items()}}


def summary(values: Floats) -> dict[str, Any] | None:
    """Return a value and its interval, from the data followed by resamples; None if it does not apply."""
    if not np.isfinite(values[0]):
        return None
    low, high = np.nanpercentile(values[1:], (2.5, 97.5), method="nearest")
    return {"value": round(float(values[0]), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}


def leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield each value of a result with its path of names."""
    for name, branch in tree.items():
        if isinstance(branch, Mapping):
            yield from leaves(branch, (*path, name))
        elif isinstance(branch, float):
            yield (*path, name), branch


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each value over the seeds in which it applies, with minimum, maximum and number."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for path, value in leaves({name: run[name] for name in run if name not in ("seed", "rows", "seconds")}):
            found.setdefault(".".join(name for name in path if name != "value"), []).append(value)
    return {name: {"mean": round(float(np.mean(v)), 4), "minimum": min(v), "maximum": max(v), "seeds": len(v)} for name, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--estimator", default="tce")
    parser.add_argument("--preset", default="full")
    args = parser.parse_args()
    if "AAMC_DATA" not in os.environ:
        parser.error("AAMC_DATA must name the folder of the public outcome data")
    plugins = Plugins(extra={"benchmark": sys.modules[__name__]})
    results: dict[str, Any] = {"arguments": vars(args)}
    for part in args.parts:
        runs = []
        for seed in args.seeds:
            runs.append(measure(part, seed, args, plugins))
            print(json.dumps({"part": part, **plain(runs[-1])}), file=sys.stderr, flush=True)  # so that a stopped benchmark was not in vain
        results[part] = {"over_seeds": over_seeds(runs), "runs": runs}
    print(json.dumps(plain(results), indent=1))


if __name__ == "__main__":
    main()
