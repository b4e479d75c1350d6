"""The console of rich, for texts that come from elsewhere: names in a pool, categories of a dataset, words of a model's server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from aamc_sdk.cli.printable_text import printable


class PrintableConsole(Console):
    """Prints no control characters but its own, for styles and for the cursor."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string, with its control characters replaced before it is measured: they have no width."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object, with the control characters of its texts replaced."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
