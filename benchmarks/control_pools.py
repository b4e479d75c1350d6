"""Measure the share of the gap that router ``ppo`` closes with random pools; prints JSON.

Each pool has qualities from .45 to .95, service times from .1 to 4 s, prices from .1 to 12 USD per million output tokens, and a price of cached
tokens of a tenth, a quarter or half of the input's. A candidate of higher price has a higher quality, and usually a longer service time. The
share is given for gaps of any size, also for those that ``aamc bench control`` calls null because their interval includes 0.

Further arguments are those of ``aamc bench control``.

    python benchmarks/control_pools.py --sizes 2 3 8 --scenario rate-limit,prompt-cache
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CATEGORIES = ("chat", "code", "math")
CONTROL = [sys.executable, "-m", "aamc_sdk.cli", "bench", "control", "--json", "--seeds", "21"]


def random_pool(size: int, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a pool of ``size`` candidates and its world, as the contents of their files."""
    rng = np.random.default_rng(1000 * size + number + 77)
    quality = np.sort(rng.uniform(0.45, 0.95, size))
    price = np.sort(np.exp(rng.uniform(np.log(0.1), np.log(12), size))).tolist()
    service_ms = np.sort(np.exp(rng.uniform(np.log(100), np.log(4000), size)))
    service_ms = service_ms[np.argsort(np.argsort(np.arange(size) + rng.normal(0, 1, size)))].round()
    pool, skills = [], {}
    for m in range(size):
        cached = price[m] / 3 * float(rng.choice([0.1, 0.25, 0.5]))
        prices = {"input": round(price[m] / 3, 4), "output": round(price[m], 4), "cached_input": round(cached, 4)}
        latency = {"network_ms": 40, "service_ms": float(service_ms[m])}
        pool.append({"name": f"m{m}", "description": f"model {m}", "prices": prices, "latency": latency})
        success = {category: round(float(np.clip(quality[m] + rng.normal(0, 0.06), 0.05, 0.99)), 3) for category in CATEGORIES}
        skills[f"m{m}"] = {"success": success, "slope": round(rng.uniform(1, 4), 2), "tools": 0.0, "price": round(price[m], 4)}
    categories = {category: {"complexity": round(rng.uniform(0.3, 0.7), 2)} for category in CATEGORIES}
    return {"candidates": pool}, {"categories": categories, "candidates": skills}


def measure(size: int, number: int, further: list[str]) -> list[dict[str, Any]]:
    """Return the gap in reward and the share of it that is closed, for each scenario."""
    with tempfile.TemporaryDirectory() as folder:
        pool, world = (Path(folder, name) for name in ("pool.yaml", "world.yaml"))
        for path, content in zip((pool, world), random_pool(size, number), strict=True):
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        files = ["--pool", str(pool), "--set", f"environment.world={world}", "--out", str(Path(folder, "run"))]
        found = json.loads(subprocess.run([*CONTROL, *files, *further], check=True, stdout=subprocess.PIPE).stdout)
    rows = []
    for scenario in found["scenarios"]:
        ppo, greedy, reference = (scenario["policies"][name]["mean_reward"] for name in ("ppo", "greedy-truth", "reference"))
        gap = reference - greedy
        rows.append({"candidates": size, "pool": number, "scenario": scenario["name"], "gap": gap, "closed": (ppo - greedy) / gap if gap else None})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(range(2, 9)))
    parser.add_argument("--pools", type=int, default=2, help="pools of each size")
    arguments, further = parser.parse_known_args()
    rows = [row for size in arguments.sizes for number in range(arguments.pools) for row in measure(size, number, further)]
    print(json.dumps({"arguments": {**vars(arguments), "further": further}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
