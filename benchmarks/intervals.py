"""The coverage of the 95% intervals of a run's table: prints a JSON line for each number of test questions.

Costs are log-normal with mean 1 and a standard deviation ``sigma`` of the logarithm. ``quality`` is a success rate of 0.7, ``difference``
that of the rewards of two candidates with this success rate and equal costs, and ``p`` the share of tables in which their paired test has p
below 0.05.
``above`` is the share of the tables whose interval of cost lies below the true mean; ``noted`` that of those that carry a note on it.
``--parts shares`` computes the coverage of success rates exactly, with the probability that the interval lies above the true rate, and
``--parts categories`` draws categories in tables of 200 questions.

    python benchmarks/intervals.py --tables 1000
"""

from __future__ import annotations

import argparse
import json
from itertools import chain
from typing import Any

import numpy as np
from aamc_experiments.evaluation import Resampling, known_interval, notes, paired_tests, share_interval
from scipy.stats import binom

QUESTIONS, SIGMAS, SUCCESS = (10, 20, 60, 200, 1000), (0.5, 1.0, 1.5, 2.0), 0.7
RATES, CATEGORY_SIZES, TABLE = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99), (3, 5, 10, 20, 40), 200


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
        bounds[0] = share_interval(means[:, 0], found[0], questions, exact=True)
        low, high = np.array(bounds, dtype=float).T
        held += (low <= truth) & (truth <= high)
        above += high < truth
        noted += (high - low > notes.WIDE * found) & (questions >= notes.ENOUGH_QUERIES)
        different += paired_tests.randomisation_test(values[:, 1:2], resampling.unit, seed)[0] < 0.05
    rows = {name: {"coverage": held[n] / tables} for n, name in enumerate(columns)}
    for n, name in enumerate(columns[2:], 2):
        rows[name] |= {"above": above[n] / tables, "noted": noted[n] / tables}
    return {"questions": questions, **rows, "p": different[0] / tables}


def measure_shares(questions: int) -> dict[str, Any]:
    """Return the coverage of each success rate, exactly, and the probability that its interval lies above it."""
    some = np.linspace(0.0, 1.0, 100)
    low, high = np.array([share_interval(some, ones / questions, questions, exact=True) for ones in range(questions + 1)]).T
    rows = {}
    for rate in RATES:
        chance = binom.pmf(np.arange(questions + 1), questions, rate)
        rows[f"{rate:g}"] = {"coverage": chance[(low <= rate) & (rate <= high)].sum(), "above": chance[low > rate].sum()}
    return {"questions": questions, **rows}


def measure_categories(size: int, tables: int, resamples: int) -> dict[str, Any]:
    """Return the coverage of the means of values in a category of this size."""
    held = dict.fromkeys(("graded, beta(.5, .5)", "graded, beta(4, 1)", "normal", *(f"sigma {sigma:g}" for sigma in SIGMAS[:2])), 0.0)
    truth, rows = np.array([0.5, 0.8, 0.0, 1.0, 1.0]), np.arange(TABLE) < size
    for seed in range(tables):
        generator = np.random.default_rng(seed)
        costs = np.exp(np.multiply.outer(generator.normal(size=size), SIGMAS[:2]) - np.square(SIGMAS[:2]) / 2)
        values = np.column_stack((generator.beta(0.5, 0.5, size), generator.beta(4, 1, size), generator.normal(size=size), costs))
        bounds = [known_interval(means) for means in Resampling.bootstrap(np.arange(TABLE), resamples, seed).within(rows).means(values).T]
        low, high = np.array(bounds, dtype=float).T
        for name, holds in zip(held, (low <= truth) & (truth <= high), strict=True):
            held[name] += holds / tables
    return {"questions of the category": size, **held}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals of a run's table.")
    parser.add_argument("--tables", type=int, default=1000, help="tables of each size")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples of each table")
    parser.add_argument("--parts", nargs="+", choices=("tables", "shares", "categories"), default=["tables"], help="measurements")
    options = parser.parse_args()
    size = options.tables, options.resamples
    for line in chain(
        (measure(questions, *size) for questions in QUESTIONS if "tables" in options.parts),
        (measure_shares(questions) for questions in QUESTIONS if "shares" in options.parts),
        (measure_categories(questions, *size) for questions in CATEGORY_SIZES if "categories" in options.parts),
    ):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
