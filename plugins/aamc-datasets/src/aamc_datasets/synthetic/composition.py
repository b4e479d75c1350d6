"""The composition of synthetic texts and their labels.

A text has a main ask about a subject, up to four further asks, a demand on the care to take, and a context. These parts determine
the labels: the category is that of the main ask, a text needs tools if any of its asks does, and its complexity is

    0.03 + 0.50 x maximum difficulty of its subjects + 0.08 x number of further asks + 0.13 x demand.

A further ask may come from another category, with its words and subject, so single words do not determine the category.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from random import Random
from typing import TypeVar

import attrs

from aamc_sdk.config import configure, parse_yaml

CATEGORIES = ("chat", "code", "creative", "extraction", "factual", "math", "planning", "reasoning")
"""The categories, in alphabetical order."""

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Family:
    """Phrasings that share their subjects.

    Attributes:
        asks: Imperative clauses with a slot ``{subject}``, for use in a frame.
        sentences: Whole sentences with that slot.
        subjects: Subjects by difficulty from 0 to 1.
        tools: Whether the work needs live data, a search, a file, a program or another service.
    """

    asks: list[str]
    sentences: list[str]
    subjects: dict[float, list[str]]
    tools: bool = False


@attrs.frozen(kw_only=True)
class CategoryGrammar:
    """The phrasings of a category, and its further asks without and with tools."""

    families: list[Family]
    steps: list[str]
    tool_steps: list[str]


@attrs.frozen(kw_only=True)
class SharedGrammar:
    """The phrases shared by all categories.

    Attributes:
        frames: Sentences around a main ask, ``{ask}`` or ``{Ask}``.
        contexts: Sentences that add no work.
        links: Sentences around a further ask, ``{step}``.
        bullets: Introductions of a list of further asks.
        demands: Sentences on the care to take, by demand from 0 to 1.
        slots: The values of each slot.
        numbers: The minimum and maximum of each slot that holds a number.
    """

    frames: list[str]
    contexts: list[str]
    links: list[str]
    bullets: list[str]
    demands: dict[float, list[str]]
    slots: dict[str, list[str]]
    numbers: dict[str, tuple[int, int]]

    @property
    def values(self) -> dict[str, list[str]]:
        """The values of every slot, numbers as text."""
        numbers = {name: [str(n) for n in range(minimum, maximum + 1)] for name, (minimum, maximum) in self.numbers.items()}
        return self.slots | numbers


@attrs.frozen
class Grammar:
    """The whole grammar."""

    shared: SharedGrammar
    categories: dict[str, CategoryGrammar]


@cache
def load_grammar() -> Grammar:
    """Return the grammar of this package."""
    return Grammar(_read("shared", SharedGrammar), {name: _read(name, CategoryGrammar) for name in CATEGORIES})


def _read(name: str, cls: type[T]) -> T:
    file = resources.files("aamc_datasets.synthetic").joinpath("grammar", f"{name}.yaml")
    return configure(cls, parse_yaml(file.read_text(encoding="utf-8"), file.name), where=file.name)


FLOOR, SUBJECT_WEIGHT, STEP_WEIGHT, DEMAND_WEIGHT = 0.03, 0.50, 0.08, 0.13
"""The weights of the complexity; its maximum is 0.98."""
STEP_COUNTS = (38, 28, 18, 10, 6)
"""Percentage of texts with 0 to 4 further asks."""
BORROWED = 0.25
"""Share of further asks that come from another category."""
TOOL_STEPS = 0.05
"""Share of the other further asks that need tools."""
TOOL_FAMILY = 0.5
"""Relative frequency of main asks from a family that needs tools."""
LISTED = 0.3
"""Share of texts with two or more further asks that give them as a list."""

_SLOT = re.compile(r"\{(\w+)\}")


@attrs.frozen
class Instruction:
    """One ask of a text: its words, the difficulty of its subject from 0 to 1, and whether it needs tools."""

    text: str
    difficulty: float = 0.0
    tools: bool = False


@attrs.frozen
class Composition:
    """The parts of a text.

    Attributes:
        category: The category of the main ask.
        main: The main ask, a whole sentence.
        steps: Further asks, imperative clauses.
        links: A sentence around each step, or one sentence before a numbered list of all.
        demand: The demand, from 0 (rough) to 1 (rigorous).
        demand_text: The sentence with the demand, or nothing.
        context: A sentence that adds no work, or nothing.
    """

    category: str
    main: Instruction
    steps: tuple[Instruction, ...] = ()
    links: tuple[str, ...] = ()
    demand: float = 0.0
    demand_text: str = ""
    context: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        if len(self.links) < len(self.steps):
            listed = "; ".join(f"({n}) {step.text}" for n, step in enumerate(self.steps, start=1))
            return " ".join(filter(None, (self.context, self.main.text, self.demand_text, *self.links, f"{listed}.")))
        steps = (link.replace("{step}", step.text) for link, step in zip(self.links, self.steps, strict=True))
        return " ".join(filter(None, (self.context, self.main.text, *steps, self.demand_text)))

    @property
    def complexity(self) -> float:
        """The complexity, from 0.03 to 0.98, rounded to four decimal places."""
        hardest = max(ask.difficulty for ask in (self.main, *self.steps))
        return round(FLOOR + SUBJECT_WEIGHT * hardest + STEP_WEIGHT * len(self.steps) + DEMAND_WEIGHT * self.demand, 4)

    @property
    def tool_use(self) -> bool:
        """Whether any of its asks needs tools."""
        return self.main.tools or any(step.tools for step in self.steps)


class Composer:
    """Draws compositions from a grammar; the same seed gives the same sequence.

    Categories that the relative frequencies ``shares`` do not name do not occur; without any, all are equally frequent.
    """

    def __init__(self, grammar: Grammar, seed: int, shares: Mapping[str, float] | None = None) -> None:
        weights = {name: (shares or {}).get(name, 0.0) for name in CATEGORIES}
        self._weights = list(weights.values()) if len(set(weights.values())) > 1 else None
        self._grammar = grammar
        self._shared = grammar.shared
        self._values = grammar.shared.values
        self._rng = Random(seed)  # noqa: S311  # not for secrets

    def compose(self) -> Composition:
        """Return the next composition."""
        rng, used = self._rng, set[str]()
        name = rng.choice(CATEGORIES) if self._weights is None else rng.choices(CATEGORIES, self._weights)[0]
        families = self._grammar.categories[name].families
        (family,) = rng.choices(families, [TOOL_FAMILY if family.tools else 1.0 for family in families])
        main = self._fill(self._main(family), used)
        (count,) = rng.choices(range(len(STEP_COUNTS)), STEP_COUNTS)
        steps = tuple(self._fill(step, used) for step in self._steps(name, count))
        listed = count >= 2 and rng.random() < LISTED
        links = (rng.choice(self._shared.bullets),) if listed else tuple(rng.sample(self._shared.links, count))
        demand = self._key(self._shared.demands)
        context = self._fill(Instruction(rng.choice(self._shared.contexts)), used).text
        return Composition(name, main, steps, links, demand, rng.choice(self._shared.demands[demand]), context)

    def _main(self, family: Family) -> Instruction:
        difficulty = self._key(family.subjects)
        phrasing = self._rng.choice(family.asks + family.sentences)
        if phrasing in family.asks:
            frame = self._rng.choice(self._shared.frames)
            phrasing = frame.replace("{ask}", phrasing).replace("{Ask}", _capital(phrasing))
        subject = self._rng.choice(family.subjects[difficulty])
        return Instruction(_capital(phrasing.replace("{subject}", subject)), difficulty, family.tools)

    def _steps(self, category: str, count: int) -> list[Instruction]:
        own = self._grammar.categories[category]
        plain = iter(self._rng.sample(own.steps, count))
        steps = []
        for _ in range(count):
            if self._rng.random() < BORROWED:
                steps.append(self._borrow(category))
            elif self._rng.random() < TOOL_STEPS:
                steps.append(Instruction(self._rng.choice(own.tool_steps), tools=True))
            else:
                steps.append(Instruction(next(plain)))
        return steps

    def _borrow(self, category: str) -> Instruction:
        """Return an ask of another category that needs no tools."""
        other = self._rng.choice([name for name in CATEGORIES if name != category])
        family = self._rng.choice([family for family in self._grammar.categories[other].families if not family.tools])
        difficulty = self._key(family.subjects)
        ask = self._rng.choice(family.asks).replace("{subject}", self._rng.choice(family.subjects[difficulty]))
        return Instruction(ask, difficulty)

    def _key(self, table: dict[float, list[str]]) -> float:
        return self._rng.choice(list(table))

    def _fill(self, ask: Instruction, used: set[str]) -> Instruction:
        """Fill every slot, if possible with a value that the text does not contain yet."""

        def value(slot: re.Match[str]) -> str:
            values = self._values[slot[1]]
            chosen = self._rng.choice([value for value in values if value not in used] or values)
            used.add(chosen)
            return chosen

        return attrs.evolve(ask, text=_SLOT.sub(value, ask.text))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
