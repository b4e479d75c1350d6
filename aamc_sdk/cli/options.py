"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class Folder(click.Path):
    """The path of a folder; not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; refuse an empty path, which would be the current folder."""
        if not str(value).strip():
            self.fail("the folder must not be empty; use . for the current one", param, ctx)
        return super().convert(value, param, ctx)


class Amount(click.FloatRange):
    """A number of at least 0, possibly infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; refuse NaN, which no comparison exceeds."""
        amount = super().convert(value, param, ctx)
        if math.isnan(amount):
            self.fail(f"{value!r} is not a number", param, ctx)
        return amount


AMOUNT = Amount(min=0)
"""The type of an amount, such as of USD or seconds."""
JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")
"""The option ``--json``."""
OUT = click.option("--out", type=Folder(path_type=Path), help="Folder to write (default: a new one under runs/).")
"""The option ``--out``."""
RESUME = click.option("--resume", type=Folder(path_type=Path), help="Resume an interrupted job from its folder, with its own options.")
"""The option ``--resume``."""
PREFERENCE = click.option("--preference", metavar="Q,C,L", help="Weights of quality, cost and latency (default: 0.9,0.08,0.02).")
"""The option ``--preference``."""


def split_names(names: str, option: str = "--routers", example: str = "greedy,oracle") -> list[str]:
    """Return the names in the value ``A,B`` of an option.

    Args:
        names: The value.
        option: The option, for messages.
        example: A valid value, for messages.

    Raises:
        click.UsageError: The value has no name, or a name twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise click.UsageError(f"{option} must be names such as {example}, not {names!r}")
    if len(set(found)) < len(found):
        raise click.UsageError(f"{option} must not name anything twice, as in {names!r}")
    return found
