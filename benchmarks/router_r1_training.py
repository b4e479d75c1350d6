"""The synthetic proof of Router-R1: a small language model, warm-started and trained by ``aamc train``, and compared with the oracle of its world.

    python benchmarks/router_r1_training.py --seeds 5 --out router_r1_training.json

Each seed has a world, a model and a training of its own. All figures are of greedy play on new questions.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from aamc_router_r1.world import ALPHAS, ROUNDS, FactWorld

from aamc_sdk.testing import run_command

sys.path.append(str(Path(__file__).parents[1] / "plugins/aamc-router-r1/tests"))
from policy_measures import TrainedPolicy, beside_oracle, statistics_share, unseen_model_share  # next to the tests that use them too
from tiny_model import make_tiny_policy

OPTIONS: Mapping[str, Any] = {
    "training_alphas": [0.0, 0.0, 0.3, 0.3, 0.75],  # at 0.75 nearly every group tells specialists from the generalist
    "rounds": ROUNDS,
    "turn_tokens": 24,
    "warm_start_batch_size": 16,
    "warm_start_learning_rate": 3e-3,
    "warm_start_epochs": 1,
    "micro_batch_size": 80,
    "batch_size": 20,
    "group_size": 4,
    "advantage_scale": "none",
    "steps": 176,
    "learning_rate": 1.5e-3,
    "learning_rate_decay": True,
    "kl": 0.01,
    "save_every": 1000,
    "validation_questions": 36,
}
ROWS = 24_000
GRPO_ROWS = 4_000


def trained(folder: Path, seed: int, model: Path, rows: int, **options: Any) -> Path:
    """Train a policy from a model by the command line, and return its last checkpoint."""
    settings = {**OPTIONS, **options, "model": str(model)}
    assignments = [part for name, value in settings.items() for part in ("--set", f"orchestrator.{name}={json.dumps(value)}")]
    status, _, errors = run_command(
        "train", "--orchestrator", "router-r1", "--dataset", f"router-r1-world:{seed}", "--set", f"dataset.rows={rows}",
        *assignments, "--seed", str(seed), "--device", "cpu", "--out", str(folder), "--json",
    )  # fmt: skip
    if status:
        raise SystemExit(errors)
    return folder / "orchestrator" / "last"


def measured(warm_start: Path, checkpoint: Path, seed: int, questions: int) -> dict[str, Any]:
    """Return the figures of a trained policy, and of the warm start alone, on new questions of its world, the same for each weight."""
    policy, before, world = TrainedPolicy(checkpoint), TrainedPolicy(warm_start, scale=checkpoint), FactWorld(seed)
    tasks = world.tasks(questions, 1000)
    trained, untrained = ([beside_oracle(who, tasks, alpha) for alpha in ALPHAS] for who in (policy, before))
    for after, start in zip(trained, untrained, strict=True):
        after["gain"] = paired_gain(after.pop("right"), start.pop("right"))
    return {
        "by_alpha": trained,
        "warm_start": untrained,
        "malformed_questions": malformed_questions(trained),
        "warm_start_malformed_questions": malformed_questions(untrained),
        "unseen_better_model": unseen_model_share(policy, world, questions // 2, 0.3),
        "statistics_followed": statistics_share(policy, world, questions // 4, 0.3),
    }


def paired_gain(after: list[int], before: list[int]) -> list[float]:
    """Return the mean difference over the questions, and its 95% interval."""
    differences = np.subtract(after, before)
    half = 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5
    mean = float(differences.mean())
    return [mean, mean - half, mean + half]


def malformed_questions(results: list[dict[str, Any]]) -> int:
    """Return the number of questions with a malformed episode at any weight: the episodes of one question mostly share their faults."""
    return int(np.any([found.pop("malformed_tasks") for found in results], axis=0).sum())


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of seeds, each with a world of its own.")
@click.option("--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--questions", type=click.IntRange(min=16), default=400, show_default=True, help="New questions for the figures.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the results in JSON.")
def main(seeds: int, first_seed: int, questions: int, out: Path | None) -> None:
    """Train and measure a policy for each seed."""
    torch.set_num_threads(1)
    results = []
    for seed in range(first_seed, first_seed + seeds):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_tiny_policy(folder / "model", FactWorld(seed), seed=seed)
            warm_start = trained(folder / "warm_start", seed, folder / "model", ROWS, steps=0)
            last = trained(folder / "grpo", seed, warm_start, GRPO_ROWS, warm_start_epochs=0)
            took = time.process_time() - began
            results.append({"seed": seed, "cpu_seconds": took, **measured(warm_start, last, seed, questions)})
        click.echo(json.dumps(results[-1]), err=True)
        if out is not None:
            out.write_text(json.dumps({"schema": 1, "rows": ROWS, "options": OPTIONS, "results": results}, indent=1) + "\n", encoding="utf-8")
    if out is None:
        click.echo(json.dumps({"schema": 1, "results": results}))


if __name__ == "__main__":
    main()
