"""The command ``aamc report``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the page goes; report.html in the run's folder by default.")
def report(run: Path, out: Path | None) -> None:
    """Make the figures and the page of RUN, a run's folder, again; print where the page is."""
    from aamc_report.report import write_report

    click.echo(write_report(run, out))
