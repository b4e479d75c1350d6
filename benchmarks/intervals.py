"""The coverage of the 95% intervals of a run's table: prints a JSON line for each number of test questions.

Costs are log-normal with mean 1 and a standard deviation ``sigma`` of the logarithm. ``quality`` is a success rate of 0.7, ``difference``
that of the rewards of two candidates with this success rate and equal costs, and ``p`` the share of tables in which their paired test has p
below 0.05.
``above`` is the share of the tables whose interval of cost lies below the true mean; ``noted`` that of those that carry a note on it.

    python benchmarks/intervals.py --tables 1000
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval, notes, paired_tests, share_interval

QUESTIONS, SIGMAS, SUCCESS = (10, 20, 60, 200, 1000), (0.5, 1.0, 1.5, 2.0), 0.7


def measure(questions: int, tables: int, resamples: int) -> dict[str, Any]:
    """Return the coverage of each figure over random tables."""
    columns = ["quality", "difference", *(f"sigma {sigma:g}" for sigma in SIGMAS)]
    truth = np.array([SUCCESS, 0.0, *(1.0 for _ in SIGMAS)])
    held, above, noted, different = (np.zeros(len(columns)) for _ in range(4))
    for seed in range(tables):
        generator = np.random.default_rng(seed)
        first, second = (generator.random((2, questions)) < SUCCESS).astype(np.float64)
        logarithm = np.multiply.outer(generator.normal(size=questions), SIGMAS) - np.square(SIGMAS) / 2
        cheapness = generator.normal(0.0, 0.3, size=questions)
        values = np.column_stack((first, 0.9 * (first - second) + 0.1 * cheapness, np.exp(logarithm)))
        resampling = Resampling.bootstrap(np.arange(questions), resamples, seed)
        means, found = resampling.means(values), values.mean(axis=0)
        bounds = [known_interval(column) for column in means.T]
        bounds[0] = share_interval(means[:, 0], found[0], questions)
        low, high = np.array(bounds, dtype=float).T
        held += (low <= truth) & (truth <= high)
        above += high < truth
        noted += (high - low > notes.WIDE * found) & (questions >= notes.ENOUGH_QUERIES)
        different += paired_tests.randomisation_test(values[:, 1:2], resampling.unit, seed)[0] < 0.05
    rows = {name: {"coverage": held[n] / tables} for n, name in enumerate(columns)}
    for n, name in enumerate(columns[2:], 2):
        rows[name] |= {"above": above[n] / tables, "noted": noted[n] / tables}
    return {"questions": questions, **rows, "p": different[0] / tables}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals of a run's table.")
    parser.add_argument("--tables", type=int, default=1000, help="tables of each size")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples of each table")
    options = parser.parse_args()
    for questions in QUESTIONS:
        print(json.dumps(measure(questions, options.tables, options.resamples)), flush=True)


if __name__ == "__main__":
    main()
