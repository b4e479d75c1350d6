"""The message and the exit status of a command that failed."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback

import click

from aamc_sdk.cli.output import write_json_line
from aamc_sdk.cli.printable_text import printable
from aamc_sdk.errors import AamcError, ConfigError, Interrupted, PluginError, PreferenceError, ProviderError, UnknownComponentError
from aamc_sdk.messages import error_text, nearest, split_advice, whole_number_hint

WRONG_USAGE = (ConfigError, PreferenceError, UnknownComponentError)
"""Errors with exit status 2, for wrong usage; other errors have exit status 1."""


def report_failure(error: BaseException, *, as_json: bool) -> int:
    """Print an error, on standard output too if that is a JSON document; return the exit status."""
    status, message, hint = 1, str(error), ""
    if isinstance(error, click.UsageError):
        message = _unknown_option(error) if isinstance(error, click.NoSuchOption) else _wrong_number(error) or error.format_message()
        status, hint = error.exit_code, f"see {error.ctx.command_path if error.ctx else 'aamc'} --help"
    elif isinstance(error, click.ClickException):
        status, message = error.exit_code, error.format_message()
    elif isinstance(error, (KeyboardInterrupt, click.Abort, Interrupted)):
        message = message or "interrupted"
    elif isinstance(error, (AamcError, OSError)):
        status = 2 if isinstance(error, WRONG_USAGE) else 1
        if not isinstance(error, AamcError) and error.strerror:  # of standard output it has no file
            message = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            hint = "free some space, or write elsewhere" if error.errno == errno.ENOSPC else ""
        elif isinstance(error, PluginError | ProviderError) and (cause := _component_error(error)) is not None and (place := _place(cause, first=1)):
            hint = f"{place}aamc --debug ... shows the traceback"
        elif isinstance(error.__cause__, UnicodeEncodeError) and (encoding := sys.getfilesystemencoding()) != "utf-8":
            hint = f"the locale's encoding is {encoding}; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    else:
        message, hint = error_text(error), f"{_place(error)}a bug in the SDK or a plugin; aamc --debug ... shows the traceback"
    message = " ".join(message.split())
    click.echo(printable(f"aamc: {message} ({hint})" if hint else f"aamc: {message}"), err=True)
    try:
        if as_json:
            wrong, advice = (message, hint) if hint else split_advice(message)
            fields = {"type": type(error).__name__, "message": wrong, "hint": advice}
            write_json_line(getattr(error, "document", None) or {"schema": 1, "error": fields})
        sys.stdout.flush()
    except OSError:  # a full disk, or a reader that has gone away; the line above has said what is wrong
        abandon_output()
    return status


def _component_error(error: BaseException) -> BaseException | None:
    """Return the error that a component raised and that caused an error of the SDK; None where the SDK noticed by itself that something is wrong."""
    while isinstance(error, AamcError):
        if error.__cause__ is None:
            return None
        error = error.__cause__
    return error


def _place(error: BaseException, *, first: int = 0) -> str:
    """Return the innermost line of a plugin in an error's traceback from frame ``first`` on, such as ``in router.py:12 of acme_routing, ``."""
    from importlib import metadata

    modules = {entry.module.partition(".")[0] for entry in metadata.entry_points(group="aamc")} - {"aamc_sdk"}
    packages = modules | {module.removesuffix("_plugin") for module in modules}  # a module of hooks may stand beside its package
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))[first:]):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in packages:
            return f"in {os.path.basename(frame.f_code.co_filename)}:{line} of {package}, "  # noqa: PTH119  # pathlib is not imported for listing
    return ""


def _unknown_option(error: click.NoSuchOption) -> str:
    """Return a message on an unknown option; it names an argument of that name, or the nearest option."""
    parameters = [] if error.ctx is None else error.ctx.command.params
    name = error.option_name.lstrip("-")
    if error.ctx is not None and any(isinstance(each, click.Argument) and each.name in (name, f"{name}s") for each in parameters):
        return f"no option {error.option_name}: {name.upper()} is an argument, as in {error.ctx.command_path} {name.upper()}"
    hint = nearest(name, [spelling.lstrip("-") for each in parameters if isinstance(each, click.Option) for spelling in each.opts])
    return f"no option {error.option_name}{hint}".replace("mean '", "mean '--")


_NUMBER_ERROR = re.compile(r"(.*) is not (?:in the range|a valid|a number)", re.DOTALL)
"""The beginning of an error on an option's number by click, or by ``Number``; group 1: the value, in quotes if it cannot be read."""


def _wrong_number(error: click.UsageError) -> str:
    """Return a message on an option's number that is out of its range or cannot be read, in place of click's ``x>=1``; ``""`` for other errors."""
    option = error.param if isinstance(error, click.BadParameter) else None
    kind, found = getattr(option, "type", None), _NUMBER_ERROR.match(error.message)
    if option is None or found is None or not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return ""
    value, least, most = found[1], getattr(kind, "min", None), getattr(kind, "max", None)
    lower, upper = "above" if getattr(kind, "min_open", False) else "at least", "below" if getattr(kind, "max_open", False) else "at most"
    wanted = " and ".join(f"{word} {bound}" for word, bound in ((lower, least), (upper, most)) if bound is not None)
    if wanted == f"at least {least} and at most {most}":
        wanted = f"from {least} to {most}"
    hint = ""
    if value.startswith("'"):  # it cannot be read
        is_whole = isinstance(kind, click.types.IntParamType)
        wanted = f"a {'whole ' if is_whole else ''}number {'of ' if wanted.startswith('at') else ''}{wanted}".rstrip()
        hint = whole_number_hint(value.strip("'")) if is_whole else ""
    name = max(option.opts, key=len) if isinstance(option, click.Option) else option.human_readable_name
    return f"{name} must be {wanted}, not {value}{hint}"


def abandon_output() -> None:
    """Redirect standard output to the null device: flushing it at the end would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
