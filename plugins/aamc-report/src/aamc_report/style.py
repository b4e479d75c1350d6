"""The style of figures: one colour and marker for a router everywhere, light and dark pages, reproducible bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.style import context
from matplotlib.ticker import LogLocator, NullLocator

from aamc_report.results import Results
from aamc_sdk.cli import is_printable
from aamc_sdk.types import Floats

INK, MUTED, GRID, PAPER = "#20242c", "#6a7280", "#dfe2e7", "#fffffe"
"""The neutral colours; a page replaces them with its own light or dark ones."""
HEADLINE = "#d55e00"
OTHERS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", MUTED, "#d6c400", INK)
"""The colour-blind safe palette of Okabe and Ito (2008), its yellow darkened for white paper."""
MARKERS = "osD^vPX<>hpd"
WIDTH = 8.6
"""The width of a page's figures in inches."""

_NOTO = ("CJK JP", "CJK SC", "JP", "SC", "KR", "Devanagari", "Bengali", "Tamil", "Thai", "Hebrew", "Arabic")
_FONTS = (*(f"Noto Sans {script}" for script in _NOTO), "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Nirmala UI")
"""Fonts of letters that matplotlib's own font lacks, in names of candidates and categories; those that are installed are used."""

_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "font.size": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "aamc",
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollar signs
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}


@attrs.frozen
class Look:
    """The colour and marker of a router."""

    colour: str
    marker: str
    emphasised: bool = False


def looks(results: Results) -> Mapping[str, Look]:
    """Return each router's look, which follows from its position in the comparison."""
    found = looks_of([results.headline, *(router for router in results.routers if router != results.headline)])
    return {router: found[router] for router in results.routers}


def looks_of(names: Sequence[str]) -> Mapping[str, Look]:
    """Return the look of each name: the first is the headline, the others follow in order."""
    first, *others = names
    found = {name: Look(OTHERS[n % len(OTHERS)], MARKERS[(n + 1) % len(MARKERS)]) for n, name in enumerate(others)}
    return {first: Look(HEADLINE, MARKERS[0], emphasised=True)} | found


def on_colour(background: Floats) -> str:
    """Return black or white, whichever is more legible on a colour ``[3 or 4]``, by its luma (ITU-R BT.601)."""
    return "#000000" if background[:3] @ np.array((0.299, 0.587, 0.114)) > 0.5 else "#ffffff"


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style, without warnings about letters that no font has."""
    # A user's own matplotlibrc must not change the report.
    with context(_SETTINGS | {"font.family": _families()}, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _families() -> list[str]:
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(font for font in _FONTS if font in installed)]


def without_font(text: str) -> str:
    """Return the letters of a text that no font of the figures has."""
    if text.isascii():
        return ""
    maps = [get_font(fontManager.findfont(family)).get_charmap() for family in _families()]
    return "".join(sorted(letter for letter in set(text) if is_printable(letter) and not any(ord(letter) in known for known in maps)))


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def short(name: str, maximum: int = 24) -> str:
    """Return a name without control characters, cut to a maximum number of letters."""
    printable = "".join(letter if is_printable(letter) else "\ufffd" for letter in name)
    return printable if len(printable) <= maximum else printable[: maximum - 1] + "…"


def short_names(names: Sequence[str], maximum: int = 24) -> list[str]:
    """Return names as :func:`short` does, but different ones for different names.

    A name that would be shown like another one loses what is before its last slash, then its middle; if that is not enough, it stays whole.
    """
    models, begin = [name.rpartition("/")[2] for name in names], maximum // 2
    middle = [model if len(model) <= maximum else f"{model[:begin]}…{model[begin + 1 - maximum :]}" for model in models]
    forms = [[short(name, maximum) for name in form] for form in (names, models, middle)]
    whole = [short(name, len(name)) for name in names]
    return [next((form[n] for form in forms if form.count(form[n]) == 1), name) for n, name in enumerate(whole)]


def name_rows(axes: Axes, routers: Sequence[str], headline: str) -> None:
    """Name the rows of a figure from the top down, a router each, the headline in bold."""
    axes.set_yticks(np.arange(len(routers)), short_names(routers))
    axes.set_ylim(len(routers) - 0.4, -0.6)
    without_ticks(axes)
    for label, router in zip(axes.get_yticklabels(), routers, strict=True):
        label.set_fontweight("bold" if router == headline else "normal")


def without_ticks(axes: Axes) -> None:
    """Show rows by their names alone, without ticks, lines and an axis."""
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def without_scale(axes: Axes, end: float) -> None:
    """Show bars from 0 to ``end`` without a scale, for bars with their numbers written on or next to them."""
    axes.set_xlim(0, end)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def as_table(axes: Axes, columns: Sequence[str], rows: Iterable[tuple[str, int]], slant: float) -> None:
    """Style axes of cells as a table: column names above, slanted by some degrees; names and sizes of rows, the first on top; no lines."""
    named = list(rows)
    names = [f"{name}  (n = {size:,})" for name, (_, size) in zip(short_names([name for name, _ in named]), named, strict=True)]
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=slant, ha="left" if slant else "center", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.xaxis.tick_top()
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def spans_magnitudes(values: Any) -> bool:
    """Return whether values need a logarithmic axis: all are positive, and the maximum is at least twenty times the minimum."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return bool(len(known) and known.min() > 0 and known.max() >= 20 * known.min())


def use_log_axis(axes: Axes) -> None:
    """Make the x axis logarithmic, with ticks at 1 and 3 times the powers of ten."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
