"""``aamc canary``: compares the two routers of each canary and shadow in a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click

from aamc_sdk.cli import JSON, RUN, STORE, plugins_of


@click.command()
@RUN
@STORE
@JSON
@click.pass_context
def canary(ctx: click.Context, run: Path, store: str | None, as_json: bool) -> None:
    """Test whether the candidate of a canary or shadow is better than the stable router.

    The test is sequential: repeated looks are valid. At most 5% of trials without a difference ever show one, however long they
    run.

    Example: aamc canary --store sqlite:state.db
    """
    from aamc_bandit.trials.trial_statistics import read_trials
    from aamc_sdk.cli import write_json_line
    from aamc_sdk.errors import DataError
    from aamc_sdk.log import open_store
    from aamc_sdk.serving import Run

    url = store or Run.open(run).store_url
    log = open_store(url, plugins_of(ctx), existing=True)
    try:
        found = read_trials(log)
    finally:
        log.close()
    if not found:
        raise DataError(f"{url} has no decision of a trial; serve with the router canary or shadow first")
    rows = [
        {
            **attrs.asdict(trial, filter=attrs.filters.exclude("judgements")),
            "judged": len(trial.judgements) + sum(trial.left_out.values()),
            "compared": len(trial.judgements),
            **trial.verdict(),
        }
        for trial in found
    ]
    if as_json:
        write_json_line({"schema": 1, "log": url, "trials": rows})
    else:
        _show(rows)


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from aamc_sdk.cli import INTERVALS, print_table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=INTERVALS, caption_justify="left")
    for heading in ("trial", "stable", "quality", "candidate", "quality", "compared", "difference", "verdict"):
        is_number = heading in ("quality", "compared", "difference")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        quality = {role: "-" if value is None else f"{value:.3f}" for role, value in row["quality"].items()}
        difference = "-" if row["ci95"] is None else "{:+.3f}\n{:+.3f}..{:+.3f}".format(row["difference"], *row["ci95"])
        verdict = f"ended: {row['ended']}" if row["ended"] else row["verdict"] or row["why"]
        table.add_row(
            row["kind"], row["stable"], quality["stable"], row["candidate"], quality["candidate"], str(row["compared"]), difference, verdict
        )
    print_table(table)
