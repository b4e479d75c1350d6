"""The grammar of the synthetic texts: what ``grammar/*.yaml`` holds, one file a category and one shared."""

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
        asks: Imperative clauses with a slot ``{subject}``, to be put into a frame.
        sentences: Whole sentences with that slot.
        subjects: What may be asked, by difficulty from 0 to 1.
        tools: Whether the work needs live data, a search, a file, a program or another service.
    """

    asks: list[str]
    sentences: list[str]
    subjects: dict[float, list[str]]
    tools: bool = False


@attrs.frozen(kw_only=True)
class Category:
    """The phrasings of a category, and further asks that go with any of them, without and with tools."""

    families: list[Family]
    steps: list[str]
    tool_steps: list[str]


@attrs.frozen(kw_only=True)
class Shared:
    """What texts of all categories share.

    Attributes:
        frames: Sentences around a main ask, ``{ask}`` or ``{Ask}``.
        contexts: Sentences beside it that add no work.
        links: Sentences around a further ask, ``{step}``.
        bullets: What introduces further asks in a list.
        demands: Sentences on the care to take, by how demanding they are, from 0 to 1.
        slots: The values of each slot.
        numbers: The least and the greatest value of each slot that holds a number.
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
        """The values of every slot, numbers written out."""
        numbers = {name: [str(n) for n in range(least, greatest + 1)] for name, (least, greatest) in self.numbers.items()}
        return self.slots | numbers


@attrs.frozen
class Grammar:
    """All of it."""

    shared: Shared
    categories: dict[str, Category]


@cache
def load_grammar() -> Grammar:
    """Return the grammar that this package ships."""
    return Grammar(_read("shared", Shared), {name: _read(name, Category) for name in CATEGORIES})


def _read(name: str, cls: type[T]) -> T:
    file = resources.files("aamc_datasets.synthetic").joinpath("grammar", f"{name}.yaml")
    return configure(cls, parse_yaml(file.read_text(encoding="utf-8"), file.name), where=file.name)
