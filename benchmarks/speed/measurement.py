"""A measurement, compared with another one of the same run."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Measurement:
    """A measured value, or None and the reason why, compared with another one of the same unit.

    ``what`` and ``beside`` are the subjects of the two; ``goal`` is the goal for the value or the ratio, in words.
    """

    what: str
    unit: str
    value: float | None
    beside: str = ""
    other: float | None = None
    goal: str = ""
    why: str = ""

    def record(self, part: str) -> dict[str, Any]:
        """Return a table's record, with the ratio of the two values."""
        numbers = {"value": self.value, "other": self.other, "ratio": None}
        if self.value is not None and self.other:
            numbers["ratio"] = self.value / self.other
        figures = {key: {} if number is None else {"value": number} for key, number in numbers.items()}
        return {"part": part, "what": self.what, "unit": self.unit, "beside": self.beside, "goal": self.goal, "why": self.why, **figures}


def result(measurements: list[Measurement], part: str, **details: Any) -> dict[str, Any]:
    """Return the result of a part's job: its records and further details."""
    return {"records": [measurement.record(part) for measurement in measurements], "details": details}
