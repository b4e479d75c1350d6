"""Quality and training time of PPO and other routers on the queue simulator: prints JSON.

Every router sees estimates with an error, and expected quality from a logistic regression on one sampled outcome for each
training query and candidate (out of fold for training rows). The main figure is the mean true expected reward, over the
simplex lattice of preferences and played streams, as a share of the way from ``random`` to ``oracle``. Further figures are
the mean itself (expected utility), the maximum shortfall to ``oracle`` at one preference (worst regret), the hypervolume of
the mean objectives above the reference point 0, and the violations of the order of cost, latency and quality along sweeps.

    python benchmarks/ppo.py --load 0.6 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import attrs
import numpy as np
from aamc_baselines.simple import Greedy, Oracle
from aamc_environments.queue import QueueEnvironment, QueueOptions, read_world, sample_queries
from aamc_experiments.evaluation import hypervolume, lattice, sweep
from aamc_ppo.router import PPOConfig, PPORouter

from aamc_sdk import Preference, Router, RoutingRequest, Scores, Services, Training
from aamc_sdk.config import configure, parse_yaml
from aamc_sdk.routing import LinearReward, build_request, default_pool, encode_queries
from aamc_sdk.types import Floats

STEPS, PER_PREFERENCE = 60, 48
FIGURES = ("reward", "quality", "cost_usd", "latency_ms")
LATTICE, COST_SWEEP = lattice(), sweep()
LATENCY_SWEEP = COST_SWEEP[:, [0, 2, 1]]
HEADLINE = Preference().array
SIZES = {"train": 8_000, "validation": 1_000, "test": 4_000}


class Random(Router):
    """A random candidate."""

    def score(self, request: RoutingRequest) -> Scores:
        """Return noise that follows from the number of the call."""
        self.calls = getattr(self, "calls", 0) + 1
        return Scores(np.random.default_rng((self.services.seed, self.calls)).random(request.mask.shape))


def fitted_requests(env: QueueEnvironment, error: float, blind: bool, seed: int) -> dict[str, RoutingRequest]:
    """Return all splits as routers see them: estimates with an error, quality from a logistic regression.

    A ``blind`` regression sees complexity alone, so the plug-in rule is wrong about specialists and tools.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    described = {split: described_rows(env, split, error, seed) for split in SIZES}
    inputs = {split: encode_queries(request.queries, request.estimates)[:, : 1 if blind else None] for split, request in described.items()}
    outcomes = env.dataset("train").outcomes
    assert outcomes is not None
    columns: dict[str, list[Floats]] = {split: [] for split in SIZES}
    for success in outcomes.known_quality.T.astype(int):
        model = LogisticRegression(max_iter=1000)
        columns["train"].append(cross_val_predict(model, inputs["train"], success, method="predict_proba", cv=5)[:, 1])
        model.fit(inputs["train"], success)
        for split in ("validation", "test"):
            columns[split].append(model.predict_proba(inputs[split])[:, 1])
    return {
        split: attrs.evolve(request, expected=attrs.evolve(request.expected, quality=np.stack(columns[split], axis=1)))
        for split, request in described.items()
    }


def described_rows(env: QueueEnvironment, split: str, error: float, seed: int) -> RoutingRequest:
    """Return a split's rows with a normal error on estimated complexity."""
    true = env.vector(1, split).setup.request
    rng = np.random.default_rng((seed, len(true)))
    complexity = np.clip(true.estimates.complexity + error * rng.standard_normal(len(true)), 0, 1)
    return build_request(true.queries, true.pool, HEADLINE, estimates=attrs.evolve(true.estimates, complexity=complexity))


def play(env: QueueEnvironment, request: RoutingRequest, router: Router, preferences: Floats, seed: int) -> dict[str, Floats]:
    """Play test streams; return means of the true expectations of the chosen candidates for each of P preferences, ``[P, ...]``."""
    n = len(preferences) * PER_PREFERENCE
    numbers = np.tile(np.arange(PER_PREFERENCE), len(preferences))
    streams = env.vector(n, "test", request=request, seed=seed, streams=numbers, preferences=np.repeat(preferences, PER_PREFERENCE, axis=0))
    streams.reset(seed=seed)
    every = np.arange(n)
    figures = []
    for _ in range(STEPS):
        present = streams.request()
        assert present.hindsight is not None
        chosen = np.where(present.mask, router.score(present).utility, -np.inf).argmax(axis=1)
        truth = present.hindsight
        reward = env.services.reward.scalar(truth, present.preferences)
        objectives = env.services.reward.vector(truth)[every, chosen].T
        figures.append([*objectives, *(part[every, chosen] for part in (reward, truth.known_quality, truth.cost_usd, truth.latency_ms))])
        streams.step(chosen)
    means = np.mean(figures, axis=0).reshape(-1, len(preferences), PER_PREFERENCE).mean(axis=2)
    return {"objectives": means[:3].T, **dict(zip(FIGURES, means[3:], strict=True))}


def measure(seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train on one instance and return figures of all routers."""
    services = Services(pool=default_pool(), reward=LinearReward(), make=lambda *_: None, seed=seed, device=args.device)
    env = QueueEnvironment(QueueOptions(load=args.load, service_by_length=False), services)
    splits = {split: sample_queries(read_world("default"), size, 1000 * seed + size) for split, size in SIZES.items()}
    env.prepare(splits)
    outcomes = env.dataset("train").outcomes
    assert outcomes is not None
    services.reward.fit(outcomes)
    requests = fitted_requests(env, args.error, args.blind, seed)
    options = {key: parse_yaml(value, key) for key, value in (pair.split("=") for pair in args.set)}
    if args.steps is not None:
        options["total_timesteps"] = args.steps
    ppo = PPORouter(configure(PPOConfig, options, preset=args.preset), services)
    started = time.process_time()
    training = Training(dataset=env.dataset("train"), validation=env.dataset("validation"), env=env)
    metrics = ppo.train(attrs.evolve(training, request=requests["train"], validation_request=requests["validation"]))
    seconds = time.process_time() - started
    routers = {"random": Random(None, services), "greedy": Greedy(None, services), "ppo": ppo, "oracle": Oracle(None, services)}
    on_lattice = {name: play(env, requests["test"], router, LATTICE, seed) for name, router in routers.items()}
    headline = {name: play(env, requests["test"], router, HEADLINE[None], seed) for name, router in routers.items()}
    return {
        **{"seed": seed, "train_cpu_s": seconds, "reward_by_trust": metrics["reward_by_trust"]},
        **{"way_to_oracle": ways(on_lattice), "headline_way": ways(headline)},
        "over_preferences": {name: over_preferences(figures, on_lattice["oracle"]) for name, figures in on_lattice.items()},
        "disorder": disorder(env, requests["test"], ppo, seed),
        "headline": {name: {key: float(figures[key].mean()) for key in FIGURES} for name, figures in headline.items()},
    }


def ways(figures: dict[str, dict[str, Floats]]) -> dict[str, float]:
    """Return each router's share of the way from random to oracle."""
    means = {name: float(figure["reward"].mean()) for name, figure in figures.items()}
    bottom, top = means["random"], means["oracle"]
    return {name: (mean - bottom) / (top - bottom) for name, mean in means.items() if name not in ("random", "oracle")}


def over_preferences(figures: dict[str, Floats], oracle: dict[str, Floats]) -> dict[str, float]:
    """Return a router's expected utility, worst regret, and hypervolume above 0, over the lattice of preferences."""
    return {
        "expected_utility": float(figures["reward"].mean()),
        "worst_regret": float((oracle["reward"] - figures["reward"]).max()),
        "hypervolume": float(hypervolume(figures["objectives"])),
    }


def disorder(env: QueueEnvironment, request: RoutingRequest, router: Router, seed: int) -> dict[str, float]:
    """Return the maximum step in the wrong direction along each sweep, as a share of the range.

    Cost should fall as its weight grows relative to quality's, latency likewise, and quality should fall with either.
    """
    found = {}
    for preferences, key in ((COST_SWEEP, "cost_usd"), (LATENCY_SWEEP, "latency_ms")):
        figures = play(env, request, router, preferences, seed)
        for name, fallen in ((key, figures[key]), (f"quality against {key}", figures["quality"])):
            found[name] = float(max(np.diff(fallen).max(), 0.0) / np.ptp(fallen))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="total_timesteps of ppo (default: the preset's)")
    parser.add_argument("--load", type=float, default=0.6)
    parser.add_argument("--error", type=float, default=0.1, help="standard deviation of the estimated complexity's error")
    parser.add_argument("--blind", action="store_true", help="let expected quality follow from complexity alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of ppo")
    args = parser.parse_args()
    print(json.dumps({"arguments": vars(args), "runs": [measure(seed, args) for seed in args.seeds]}, indent=1))


if __name__ == "__main__":
    main()
