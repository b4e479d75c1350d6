"""The options that every experiment shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from aamc_sdk.cli import JSON, OUT, PREFERENCE, RESUME

F = TypeVar("F", bound=Callable[..., Any])


MOST = 1_000_000
"""The most queries, or outcomes of a candidate, that an experiment takes; also that of the synthetic dataset."""
MOST_CANDIDATES = 10_000
MOST_EPISODES = 10_000


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """Numbers with commas between them, such as ``0,1,2``.

    Args:
        number: ``int`` or ``float``.
        least: The least that is allowed.
        most: The greatest that is allowed.
    """

    name = "numbers"

    def __init__(self, number: type[int] | type[float], least: float = 0, most: float = float("inf")) -> None:
        self._number = number
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Read the numbers; each stands once."""
        if isinstance(value, list):
            return value
        try:
            numbers = [self._number(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        kind = "whole numbers" if self._number is int else "numbers"
        if not numbers or not all(self._least <= number <= self._most for number in numbers):
            bounds = f"from {self._least:,} to {self._most:,}" if self._most < float("inf") else f"of at least {self._least:,}"
            self.fail(f"{value!r} must be {kind} {bounds} with commas between them", param, ctx)
        if len(set(numbers)) < len(numbers):
            self.fail(f"{value!r} has a number twice", param, ctx)
        return numbers


class Seeds(Numbers):
    """Seeds with commas between them."""

    def __init__(self) -> None:
        super().__init__(int)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Read the seeds; each is one that a run takes."""
        from aamc_sdk.config import check_seed

        seeds = super().convert(value, param, ctx)
        for seed in seeds:
            check_seed(int(seed))
        return seeds


WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Jobs at a time; as many as there are cores by default.")
ROUTERS = click.option("--routers", metavar="A,B,...", help="The routers, the one in question first.")
DATASETS = click.option("--dataset", "datasets", multiple=True, metavar="FORMAT:PATH", help="What to measure on; several times for several.")
DATASET = click.option("--dataset", metavar="FORMAT:PATH", help="The queries; synthetic by default.")
SEED = click.option("--seed", type=click.IntRange(min=0), help="All randomness follows from it; 0 by default.")
SEEDS = click.option("--seeds", type=Seeds(), metavar="0,1,...", help="Everything is done once for each seed.")

_EXPERIMENT = (
    click.option("--estimator", metavar="NAME", help="What describes queries; tce by default, none to do without."),
    click.option("--pool", metavar="NAME|FILE", help="The candidates; by default the data's own, or the default pool."),
    PREFERENCE,
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One option, such as routers.ppo.learning_rate=1e-4."),
    click.option("--preset", type=click.Choice(["quick", "full", "paper"]), help="Where options start from; quick by default."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where torch computes."),
)


def run_options(function: F) -> F:
    """Add the options that say what a trained run is made of, and those of its folder and JSON."""
    for option in reversed((*_EXPERIMENT, OUT, RESUME, JSON)):
        function = option(function)
    return function


def experiment_options(function: F) -> F:
    """Add the same options, and how many jobs go side by side."""
    return run_options(WORKERS(function))
