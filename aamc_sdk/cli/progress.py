"""Progress on standard error: bars on a terminal, otherwise occasional lines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from aamc_sdk.cli.output import console

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0


class TerminalProgress:
    """One bar a stage, with its reported metrics next to it; a context manager."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        stage, figures = (TextColumn(field, markup=False) for field in ("{task.description}", "{task.fields[figures]}"))
        self._bars = Progress(stage, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures, console=console(stderr=True))
        self._task: TaskID | None = None

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""
        self._task = self._bars.add_task(what, total=total, figures="")

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Advance the bar and show the newest metrics."""
        if self._task is not None:
            self._bars.advance(self._task, steps)
            if figures:
                self._bars.update(self._task, figures=_figures(figures))

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(line, highlight=False)


class LineProgress:
    """Plain lines for logs: the start of each stage, and its progress every ten seconds; a context manager."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._last, self._printed = "", 0, 0, 0.0, False

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stderr.flush()

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""
        self._what, self._total, self._done, self._last, self._printed = what, total, 0, time.monotonic(), False
        self.say(f"{what} ...")

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Count steps, and print a line at most every ten seconds, and at the end of a stage that has printed one."""
        self._done += steps
        now, ends = time.monotonic(), self._printed and steps > 0 and self._done == self._total
        if ends or now - self._last >= SECONDS_BETWEEN_LINES:
            self._last, self._printed = now, True
            self.say(f"{self._what}: {self._done}/{self._total} {_figures(figures)}".rstrip())

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr)  # noqa: T201  # progress goes to standard error


def progress() -> TerminalProgress | LineProgress:
    """Return the progress for standard error: bars for a terminal, otherwise lines."""
    return TerminalProgress() if sys.stderr.isatty() else LineProgress()


def _figures(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.4g}" for name, value in figures.items())
