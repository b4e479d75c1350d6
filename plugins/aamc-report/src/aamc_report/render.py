"""Figures as PNG files and as SVG elements of a page; equal figures give equal bytes."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from aamc_report.style import GRID, HEADLINE, INK, MUTED, PAPER, short

THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)", HEADLINE: "var(--accent)"}
"""The page's variables for the colours that have a light and a dark shade."""
_TIP = "tip "
_FINE = re.compile(r"-?\d+\.\d{3,}")
"""A coordinate with more than two decimals; a hundredth of a point is invisible."""


def tip(artist: Artist, text: str) -> None:
    """Show a text on the page when the mouse rests on an artist."""
    artist.set_gid(_TIP + short(text, 200))


def to_png(figure: Figure) -> bytes:
    """Return a figure on white as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def to_svg(figure: Figure, name: str, title: str) -> str:
    """Return a figure as an SVG element without external addresses.

    Its ids begin with ``name``. The page defines its neutral colours and the headline's, and describes it in an element with the id
    ``name-caption``.
    """
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314  # matplotlib wrote it
    for element in list(root.iter()):
        element.tag = _local(element.tag)
        identity = element.attrib.pop("id", "")
        element.attrib = {_local(key): _adapt(value, name) for key, value in element.attrib.items()}
        if "d" in element.attrib:
            element.set("d", _FINE.sub(lambda found: f"{float(found[0]):.2f}", element.attrib["d"]))
        if identity.startswith(_TIP):
            title_element = ElementTree.Element("title")
            title_element.text = identity.removeprefix(_TIP)
            element.insert(0, title_element)
        elif identity:
            element.set("id", f"{name}-{identity}")
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title, "aria-describedby": f"{name}-caption"}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """Return a name without its namespace, which HTML does not need."""
    return name.rpartition("}")[2]


def _adapt(value: str, name: str) -> str:
    """Return an attribute with references to this figure's ids and to the page's colours."""
    value = re.sub(r"^#(?![0-9a-f]{6}$)|(?<=url\()#", f"#{name}-", value)
    for colour, variable in THEME.items():
        value = value.replace(colour, variable)
    return value
