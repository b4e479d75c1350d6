"""A short run of ``benchmarks/router_r1_training.py``: a small model learns to find models by their descriptions."""

import json
from pathlib import Path

import torch
from aamc_router_r1.world import ALPHAS, ROUNDS, FactWorld
from policy_measures import TrainedPolicy, beside_oracle, statistics_share, unseen_model_share
from tiny_model import make_tiny_policy

from aamc_sdk.testing import run_command

OPTIONS = {
    "training_alphas": list(ALPHAS),
    "rounds": ROUNDS,
    "turn_tokens": 24,
    "warm_start_batch_size": 16,
    "warm_start_learning_rate": 3e-3,
    "micro_batch_size": 64,
    "batch_size": 8,
    "group_size": 8,
    "steps": 2,
    "learning_rate": 3e-4,
    "kl": 0.02,
    "save_every": 1000,
    "validation_questions": 12,
}


def test_a_short_training_learns_to_choose_by_description_and_statistics(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    world = FactWorld(1)
    make_tiny_policy(tmp_path / "model", world, seed=1)
    settings = {**OPTIONS, "model": str(tmp_path / "model")}
    assignments = [part for name, value in settings.items() for part in ("--set", f"orchestrator.{name}={json.dumps(value)}")]
    rows = ["--dataset", "router-r1-world:1", "--set", "dataset.rows=10500"]
    status, _, errors = run_command(
        "train", "--orchestrator", "router-r1", *rows, *assignments, "--seed", "1", "--device", "cpu", "--out", str(tmp_path / "run"), "--json"
    )
    assert status == 0, errors
    policy = TrainedPolicy(tmp_path / "run" / "orchestrator" / "last")
    found = beside_oracle(policy, world.tasks(60, 1000), 0.3)  # demonstrations lean most to specialists at this weight
    assert found["exact_match"] >= 0.4
    assert found["malformed"] <= 0.4
    assert unseen_model_share(policy, world, 40, 0.3) >= 0.5
    assert statistics_share(policy, world, 20, 0.3) >= 0.5
