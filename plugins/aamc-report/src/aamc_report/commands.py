"""The command ``aamc report``."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli import JSON, write_json_line


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File for the page; figures/ is not written (default: report.html and figures/ in the run's folder; comparison.html here for several runs).",
)
@click.option("--no-texts", is_flag=True, help="Show hashes instead of questions, for a page to share.")
@JSON
def report(runs: tuple[Path, ...], out: Path | None, no_texts: bool, as_json: bool) -> None:
    """Write the figures and the page of a run again, or compare several RUNS, and print the path of the page.

    RUNS are folders (default: runs/latest).

    Example: aamc report runs/before runs/after --out difference.html
    """
    from aamc_report.page import render_page
    from aamc_report.report import write_report
    from aamc_report.runs import comparison_page, document, pairs, read_runs
    from aamc_sdk.storage import write_text

    compared = read_runs(runs or (Path("runs/latest"),))
    paired = pairs(compared)
    if len(compared) == 1:
        (run,) = compared.values()
        page = write_report(run.run.folder, out, texts=not no_texts)
    else:
        page = out or Path("comparison.html")
        write_text(page, render_page(comparison_page(compared, paired)))
    if as_json:
        write_json_line({**document(compared, paired), "page": page})
    else:
        click.echo(page)
