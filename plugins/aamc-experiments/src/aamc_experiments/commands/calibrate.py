"""``aamc calibrate``: find the preference that meets a target."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, plugins_of


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--quality-floor", type=float, metavar="F", help="Minimum quality, as a share of the best single candidate's.")
@click.option("--budget-usd-per-1k", type=float, metavar="B", help="Maximum cost in USD per 1,000 queries.")
@click.option("--strong-share", type=float, metavar="S", help="Maximum share of calls to the strongest candidate.")
@click.option(
    "--confidence", type=float, metavar="P", help="Share of bootstrap resamples that must meet the target (default: 0.95); 0 ignores resamples."
)
@click.option("--name", help="Name of the preference (default: the target's name and value).")
@JSON
@click.pass_context
def calibrate(ctx: click.Context, /, run: Path, confidence: float | None, name: str | None, as_json: bool, **targets: float | None) -> None:
    """Find the preference at which the router of RUN (default: runs/latest) meets a target on validation rows.

    The run keeps it under a name: use it with aamc route TEXT --preference NAME.

    Example: aamc calibrate runs/latest --quality-floor 0.97
    """
    from aamc_experiments.target_preferences import CONFIDENCE, Target, calibrate, check_name, save_calibration
    from aamc_sdk.cli import progress, write_json_line

    given = [(kind.replace("_", "-"), value) for kind, value in targets.items() if value is not None]
    if len(given) != 1:
        raise click.UsageError("give one target: --quality-floor, --budget-usd-per-1k or --strong-share")
    kind, value = given[0]
    target = Target(kind, value, CONFIDENCE if confidence is None else confidence)
    name = target.name if name is None else name
    check_name(name)
    opened = RunFolder.open(run)
    with progress() as shown:
        found = calibrate(opened, plugins_of(ctx), shown, target)
    save_calibration(opened, name, found)
    if as_json:
        write_json_line({"schema": 1, "name": name, **found.to_dict()})
        return
    met = f"met on {found.confidence:.0%} of resamples of {found.rows} validation rows"
    click.echo(f"{name}: preference {found.preference}, {met}")
    for figure, estimate in found.figures.items():
        bounds = found.ci95[figure]
        click.echo(f"  {figure}: {estimate:.4g}" + (f" (95% interval {bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else ""))
