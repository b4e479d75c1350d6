"""Options that several commands share."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from aamc_sdk.cli.output import keep_stdout
from aamc_sdk.errors import ConfigError, DataError

C = TypeVar("C", bound=Callable[..., Any])


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
        """Convert the value; a missing file raises a DataError."""
        path = Path(value)
        if not (self.allow_dash and str(path) == "-") and (path.is_dir() or not path.exists()):  # a pipe is not a regular file, and can be read
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


_FIRST, _LAST = (day.replace(tzinfo=timezone.utc).timestamp() for day in (datetime.min, datetime.max.replace(microsecond=0)))
"""The first and the last second of the calendar in UTC: messages and file names hold times as dates."""
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _seconds(text: str) -> float | None:
    """Return a duration such as ``12h`` in seconds; None for another text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    return None if found is None else float(found[1]) * _UNIT_S[found[2]]


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A duration above 0 such as ``12h`` or ``30d``, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the value."""
        if isinstance(value, float):
            return value
        seconds = _seconds(str(value))
        if not seconds:
            self.fail(f"{value!r} is not a duration such as 30m, 12h, 30d or 4w", param, ctx)
        if time.time() + seconds > _LAST:
            self.fail(f"{value!r} from now is after the year 9999; give a shorter duration", param, ctx)
        return seconds


class When(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A time, in seconds since the epoch: an ISO date or time (in UTC, unless it names its zone), or a duration before now such as 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the value."""
        if isinstance(value, float):
            return value
        if (ago := _seconds(str(value))) is not None:
            return max(time.time() - ago, _FIRST)
        try:
            found = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", str(value)))
        except ValueError:
            self.fail(f"{value!r} is neither a date or time such as 2026-11-21 or 2026-11-21T08:00 nor a duration such as 12h or 7d", param, ctx)
        return min(max((found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp(), _FIRST), _LAST)


def request_parameters(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of a request to a model from ``KEY=VALUE``, whose values are YAML.

    Raises:
        ConfigError: An assignment has no ``=``, its value cannot be sent as JSON, or the call itself sets that parameter.
    """
    from aamc_sdk.config import set_option
    from aamc_sdk.serving.models.model_client import CALL_ARGUMENTS

    options: dict[str, Any] = {}
    for assignment in assignments:
        try:
            set_option(options, assignment)
        except ConfigError as error:
            raise ConfigError(f"--option must be KEY=VALUE such as temperature=0, not {assignment!r}") from error
        value = assignment.partition("=")[2].strip()
        if value.lower().lstrip("+-") in ("nan", "inf", "infinity") or not _is_json(options):  # YAML reads these names as texts
            raise ConfigError(f"--option {assignment}: {value!r} is not a JSON value; give a number, text, true, false, null, list or mapping")
    for name in options:
        if name in (*CALL_ARGUMENTS, "stream"):
            raise ConfigError(f"--option {name} is set by the call itself; leave it out")
    return options


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


RUN = click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Folder of the run (default: runs/latest).")
"""The option ``--run``."""
STORE = click.option("--store", metavar="URL", help="URL of the log, such as sqlite:state.db (default: the run's own log).")
"""The option ``--store``."""
JSON = click.option("--json", "as_json", is_flag=True, callback=keep_stdout, help="Write one JSON document to standard output.")
"""The option ``--json``."""
SINCE = click.option(
    "--since", type=When(), metavar="TIME", help="Only decisions made at TIME or later: a date or time (UTC), or a duration before now such as 7d."
)
"""The option ``--since``."""
UNTIL = click.option("--until", type=When(), metavar="TIME", help="Only decisions made before TIME.")
"""The option ``--until``."""
OUT = click.option("--out", type=Folder(path_type=Path), help="Folder to write (default: a new one under runs/).")
"""The option ``--out``."""
RESUME = click.option("--resume", type=Folder(path_type=Path), help="Resume the interrupted job in this folder, with its original options.")
"""The option ``--resume``."""
PREFERENCE = click.option(
    "--preference", metavar="Q,C,L", help="Weights of quality, cost and latency (default: from the run or configuration, else 0.9,0.08,0.02)."
)
"""The option ``--preference``."""
USER = click.option("--user", metavar="U", help="Id of the user, for routers that personalise (default: none).")
"""The option ``--user``."""


def _read_key(ctx: click.Context, option: click.Parameter, path: Path | None) -> str | None:
    from aamc_sdk.serving.pseudonyms import read_key

    return None if path is None else read_key(path)


USER_KEY_FILE = click.option(
    "--user-key-file", "user_key", type=InputFile(), callback=_read_key, help="File with the key for the log's user pseudonyms."
)
"""The option ``--user-key-file``; a command gets the key as ``user_key``."""


def add_options(*options: Callable[[C], C]) -> Callable[[C], C]:
    """Return a decorator that adds options to a command, in this order."""
    return lambda function: reduce(lambda command, option: option(command), reversed(options), function)


def _check_text(ctx: click.Context, argument: click.Parameter, text: str) -> str:
    if not text.strip():  # an application's query may be empty, next to an image; on the command line it is a mistake
        raise click.UsageError(f"{argument.human_readable_name} must not be empty")
    return text


def text_argument(name: str) -> Callable[[C], C]:
    """Return an argument whose text must not be blank."""
    return click.argument(name, callback=_check_text)


def split_names(names: str, option: str = "--routers", example: str = "greedy,oracle") -> list[str]:
    """Return the names in the value ``A,B`` of an option; messages name the option and a valid example.

    Raises:
        click.UsageError: The value has no name, or a name twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise click.UsageError(f"{option} must be names such as {example}, not {names!r}")
    if len(set(found)) < len(found):
        raise click.UsageError(f"{option} must not name anything twice, as in {names!r}")
    return found


def check_range(since: float | None, until: float | None) -> None:
    """Check the values of ``--since`` and ``--until``.

    Raises:
        click.UsageError: No time is within them.
    """
    if since is not None and until is not None and since >= until:
        names = [datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="seconds") for when in (since, until)]
        raise click.UsageError(f"--since must be before --until, but {names[0]} is not before {names[1]}")
