"""From a run's folder to its figures and its page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aamc_report.data import Results
from aamc_report.figures import DRAWINGS
from aamc_report.headline import summary
from aamc_report.pages import Page, Picture, draw_picture, render_page
from aamc_report.questions import disputed
from aamc_report.reading import read_results
from aamc_report.sections import sections
from aamc_report.tables.comparison import facts
from aamc_report.texts import find_texts
from aamc_sdk.storage import write_bytes, write_text


def write_report(folder: Path, page: Path | None = None, *, texts: bool = True) -> Path:
    """Write ``figures/*.png`` and the page of a run, each file whole or not at all.

    Args:
        folder: The run's folder.
        page: Where the page goes; ``report.html`` in the folder when None.
        texts: Whether the page shows texts of questions, which are read from the run's data again.

    Returns:
        Where the page is.

    Raises:
        CheckpointError: The folder is no run, or a file of it is missing or damaged.
        OutputError: A file cannot be written.
    """
    results = read_results(folder)
    pictures = draw_pictures(results)
    wanted = {dispute.question for dispute in disputed(results)} if texts else set()
    found = find_texts(results.run, wanted) if wanted else {}
    for picture in pictures:
        write_bytes(folder / "figures" / f"{picture.name}.png", picture.png)
    place = folder / "report.html" if page is None else page
    content = Page(
        kind="AAMC routing report",
        title=results.headline,
        summary=summary(results),
        facts=facts(results),
        sections=sections(results, {picture.name: picture for picture in pictures}, found),
        configuration={"Everything that this run followed from (run.yaml)": results.configuration},
    )
    write_text(place, render_page(content))
    return place


def draw_pictures(results: Results) -> list[Picture]:
    """Draw every figure that the run has data for."""
    pictures = (draw_picture(drawing.name, drawing.title, drawing.caption, partial(drawing.draw, results)) for drawing in DRAWINGS)
    return [picture for picture in pictures if picture is not None]
