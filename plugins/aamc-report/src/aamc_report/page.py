"""A page: sections of figures, tables and questions, in one HTML document that asks nothing of any other place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
from matplotlib.figure import Figure

from aamc_report.cells import Table
from aamc_report.render import to_png, to_svg
from aamc_report.style import styled


@attrs.frozen
class Picture:
    """A figure as files and page hold it."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


@attrs.frozen
class Question:
    """A question and what was made of it.

    Attributes:
        text: What it asks; its hash where the text is not at hand.
        known: Whether it is the text.
        category: Its category, or nothing.
        answers: The candidates that were chosen for it.
    """

    text: str
    known: bool
    category: str
    answers: Table


@attrs.frozen(kw_only=True)
class Section:
    """A part of a page, below a heading: in this order.

    Attributes:
        name: What links call it.
        title: The heading.
        lead: A sentence right below it, or nothing.
        pictures: Figures.
        numbers: Tables of what the figures show, folded in.
        tables: Tables of what no figure shows.
        questions: Questions and their answers.
        notes: Sentences.
    """

    name: str
    title: str
    lead: str = ""
    pictures: Sequence[Picture] = ()
    numbers: Sequence[Table] = ()
    tables: Sequence[Table] = ()
    questions: Sequence[Question] = ()
    notes: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether it would show nothing."""
        return not (self.lead or self.pictures or self.numbers or self.tables or self.questions or self.notes)


@attrs.frozen(kw_only=True)
class Page:
    """A page.

    Attributes:
        kind: What stands small above the title.
        title: What it is about.
        summary: A sentence on it, or nothing.
        facts: Names and values; unknown ones are not shown.
        sections: What it shows; empty ones are left out.
        configuration: Texts to fold in at the end, by what they are.
    """

    kind: str
    title: str
    summary: str
    facts: Mapping[str, object]
    sections: Sequence[Section]
    configuration: Mapping[str, str]


def draw_picture(name: str, title: str, caption: str, draw: Callable[[], Figure | None]) -> Picture | None:
    """Draw a figure in the report's style; None where there is nothing to draw."""
    with styled():
        figure = draw()
        if figure is None:
            return None
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out: once is enough
        return Picture(name, title, caption, to_svg(figure, name, title), to_png(figure))


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
    return templates.get_template("page.html.j2").render(page=page, sections=sections)
