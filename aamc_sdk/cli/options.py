"""The options that several commands share, and what they make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class Folder(click.Path):
    """A folder's path, which is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty name, which would be the present folder."""
        if not str(value).strip():
            self.fail("a folder's name must not be empty; use . for the present one", param, ctx)
        return super().convert(value, param, ctx)


JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")
"""The option ``--json``."""
OUT = click.option("--out", type=Folder(path_type=Path), help="The folder to write; by default a new one under runs/.")
"""The option ``--out``."""
RESUME = click.option("--resume", type=Folder(path_type=Path), help="Go on with an interrupted job's folder, as it was begun.")
"""The option ``--resume``."""
PREFERENCE = click.option("--preference", metavar="Q,C,L", help="Weights of quality, cost and latency; 0.9,0.08,0.02 by default.")
"""The option ``--preference``."""


def split_names(names: str, option: str = "--routers", example: str = "greedy,oracle") -> list[str]:
    """Return the names of ``A,B``, which an option was given.

    Raises:
        click.UsageError: There is none, with an example of what the option takes, or one stands twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise click.UsageError(f"{option} takes names such as {example}, not {names!r}")
    if len(set(found)) < len(found):
        raise click.UsageError(f"each name counts once; {option} has one twice: {names!r}")
    return found
