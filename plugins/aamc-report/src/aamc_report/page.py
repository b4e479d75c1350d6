"""A page: sections of figures, tables and questions, in one HTML document without external resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs
from matplotlib.figure import Figure

from aamc_report.render import to_png, to_svg
from aamc_report.style import styled
from aamc_report.tables import Table

T = TypeVar("T")


@attrs.frozen
class Picture:
    """A drawn figure, for files and for the page."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


@attrs.frozen
class Drawing(Generic[T]):
    """A figure to draw, with the name of its file; ``draw`` draws it from its data, and returns None if there is nothing to draw."""

    name: str
    title: str
    caption: str
    draw: Callable[[T], Figure | None]

    def picture(self, data: T) -> Picture | None:
        """Draw the figure in the report's style; None if there is nothing to draw."""
        with styled():
            figure = self.draw(data)
            if figure is None:
                return None
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # the layout is final: one pass is enough
            return Picture(self.name, self.title, self.caption, to_svg(figure, self.name, self.title), to_png(figure))


@attrs.frozen
class DisputedQuestion:
    """A question and the candidates that routers chose for it, the most frequent first; None as its text if only its SHA-256 is known."""

    sha256: str
    category: str
    answers: Table
    text: str | None = None


@attrs.frozen(kw_only=True)
class Section:
    """A part of a page with a heading; the page shows the attributes in this order.

    ``name`` is the anchor of links, ``lead`` a sentence below the heading, and ``numbers`` are tables of the pictures' data, folded in.
    """

    name: str
    title: str
    lead: str = ""
    pictures: Sequence[Picture] = ()
    numbers: Sequence[Table] = ()
    tables: Sequence[Table] = ()
    questions: Sequence[DisputedQuestion] = ()
    notes: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether the section has no content."""
        return not (self.lead or self.pictures or self.numbers or self.tables or self.questions or self.notes)


@attrs.frozen(kw_only=True)
class Page:
    """A page, without facts that are unknown (None or empty) and sections that are empty.

    ``kind`` stands in small type above the title; ``configuration`` holds texts to fold in at the end, by their titles.
    """

    kind: str
    title: str
    summary: str
    facts: Mapping[str, object]
    sections: Sequence[Section]
    configuration: Mapping[str, str]


def render_page(page: Page) -> str:
    """Return the HTML document."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=PackageLoader("aamc_report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    sections = [section for section in page.sections if not section.empty]
    html = templates.get_template("page.html.j2").render(page=page, sections=sections)
    return html.encode(errors="replace").decode()  # a path that is not UTF-8 has halves of surrogate pairs
