"""``aamc calibrate``: the preference that meets a target."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_experiments.run_folder import RunFolder
from aamc_sdk.cli import JSON, plugins_of


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--quality-floor", type=float, metavar="F", help="Least quality, as a share of the best single candidate's.")
@click.option("--budget-usd-per-1k", type=float, metavar="B", help="Most USD per 1,000 queries.")
@click.option("--strong-share", type=float, metavar="S", help="Most calls to the strongest candidate, as a share.")
@click.option("--confidence", type=float, metavar="P", help="How sure that must be: 0.95 by default; 0 takes the rows as they are.")
@click.option("--name", help="What to call the preference; by default the target's name and value.")
@JSON
@click.pass_context
def calibrate(ctx: click.Context, /, run: Path, confidence: float | None, name: str | None, as_json: bool, **targets: float | None) -> None:
    """Find the preference at which a run's router meets a target on validation rows. RUN is runs/latest by default.

    It is kept in the run: aamc route TEXT --preference NAME asks for it.

    Example: aamc calibrate runs/latest --quality-floor 0.97
    """
    from aamc_experiments import target_preferences as calibration
    from aamc_sdk.cli import progress, write_json_line

    given = [(kind.replace("_", "-"), value) for kind, value in targets.items() if value is not None]
    if len(given) != 1:
        raise click.UsageError("give one target: --quality-floor, --budget-usd-per-1k or --strong-share")
    target = calibration.Target(*given[0], *(() if confidence is None else (confidence,)))
    name = target.name if name is None else name
    calibration.check_name(name)
    opened = RunFolder.open(run)
    with progress() as shown:
        found = calibration.calibrate(opened, plugins_of(ctx), shown, target)
    calibration.keep(opened, name, found)
    if as_json:
        write_json_line({"schema": 1, "name": name, **found.to_dict()})
        return
    met = f"met on {found.confidence:.0%} of resamples of {found.rows} validation rows"
    click.echo(f"{name}: preference {found.preference}, {met}")
    for figure, value in found.figures.items():
        bounds = found.ci95[figure]
        click.echo(f"  {figure}: {value:.4g}" + (f" (95% interval {bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else ""))
