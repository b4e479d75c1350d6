"""``aamc calibrate``: find the preference that meets a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, plugins_of, progress, write_json_line
from aamc_sdk.errors import OutputError
from aamc_sdk.messages import split_advice

if TYPE_CHECKING:
    from aamc_experiments.target_preferences import Calibration


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--quality-floor", type=float, metavar="F", help="Minimum quality, as a share of the best single candidate's.")
@click.option("--budget-usd-per-1k", type=float, metavar="B", help="Maximum cost in USD per 1,000 queries.")
@click.option("--strong-share", type=float, metavar="S", help="Maximum share of calls to the strongest candidate.")
@click.option("--p95-ms", type=float, metavar="X", help="Latency in ms that at most 5% of the queries may exceed.")
@click.option(
    "--confidence", type=float, metavar="P", help="Share of bootstrap resamples that must meet the target (default: 0.95); 0 ignores resamples."
)
@click.option("--name", help="Name of the preference (default: the target's name and value, with -missed after a miss).")
@click.option("--save-missed", is_flag=True, help="Save the preference even if it misses the target; the exit status is still 1.")
@JSON
@click.pass_context
def calibrate(
    ctx: click.Context, /, run: Path, confidence: float | None, name: str | None, save_missed: bool, as_json: bool, **targets: float | None
) -> None:
    """Find the preference at which the router of RUN (default: runs/latest) meets a target on rows that are new to it.

    These are the validation rows, and for a router that only reads estimates, such as greedy, also the training rows, which the
    estimator predicted without having seen their questions.

    The preference is saved in the run under a name, for aamc route TEXT --preference NAME. If it meets the target on too few
    resamples, it is not saved, and the exit status is 1.

    Example: aamc calibrate runs/latest --quality-floor 0.97
    """
    from aamc_experiments.target_preferences import CONFIDENCE, Target, TargetMissedError, calibrate, check_name, save_calibration

    given = [(kind.replace("_", "-"), value) for kind, value in targets.items() if value is not None]
    if len(given) != 1:
        raise click.UsageError("give one target: --quality-floor, --budget-usd-per-1k, --strong-share or --p95-ms")
    kind, value = given[0]
    target = Target(kind, value, CONFIDENCE if confidence is None else confidence)
    check_name(name or target.name)
    opened = RunFolder.open(run)
    _ = opened.calibrations  # damaged ones are refused before the work
    with progress() as shown:
        found = calibrate(opened, plugins_of(ctx), shown, target)
    name = name or (target.name if found.met else f"{target.name}-missed")
    saved = found.met or save_missed
    document = {"schema": 1, "name": name if saved else None, **found.to_dict()}
    try:
        if saved:
            save_calibration(opened, name, found)
    except OutputError as why:
        unsaved = OutputError(f"{split_advice(str(why))[0]}, so the run does not keep it; use --preference {found.preference}")
        unsaved.document = {**document, "name": None}
        raise unsaved from why
    finally:  # a reader such as head may close the output
        if not as_json:
            _show(found, name if saved else "not saved")
    if not found.met:
        missed = (
            f"--{kind} {value:g} holds in {found.confidence:.1%} of the bootstrap resamples, and {target.confidence:.1%} is asked for by --confidence"
        )
        advice = "lower the target or --confidence, or use more questions, in a simulation also more streams"
        error = TargetMissedError(f"{missed}; {advice}" + ("" if saved else ", or add --save-missed"))
        error.document = document
        raise error
    if as_json:
        write_json_line(document)


def _show(found: Calibration, name: str) -> None:
    """Print a calibration."""
    rows = f"{found.rows} rows ({found.questions} questions) that are new to the router"
    met = f"the target holds in {found.confidence:.0%} of the bootstrap resamples of {rows}"
    click.echo(f"{name}: preference {found.preference}, {met}")
    for figure, estimate in found.figures.items():
        bounds = found.ci95[figure]
        click.echo(f"  {figure}: {estimate:.4g}" + (f" (95% interval {bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else ""))
