"""The figures of a report, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from matplotlib.figure import Figure

from aamc_report.data import Results
from aamc_report.figures import categories, comparison, cost_quality, curves, latency, models


@attrs.frozen
class Drawing:
    """A figure: the name of its file, its title and caption, and the function that draws it, or gives None without its data."""

    name: str
    title: str
    caption: str
    draw: Callable[[Results], Figure | None]


DRAWINGS = (
    Drawing("cost_quality", "Cost and quality", cost_quality.CAPTION, cost_quality.draw),
    Drawing("comparison", "Comparison at the preference", comparison.CAPTION, comparison.draw),
    Drawing("models", "Distribution over models", models.CAPTION, models.draw),
    Drawing("categories", "Success by category", categories.CAPTION, categories.draw),
    Drawing("latency", "Distribution of latency", latency.CAPTION, latency.draw),
    Drawing("curves", "Learning curves", curves.CAPTION, curves.draw),
)
