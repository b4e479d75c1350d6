"""``aamc train``: training without a comparison."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from aamc_sdk.cli.options import JSON, OUT, RESUME, experiment_options
from aamc_sdk.cli.run import complete, open_experiment


@click.command()
@experiment_options
@OUT
@RESUME
@JSON
@click.pass_context
def train(ctx: click.Context, /, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Train a router, with the estimator that it needs; or with --estimator alone, only that.

    Example: aamc train --router ppo --estimator tce --out checkpoints/ppo
    """
    from aamc_sdk.cli.output import write_json_line
    from aamc_sdk.cli.progress import progress

    if resume is None and not any(given[name] for name in ("router", "estimator", "configs")):
        raise click.UsageError("say what to train: --router NAME or --estimator NAME")
    goal = "estimator" if given["estimator"] and not given["router"] else "router"
    began = time.monotonic()
    with progress() as shown:
        experiment = open_experiment(ctx, goal, out, resume, given, shown)
        metrics = complete(experiment, "train")
    seconds, folder = time.monotonic() - began, str(experiment.run.folder)
    if as_json:
        figures = {name: value for name, value in metrics.items() if name != "curve"}
        write_json_line({"schema": 1, "out": folder, "seconds": seconds, "steps": metrics.get("steps"), "metrics": figures})
    else:
        click.echo(f"Trained in {seconds:.0f} s; the checkpoint is in {folder}", err=True)
