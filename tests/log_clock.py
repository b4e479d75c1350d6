"""The clock of logs that drop what is old, set by the test."""

from __future__ import annotations

DAY = 24 * 3600.0
NOON = 20_000 * DAY + 12 * 3600


class Clock:
    """The time that the log sees; it begins at noon."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now
