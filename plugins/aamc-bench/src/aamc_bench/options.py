"""The options that benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from aamc_sdk.cli import JSON, OUT, PREFERENCE, RESUME, add_options, split_names
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import check_known

F = TypeVar("F", bound=Callable[..., Any])


MAXIMUM = 1_000_000
"""The maximum number of queries, and of outcomes of a candidate; also that of the synthetic dataset."""
MAXIMUM_CANDIDATES = 10_000
MAXIMUM_EPISODES = 10_000


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on only
    """Comma-separated numbers, such as ``0,1,2``, from a minimum to a maximum; ``minimum_open`` excludes the minimum itself."""

    name = "numbers"

    def __init__(self, number: type[int] | type[float], minimum: float = 0, maximum: float = float("inf"), *, minimum_open: bool = False) -> None:
        self._number, self._minimum_open = number, minimum_open
        self._minimum, self._maximum = minimum, maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Return the distinct numbers."""
        if isinstance(value, list):
            return value
        try:
            numbers = [self._number(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        kind = "whole numbers" if self._number is int else "numbers"
        excluded = [self._minimum] if self._minimum_open else []
        if not numbers or not all(self._minimum <= number <= self._maximum and number not in excluded for number in numbers):
            bounds = f"from {self._minimum:,} to {self._maximum:,}" if self._maximum < float("inf") else f"of at least {self._minimum:,}"
            bounds += f" but not {self._minimum:,}" if excluded else ""
            self.fail(f"{value!r} must be {kind} {bounds}, separated by commas", param, ctx)
        if len(set(numbers)) < len(numbers):
            self.fail(f"{value!r} has a number twice; give each once", param, ctx)
        return numbers


def checked_seeds(ctx: click.Context, param: click.Parameter, seeds: list[int] | None) -> list[int] | None:
    """Return seeds, checked as a run's."""
    from aamc_sdk.config import check_seed

    for seed in seeds or ():
        check_seed(seed)
    return seeds


def chosen_names(kind: str, given: str | None, option: str, known: Collection[str], example: str = "") -> list[str]:
    """Return the names in the value ``A,B`` of an option, all known ones by default.

    Raises:
        ConfigError: One is unknown; the message calls it a ``kind``.
    """
    names = list(known) if given is None else split_names(given, option, example or ",".join(known))
    check_known(names, known, f"there is no {kind}", ConfigError, "there are")
    return names


WORKERS = click.option("--workers", type=click.IntRange(min=1), help="Jobs at a time (default: one for each core).")
ROUTERS = click.option("--routers", metavar="A,B,...", help="Routers to measure, the main one first.")
DATASETS = click.option("--dataset", "datasets", multiple=True, metavar="FORMAT:PATH", help="Dataset; repeatable (default: synthetic).")
DATASET = click.option("--dataset", metavar="FORMAT:PATH", help="Dataset (default: synthetic).")
SEED = click.option("--seed", type=click.IntRange(min=0), help="Seed of all randomness (default: 0).")
SEEDS = click.option("--seeds", type=Numbers(int), callback=checked_seeds, metavar="0,1,...", help="Seeds; the benchmark is repeated for each.")


def run_options(estimator: str = "tce") -> Callable[[F], F]:
    """Return a decorator that adds the options of a run, of its folder, and of JSON output; ``estimator`` is the default in its help."""
    return add_options(
        click.option("--estimator", metavar="NAME", help=f"Estimator name, or none (default: {estimator})."),
        click.option("--pool", metavar="NAME|FILE", help="Model pool (default: the data's own, or the default pool)."),
        PREFERENCE,
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as routers.ppo.learning_rate=1e-4; repeatable."
        ),
        click.option("--preset", type=click.Choice(["quick", "full", "paper"]), help="Preset of the options (default: quick)."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Device of torch (default: auto)."),
        OUT,
        RESUME,
        JSON,
    )


def benchmark_options(estimator: str = "tce") -> Callable[[F], F]:
    """Return a decorator that adds the options of a run and the number of jobs at a time; ``estimator`` is the default in its help."""
    return add_options(run_options(estimator), WORKERS)
