"""What a part of ``aamc bench speed`` measures: figures, each beside another one of the same run."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Figure:
    """A measured figure.

    Attributes:
        what: What was measured.
        unit: Of both values.
        value: None where it could not be measured.
        beside: What it is compared with.
        other: The comparison's value.
        goal: What the figure or the ratio should be, in words.
        why: Why there is no value.
    """

    what: str
    unit: str
    value: float | None
    beside: str = ""
    other: float | None = None
    goal: str = ""
    why: str = ""

    def record(self, part: str) -> dict[str, Any]:
        """Return it as a row of a table, with the ratio of the two values."""
        numbers = {"value": self.value, "other": self.other, "ratio": None}
        if self.value is not None and self.other:
            numbers["ratio"] = self.value / self.other
        figures = {key: {} if number is None else {"value": number} for key, number in numbers.items()}
        return {"part": part, "what": self.what, "unit": self.unit, "beside": self.beside, "goal": self.goal, "why": self.why, **figures}


def result(figures: list[Figure], part: str, **details: Any) -> dict[str, Any]:
    """Return what a part's job leaves: its rows, and whatever else it measured."""
    return {"records": [figure.record(part) for figure in figures], "details": details}
