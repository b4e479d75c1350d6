"""The report of a run: its figures and its page."""

from __future__ import annotations

from pathlib import Path, PurePath

from aamc_report.page import Page, render_page
from aamc_report.result_files import read_results
from aamc_report.results import Results
from aamc_report.sections import DRAWINGS, sections
from aamc_report.sections.comparison import facts
from aamc_report.sections.disputes import find_texts, shown_disputes
from aamc_report.sections.summary import summary
from aamc_sdk.storage import write_bytes, write_text


def write_report(folder: Path, page: Path | None = None, *, texts: bool = True) -> Path:
    """Write the page of a run and ``figures/*.png``, each file whole or not at all.

    Args:
        folder: The run's folder.
        page: The page's path, which alone is written then; ``report.html`` and the figures in the folder when None.
        texts: Whether the page shows texts of questions, which are read from the run's data again.

    Returns:
        The page's path.

    Raises:
        CheckpointError: The folder is not a run, or one of its files is missing or damaged.
        OutputError: A file cannot be written.
    """
    results = read_results(folder)
    pictures = [picture for drawing in DRAWINGS if (picture := drawing.picture(results)) is not None]
    wanted = {question.sha256 for question in shown_disputes(results)} if texts else set()
    found = find_texts(results.run, wanted) if wanted else {}
    for picture in pictures if page is None else ():
        write_bytes(folder / "figures" / f"{picture.name}.png", picture.png)
    path = folder / "report.html" if page is None else page
    content = Page(
        kind="AAMC routing report",
        title=title(results),
        summary=summary(results),
        facts=facts(results),
        sections=sections(results, {picture.name: picture for picture in pictures}, found),
        configuration={"The run's complete configuration (run.yaml)": results.configuration},
    )
    write_text(path, render_page(content))
    return path


def title(results: Results) -> str:
    """Return a page's title: the router, the name of the data, and the date."""
    source = str(results.data.get("source") or "")
    return f"{results.headline}{f' on {PurePath(source).name}' if source else ''}, {results.date}"
