"""The simulated world: each candidate's chance of success by category, complexity and need of tools.

The log-odds of success are

    logit(success[m, k]) - slope[m] (complexity - 1/2) + tools[m] [tools are needed]

where ``success`` is the performance matrix: the chance at complexity 1/2 without tools. An
answer's mean length grows linearly from easy to hard queries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk import Candidate, Dataset, Labels, Pool, Query, option
from aamc_sdk.config import configure, load_yaml, parse_yaml
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.types import Floats

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Category:
    """A category of queries, and the distribution of its queries where no dataset gives them."""

    share: float = option(1.0, "Frequency relative to the other categories.", at_least=0.0)
    complexity: float = option(0.5, "Mean complexity.", above=0.0, at_most=0.99)
    tool_use: float = option(0.0, "Share of queries that need tools.", at_least=0.0, at_most=1.0)


def _check_success(skill: Skill, attribute: attrs.Attribute[Any], value: dict[str, float]) -> None:
    for category, chance in value.items():
        if not 0 < chance < 1:
            raise ConfigError(f"the chance of success in {category!r} must be between 0 and 1, both excluded, not {chance!r}")


@attrs.frozen(kw_only=True)
class Skill:
    """A candidate's chances of success."""

    success: dict[str, float] = attrs.field(validator=_check_success)
    slope: float = option(3.0, "Log-odds of success lost from the easiest to the hardest query.")
    tools: float | None = option(None, "Change of the log-odds where tools are needed; none: 0 with ability tools, else minus tool_penalty.")
    price: float | None = option(None, "USD per million output tokens; skills of unknown candidates are interpolated by price.", above=0.0)


@attrs.frozen(kw_only=True)
class SimulatedWorld:
    """Skills by candidate and category."""

    categories: dict[str, Category]
    candidates: dict[str, Skill]
    tool_penalty: float = option(3.0, "Log-odds of success lost where tools are needed and the candidate has none.", at_least=0.0)
    easy_tokens: float = option(128.0, "Mean output tokens at complexity 0.", above=0.0)
    hard_tokens: float = option(384.0, "Mean output tokens at complexity 1.", above=0.0)

    def __attrs_post_init__(self) -> None:
        if not self.categories or not self.candidates:
            raise ConfigError("a world needs at least one category and one candidate")
        if not sum(category.share for category in self.categories.values()) > 0:
            raise ConfigError("at least one category needs a positive share")
        for name, skill in self.candidates.items():
            if set(skill.success) != set(self.categories):
                wanted, given = one_of(self.categories), one_of(skill.success)
                raise ConfigError(f"{name} must have a chance of success for each category ({wanted}), not for {given}")

    def skills(self, pool: Pool) -> Skills:
        """Return the skills of a pool's candidates.

        The skills of an unknown candidate follow from its output price: log-odds and slope are interpolated, in the
        logarithm of the price, between the candidates that have a price here.

        Raises:
            ConfigError: An unknown candidate has no price, or no candidate has a price here.
        """
        unknown = [candidate.name for candidate in pool if candidate.name not in self.candidates]
        rows = np.array([self._log_odds_and_slope(candidate) for candidate in pool])
        tools = np.array([self._tools(candidate) for candidate in pool])
        if unknown:
            logger.warning("the simulator has no skills for %s and derives them from prices; to give them, set environment.world", one_of(unknown))
        return Skills(tuple(self.categories), rows[:, :-1], rows[:, -1], tools)

    @property
    def shares(self) -> dict[str, float]:
        """The relative frequency of each category."""
        return {name: category.share for name, category in self.categories.items()}

    def output_tokens(self, complexity: Floats) -> Floats:
        """Return the mean output tokens of an answer, ``[B]``."""
        return np.asarray(self.easy_tokens + complexity * (self.hard_tokens - self.easy_tokens))

    def _tools(self, candidate: Candidate) -> float:
        own = self.candidates[candidate.name].tools if candidate.name in self.candidates else None
        if own is not None:
            return own
        return 0.0 if "tools" in candidate.abilities else -self.tool_penalty

    def _log_odds_and_slope(self, candidate: Candidate) -> Floats:
        """Return log-odds by category and the slope, ``[K + 1]``."""
        if candidate.name in self.candidates:
            return self._row(self.candidates[candidate.name])
        ladder = sorted((skill.price, name) for name, skill in self.candidates.items() if skill.price is not None)
        price = candidate.prices.output if candidate.prices else None
        if not ladder or price is None:
            hint = nearest(candidate.name, self.candidates)
            advice = "give it an output price in the pool, or add it to environment.world" if ladder else "add it to environment.world"
            raise ConfigError(f"the simulator knows no candidate {candidate.name!r}{hint}, and cannot place it by price; {advice}")
        rungs = np.log([rung for rung, _ in ladder])
        skills = np.array([self._row(self.candidates[name]) for _, name in ladder])
        return np.array([np.interp(np.log(max(price, ladder[0][0])), rungs, column) for column in skills.T])

    def _row(self, skill: Skill) -> Floats:
        chances = np.array([skill.success[category] for category in self.categories])
        return np.append(np.log(chances / (1 - chances)), skill.slope)


@attrs.frozen(eq=False)
class Skills:
    """A world's skills for the M candidates of a pool.

    Attributes:
        categories: K names.
        log_odds: Log-odds of success at complexity 1/2 without tools, ``[M, K]``.
        slope: Log-odds lost from the easiest to the hardest query, ``[M]``.
        tools: Change of the log-odds where tools are needed, ``[M]``.
    """

    categories: tuple[str, ...]
    log_odds: Floats
    slope: Floats
    tools: Floats

    def of(self, complexity: Floats, category: NDArray[np.intp], tool_use: Floats) -> Floats:
        """Return the log-odds of success ``[B, M]`` of B queries."""
        return np.asarray(self.log_odds.T[category] - np.outer(complexity - 0.5, self.slope) + np.outer(tool_use, self.tools))

    def index(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Return the indices of categories.

        Raises:
            DataError: The world lacks a category.
        """
        numbers = {name: number for number, name in enumerate(self.categories)}
        unknown = sorted(set(names) - numbers.keys())
        if unknown:
            hint = nearest(unknown[0], numbers)
            raise DataError(f"the world has no category {unknown[0]!r}{hint} (it has {one_of(numbers)}); give a world of your own with world: FILE")
        return np.array([numbers[name] for name in names], dtype=np.intp)


def read_world(named: Any) -> SimulatedWorld:
    """Return the ``"default"`` world, or one from a YAML file or the content of one.

    Raises:
        ConfigError: The file cannot be read, or the content is not a world.
    """
    if isinstance(named, Mapping):
        return configure(SimulatedWorld, named, where="the world")
    if not isinstance(named, str) or not named:
        raise ConfigError(f"world must be default, a YAML file or the content of one, not {named!r}")
    if named == "default":
        text = resources.files("aamc_environments").joinpath("default_world.yaml").read_text(encoding="utf-8")
        return configure(SimulatedWorld, parse_yaml(text, "default_world.yaml"), where="the default world")
    return configure(SimulatedWorld, load_yaml(Path(named)), where=named)


CONCENTRATION = 4.0
"""Concentration of the beta distribution of complexity around a category's mean."""
PROMPT_TOKENS = 60
"""Mean tokens of a prompt."""


def sample_queries(world: SimulatedWorld, size: int, seed: int) -> Dataset:
    """Return labelled queries: categories by their share, complexity from a beta distribution, tool use by its share."""
    generator = np.random.default_rng(seed)
    names = list(world.categories)
    specs = list(world.categories.values())
    shares = np.array(list(world.shares.values()))
    category = generator.choice(len(names), size, p=shares / shares.sum())
    mean = np.array([spec.complexity for spec in specs])[category]
    complexity = generator.beta(CONCENTRATION * mean, CONCENTRATION * (1 - mean))
    tool_use = (generator.random(size) < np.array([spec.tool_use for spec in specs])[category]).astype(np.float64)
    tokens = 1 + generator.poisson(PROMPT_TOKENS - 1, size)
    queries = [Query(f"{names[k]} query {i}", prompt_tokens=int(tokens[i])) for i, k in enumerate(category)]
    labels = Labels(complexity=complexity, category=np.array(names)[category], tool_use=tool_use)
    return Dataset(queries, labels=labels, source="the world's own distribution")
