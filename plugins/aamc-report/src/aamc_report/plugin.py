"""The hooks of this plugin: the command ``report``, and a report at the end of every run."""

from __future__ import annotations

from pathlib import Path

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer ``aamc report``."""
    return [Component("report", "aamc_report.commands:report", "Make a run's figures and report.html again, or compare runs.")]


@hookimpl
def aamc_run_finished(folder: Path) -> None:
    """Write the report of a finished run."""
    from aamc_report.report import write_report

    write_report(folder)
