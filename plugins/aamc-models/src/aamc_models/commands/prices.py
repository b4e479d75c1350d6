"""``aamc models prices``: fills a pool file with list prices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from aamc_sdk.cli import JSON, InputFile, new_table, print_table, printable, write_json_line

if TYPE_CHECKING:
    from aamc_models.prices.pool_file import Priced


@click.command("prices")
@click.argument("pool", type=InputFile())
@click.option(
    "--prices",
    "source",
    type=InputFile(),
    help="LiteLLM's model_prices_and_context_window.json (default: the file of the installed package litellm).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: POOL itself).")
@click.option("--replace", is_flag=True, help="Overwrite existing prices.")
@JSON
def prices(pool: Path, source: Path | None, out: Path | None, replace: bool, as_json: bool) -> None:
    """Fill prices, context windows and abilities into the pool file POOL, by its endpoints' models, from LiteLLM's price map.

    Comments, all other keys and existing prices stay. Each filled price gets a comment with the date.

    Example: aamc models prices pool.yaml --prices model_prices_and_context_window.json
    """
    from aamc_models.prices.pool_file import PoolFile
    from aamc_models.prices.price_map import PriceMap
    from aamc_sdk.storage import write_text

    listed, file = PriceMap.read(source), PoolFile(pool)
    found = file.fill(listed, datetime.now(timezone.utc).date(), replace=replace)
    target = (out or pool).resolve()  # a link stays one
    write_text(target, file.text())
    unpriced = [row.candidate for row in found if not row.has_prices]
    if as_json:
        write_json_line(
            {"schema": 1, "out": out or pool, "source": listed.source, "candidates": [attrs.asdict(row) for row in found], "unpriced": unpriced}
        )
        return
    _show(found)
    click.echo(f"Wrote {out or pool} with prices of {listed.source}.", err=True)
    if tiered := [row.candidate for row in found if row.tiered]:
        click.echo(printable(f"Very long prompts cost more than the listed price: {', '.join(tiered)}."), err=True)
    if off_peak := [row.candidate for row in found if row.off_peak]:
        click.echo(printable(f"Some hours cost less than the listed price: {', '.join(off_peak)}."), err=True)
    if unpriced:
        names = printable(", ".join(unpriced))
        click.echo(f"Without a price, so of unknown cost: {names}. Add prices: {{input: ..., output: ...}} to each by hand.", err=True)


def _show(found: Sequence[Priced]) -> None:
    table = new_table(("candidate", "prices", "model in the map"))
    for row in found:
        alike = f"none; alike: {', '.join(row.others)}" if row.others else "none"
        table.add_row(row.candidate, row.status, row.model or alike)
    print_table(table)
