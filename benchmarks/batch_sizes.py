"""PPO with small and with large minibatches, over steps and over time: prints JSON and draws the curves.

Small minibatches come from fewer streams, without groups; all other options are the defaults. Expected qualities are unknown,
as in ``aamc bench speed``, so that there is something to learn from the first step on. The measure is the mean true expected reward
over the lattice of preferences, as a share of the way from ``random`` to ``oracle``.

    python benchmarks/batch_sizes.py --seeds 0 1 2 3 4 --figure curves.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from aamc_report.style import OTHERS, new_figure, styled, use_log_axis
from speed.reach import INSTANCES, ours

VARIANTS: dict[str, dict[str, Any]] = {
    "64": {"minibatch": 64, "n_streams": 8, "group_size": 1, "n_steps": 2048},
    "512": {"minibatch": 512, "n_streams": 64, "group_size": 1, "n_steps": 4096},
    "2,048 (default)": {},
}
"""Options by the minibatch."""
INSTANCE = "the default"
NEVER = 2.0
"""More than the whole way, so that no training ends early."""
LIMITS = {"steps": "decisions", "cpu_s": "CPU seconds"}


def measure(seeds: list[int], steps: int) -> dict[str, Any]:
    """Return every course, by minibatch and seed."""
    return {
        name: {str(seed): ours(INSTANCES[INSTANCE](), seed, enough=NEVER, total_timesteps=steps, **options) for seed in seeds}
        for name, options in VARIANTS.items()
    }


def draw(courses: dict[str, Any], path: Path) -> None:
    with styled():
        figure = new_figure(3.4)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (key, label) in zip(axes, LIMITS.items(), strict=True):
            for colour, (name, by_seed) in zip(OTHERS, courses.items(), strict=False):
                for number, course in enumerate(by_seed.values()):
                    across, up = ([scale * point[field] for point in course] for field, scale in ((key, 1), ("way", 100)))
                    axis.plot(across, up, color=colour, linewidth=1, alpha=0.8, label="" if number else f"minibatch {name}")
            use_log_axis(axis)
            axis.xaxis.set_major_formatter("{x:,.9g}")
            axis.set(xlabel=label, ylim=(86, 100))
        axes[0].set(ylabel="% of the way from random to oracle")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(courses))
        figure.savefig(path, dpi=130, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    courses = measure(given.seeds, given.steps)
    if given.figure is not None:
        draw(courses, given.figure)
    ends = {name: {seed: course[-1] for seed, course in by_seed.items()} for name, by_seed in courses.items()}
    print(json.dumps({"instance": INSTANCE, "variants": VARIANTS, "ends": ends, "courses": courses}, indent=1))  # to standard output


if __name__ == "__main__":
    main()
