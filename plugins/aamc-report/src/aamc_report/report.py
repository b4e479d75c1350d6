"""From a run's folder to its figures and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from aamc_report.data import Results, number, read_results
from aamc_report.figures import DRAWINGS
from aamc_report.render import to_png, to_svg
from aamc_report.style import styled
from aamc_report.tables import COLUMNS, PAIRED_COLUMNS, category_rows, comparison_rows, further_columns, model_rows, paired_rows, summary
from aamc_sdk.files import write_bytes, write_text


@attrs.frozen
class Picture:
    """A figure as files and page hold it."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def write_report(folder: Path, page: Path | None = None) -> Path:
    """Write ``figures/*.png`` and the page of a run, each file whole or not at all.

    Args:
        folder: The run's folder.
        page: Where the page goes; ``report.html`` in the folder when None.

    Returns:
        Where the page is.

    Raises:
        CheckpointError: The folder is no run, or a file of it is missing or damaged.
        OutputError: A file cannot be written.
    """
    results = read_results(folder)
    pictures = draw_pictures(results)
    for picture in pictures:
        write_bytes(folder / "figures" / f"{picture.name}.png", picture.png)
    place = folder / "report.html" if page is None else page
    write_text(place, render_page(results, pictures))
    return place


def draw_pictures(results: Results) -> list[Picture]:
    """Draw every figure that the run has data for."""
    pictures = []
    for drawing in DRAWINGS:
        with styled():
            figure = drawing.draw(results)
            if figure is not None:
                svg = to_svg(figure, drawing.name, drawing.title)
                pictures.append(Picture(drawing.name, drawing.title, drawing.caption, svg, to_png(figure)))
    return pictures


def render_page(results: Results, pictures: list[Picture]) -> str:
    """Return the page: one HTML document that asks nothing of any other place."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=PackageLoader("aamc_report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html.j2").render(_content(results, pictures))


def _content(results: Results, pictures: list[Picture]) -> dict[str, Any]:
    data, further = results.data, further_columns(results)
    return {
        "headline": results.headline,
        "summary": summary(results),
        "facts": {
            "Data": data.get("source"),
            "Queries": f"{data['queries']:,}" if isinstance(data.get("queries"), int) else None,
            "Models": len(results.decisions.candidates),
            "Preference": ", ".join(f"{number(weight):.3g}" for weight in data.get("preference") or []),
            "Seed": results.seed,
        },
        "cost_note": data.get("cost_note"),
        "missing": int(max(number(metrics.get("missing") or 0) for metrics in results.routers.values())),
        "columns": COLUMNS,
        "comparison": comparison_rows(results),
        "further_columns": further,
        "further": comparison_rows(results, further) if further else [],
        "paired_columns": PAIRED_COLUMNS,
        "paired": paired_rows(results),
        "routers": list(results.routers),
        "categories": category_rows(results),
        "models": model_rows(results),
        "pictures": pictures,
        "configuration": results.configuration,
    }
