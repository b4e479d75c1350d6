"""The grammar of the synthetic texts, read from ``grammar/*.yaml``: one file per category and a shared one."""

from __future__ import annotations

from functools import cache
from importlib import resources
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
