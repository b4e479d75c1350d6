"""Build every distribution's wheel, install them all without the checkout, and run the main job from an empty folder.

``python scripts/check_wheels.py`` needs pip and hatchling. It prints what it did, and the seconds that it took.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MAIN_JOB = ("run", "--router", "ppo", "--estimator", "tce", "--json")
BASELINES = {"llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle"}


def main() -> None:
    """Do it all in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        distributions = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
        wheels = build(distributions, folder / "wheels")
        programs = install(wheels, folder / "venv")
        empty = folder / "empty"
        empty.mkdir()
        check_listing(json.loads(run([programs / "aamc", "plugins", "--json"], empty)), {wheel.name.split("-")[0] for wheel in wheels})
        metrics = json.loads(run([programs / "aamc", *MAIN_JOB], empty))
        failed = [claim for claim, holds in claims(metrics["routers"]) if not holds]
        if metrics["schema"] != 1 or failed:
            sys.exit(f"the main job does not keep: {'; '.join(failed)}\n{json.dumps(metrics, indent=1)}")


def build(distributions: list[Path], into: Path) -> list[Path]:
    """Build a wheel of each distribution and return their paths."""
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", into, *distributions], ROOT)
    wheels = sorted(into.glob("*.whl"))
    if len(wheels) != len(distributions):
        sys.exit(f"{len(distributions)} distributions have {len(wheels)} wheels")
    return wheels


def install(wheels: list[Path], folder: Path) -> Path:
    """Install the wheels into a fresh environment and return the folder of its programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run([programs / "python", "-m", "pip", "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", *wheels], folder)
    return programs


def check_listing(listing: Mapping[str, Any], expected: set[str]) -> None:
    """Exit with a message unless every distribution is listed without an error."""
    found = {row["distribution"].replace("-", "_") for row in listing["plugins"]}
    broken = [row for row in listing["plugins"] if row["error"]]
    if broken or expected - found:
        sys.exit(f"missing: {sorted(expected - found)}; broken: {broken}")


def claims(routers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Yield each claim of the README about the main job, and whether it holds."""
    yield "every baseline is in the table", set(routers) >= BASELINES | {"ppo"}
    ppo, largest = routers["ppo"], routers["llm-only"]
    yield "success above 90%", ppo["success_rate"] > 0.9
    yield "success within two points of llm-only's", ppo["success_rate"] >= largest["success_rate"] - 0.02
    yield "cost at least 70% below llm-only's", ppo["mean_cost_usd"] <= 0.3 * largest["mean_cost_usd"]
    yield "latency below llm-only's", ppo["mean_latency_ms"] < largest["mean_latency_ms"]
    worst, best = routers["random"]["expected_utility"], routers["oracle"]["expected_utility"]
    yield "expected utility 90% of the way from random's to oracle's", ppo["expected_utility"] >= worst + 0.9 * (best - worst)


def run(command: list[str | Path], folder: Path) -> str:
    """Run a program outside the checkout and return what it printed; exit with its errors where it fails."""
    started = time.monotonic()
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own programs
    print(f"{time.monotonic() - started:6.1f} s  {Path(words[0]).name} {' '.join(words[1:4])} ... {Path(words[-1]).name}", flush=True)  # noqa: T201  # a script reports
    if ended.returncode:
        sys.exit(f"{' '.join(words)} ended with status {ended.returncode}:\n{ended.stdout}")
    return ended.stdout


if __name__ == "__main__":
    main()
