"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from aamc_sdk.errors import DataError


class Folder(click.Path):
    """The path of a folder; not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; refuse an empty path, which would be the current folder."""
        if not str(value).strip():
            self.fail("the folder must not be empty; use . for the current one", param, ctx)
        return super().convert(value, param, ctx)


class InputFile(click.Path):
    """The path of an existing file. A missing one is an error of the data, as a missing run or dataset is, not wrong usage."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(path_type=Path, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value.

        Raises:
            DataError: There is no such file.
        """
        path = Path(value)
        if not (self.allow_dash and str(path) == "-") and not path.is_file():
            raise DataError(f"cannot read {path}: {'it is a folder' if path.is_dir() else 'there is no such file'}; check the path")
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number in a range, never NaN, which no comparison refuses."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the value; refuse NaN."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


RUN = click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Folder of the run (default: runs/latest).")
"""The option ``--run``."""
STORE = click.option("--store", metavar="URL", help="URL of the log, such as sqlite:state.db (default: the run's own log).")
"""The option ``--store``."""
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
