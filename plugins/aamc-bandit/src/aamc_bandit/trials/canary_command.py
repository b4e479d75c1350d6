"""``aamc canary``: compares the two routers of each canary and shadow in a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aamc_sdk.cli import INTERVALS, JSON, RUN, SINCE, STORE, UNTIL, check_range, figure_cell, new_table, plugins_of, print_table, write_json_line
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import public_url

SEPARATE = "The difference is a separate estimate: it can differ from that of the two qualities."


@click.command()
@RUN
@STORE
@SINCE
@UNTIL
@click.option("--again", is_flag=True, help="Read the whole log, instead of the entries after the last report.")
@JSON
@click.pass_context
def canary(ctx: click.Context, run: Path, store: str | None, since: float | None, until: float | None, again: bool, as_json: bool) -> None:
    """Test whether a new router (canary or shadow) beats the stable one.

    The test is sequential: repeated looks are valid. At most 5% of trials without a difference ever show one, however long they
    run.

    The log keeps the report's statistics, so the next report reads only later entries. With --since or --until, it keeps none.

    Example: aamc canary --store sqlite:state.db
    """
    from aamc_bandit.trials.trial_log import continue_trials, read_trials
    from aamc_bandit.trials.trial_statistics import trial_document
    from aamc_sdk.log import open_store
    from aamc_sdk.serving import Run

    check_range(since, until)
    url = store or Run.open(run).store_url
    log = open_store(url, plugins_of(ctx), existing=True)
    try:
        whole = since is None and until is None and not again
        read = continue_trials(log) if whole else read_trials(log, since=since, until=until)
    finally:
        log.close()
    found, log_name = read.trials, public_url(url)
    if not found and (since is not None or until is not None):
        raise DataError(f"{log_name} has no decision of a trial in that time; give an earlier --since or a later --until")
    if not found:
        raise DataError(f"{log_name} has no decision of a trial; serve with the router canary or shadow first")
    rows = [trial_document(trial) for trial in found]
    if as_json:
        counts = {"position": read.position, "missing_up_to": read.start, "entries_read": read.entries}
        write_json_line({"schema": 1, "log": log_name, **counts, "trials": rows})
        return
    _show(rows)
    if read.start:
        click.echo(f"The entries up to position {read.start:,} were dropped by the log's retention before a report counted them.", err=True)


def _show(rows: list[dict[str, Any]]) -> None:
    table = new_table(("trial", "verdict", "difference", "compared", "stable", "quality", "challenger", "quality"), notes=[INTERVALS, SEPARATE])
    for column in table.columns:
        if column.header in ("quality", "compared", "difference"):
            column.justify, column.no_wrap = "right", True
    for row in rows:
        quality = {role: "-" if value is None else f"{value:.3f}" for role, value in row["quality"].items()}
        difference = figure_cell(row["difference"], row["ci95"], "{:+.3f}".format)
        verdict = f"ended: {row['ended']}" if row["ended"] else row["verdict"] or row["why"]
        table.add_row(
            f"{row['kind']} {row['trial']}".strip(),
            verdict,
            difference,
            str(row["compared"]),
            row["stable"],
            quality["stable"],
            row["candidate"],
            quality["candidate"],
        )
    print_table(table)
