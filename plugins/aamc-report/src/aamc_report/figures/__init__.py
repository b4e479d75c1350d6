"""The figures of a report, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from matplotlib.figure import Figure

from aamc_report.data import Results
from aamc_report.figures import categories, comparison, cost_quality, curves, destinations, latency, models, regret, reliability


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
    Drawing("destinations", "Where each category goes, and why it fails", destinations.CAPTION, destinations.draw),
    Drawing("models", "Distribution over models", models.CAPTION, models.draw),
    Drawing("categories", "Success by category", categories.CAPTION, categories.draw),
    Drawing("reliability", "Reliability", reliability.CAPTION, reliability.draw),
    Drawing("regret", "Regret to the oracle", regret.CAPTION, regret.draw),
    Drawing("latency", "Latency", latency.CAPTION, latency.draw),
    Drawing("curves", "Learning", curves.CAPTION, curves.draw),
)
