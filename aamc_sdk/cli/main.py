"""The command ``aamc``. Each subcommand has its own module, which is imported when it is used."""

from __future__ import annotations

import atexit
import errno
import importlib
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from typing import Any

import click

from aamc_sdk import __version__
from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.output import write_json_line
from aamc_sdk.cli.printable_text import printable
from aamc_sdk.core_commands import COMMANDS
from aamc_sdk.errors import AamcError, ConfigError, Interrupted, PluginError, PreferenceError, ProviderError, UnknownComponentError
from aamc_sdk.messages import error_text, nearest, split_advice, whole_number_hint

GROUPS = {
    "Start here": ("run", "route", "complete", "explain", "feedback", "orchestrate"),
    "Learn and compare": ("train", "evaluate", "calibrate", "report", "trace", "bench", "reproduce", "data", "canary"),
    "Serve": ("serve", "keys", "models", "serve-router"),
    "Extend": ("plugins", "doctor"),
}
"""The headings of ``aamc --help`` and the commands below each; other commands follow as "More"."""
SECTIONS = {
    "bench": "Run resumable benchmarks of routers, with tables and figures.",
    "data": "Generate, collect, inspect and convert datasets.",
    "models": "Check the models of a pool, and fill in their prices.",
    "reproduce": "Reproduce a figure of the AAMC paper with its data.",
}
"""Summaries of groups of commands."""
WRONG_USAGE = (ConfigError, PreferenceError, UnknownComponentError)
"""Errors with exit status 2, for wrong usage; other errors have exit status 1."""


class CommandTree(click.Group):
    """A group of commands of the core and of plugins, each imported when it is used.

    Args:
        path: The names of this group and its parents, such as ``"bench "``; ``""`` for the root.

    Attributes:
        own: The core's commands in this group, with their summaries; they need no discovery of plugins.
        leaves_threads: Whether the program ends without waiting for its threads, as one of them may hang.
    """

    def __init__(self, path: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.path = path
        self.own: Mapping[str, str] = {} if path else COMMANDS
        self.leaves_threads = False

    def offered(self, ctx: click.Context) -> Mapping[str, str]:
        """Map each subcommand that plugins offer to the path of its component; a group of longer paths to the first of them."""
        found: dict[str, str] = {}
        for name in sorted(plugins_of(ctx).names("command")):
            if name.startswith(self.path):
                found.setdefault(name.removeprefix(self.path).split(" ")[0], name)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in alphabetical order."""
        return sorted({*self.own, *self.offered(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; while a shell completes words, its options complete component names."""
        command = self._command(ctx, cmd_name)
        if command is not None and ctx.resilient_parsing:
            from aamc_sdk.cli.shell_completion import complete_components

            complete_components(command)
        return command

    def _command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.own:
            return getattr(importlib.import_module(f"aamc_sdk.cli.commands.{cmd_name}"), cmd_name)  # type: ignore[no-any-return]  # a command
        path = self.offered(ctx).get(cmd_name)
        if path is None:
            return None
        if path == self.path + cmd_name:
            plugins = plugins_of(ctx)
            command = plugins.load("command", path)
            if not isinstance(command, click.Command):
                description = plugins.find("command", path).description
                raise PluginError(f"{description} is {command!r}, not a click command: put @click.command() above the function")
            return command
        return CommandTree(f"{self.path}{cmd_name} ", name=cmd_name, help=SECTIONS.get(cmd_name, f"Commands for {cmd_name}."))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; without any, print the help."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error for an unknown one suggests the nearest, or the distribution that offers it."""
        self._refuse_hidden(ctx, args)
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from aamc_sdk.distributions import install_hint

            hint = install_hint("command", self.path + args[0]) or nearest(args[0], self.list_commands(ctx))
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def _refuse_hidden(self, ctx: click.Context, args: list[str]) -> None:
        """Raise the PluginError of a command that can never run beside a shorter one, which would take the rest of its path as arguments."""
        if args[0] in self.own:
            return
        plugins = plugins_of(ctx)
        typed = f"{self.path}{' '.join(args)} "
        for name in plugins.names("command"):
            if typed.startswith(f"{name} ") and " " in name.removeprefix(self.path):
                plugins.find("command", name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group, without importing them."""
        summaries = {each.name: each.component.summary for each in plugins_of(ctx) if each.kind == "command"}
        rows = {}
        for name in self.list_commands(ctx):
            rows[name] = self.own.get(name) or summaries.get(self.path + name) or SECTIONS.get(name, f"Commands for {name}.")
        grouped = {name for names in GROUPS.values() for name in names}
        groups = {"Commands": list(rows)} if self.path else {**GROUPS, "More": [name for name in rows if name not in grouped]}
        for heading, names in groups.items():
            if found := [(name, rows[name]) for name in names if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(found)


def _with_hyphens(name: str) -> str:
    """Return the name of an option or a command as it is documented: ``--n_train`` is ``--n-train``."""
    return name.replace("_", "-")


class _PrintableFormatter(logging.Formatter):
    """Formats messages, some of which quote a model's server, so that they cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@click.group(cls=CommandTree, name="aamc", context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_hyphens})
@click.version_option(__version__, prog_name="aamc")
@click.option("--debug", is_flag=True, help="Show debug messages and the traceback of an error.")
def aamc(debug: bool) -> None:
    """Route every request to the right model or agent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status: 0 done, 1 failed, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None:  # closed by the caller; the next file to be opened would get its descriptor
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # pathlib is not imported for listing; open until the end
    if arguments is None and isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that its encoding lacks must not end a command
    try:
        with redirect_stdout(sys.stdout):  # click does not close the context of a command whose arguments are wrong
            status = _run(given)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except BrokenPipeError:
        _abandon_output()
        status = 1
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given and not isinstance(error, (click.ClickException, click.Abort, KeyboardInterrupt)):
            click.echo(printable(traceback.format_exc()), err=True)
        status = _report(error, as_json="--json" in given)
    status = status if isinstance(status, int) else 0
    if aamc.leaves_threads and arguments is None:  # else the process is the caller's
        atexit._run_exitfuncs()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _run(arguments: list[str]) -> Any:
    """Run a command and return its status; a plugin's group without a command prints its help, which click from 8.2 on takes for an error."""
    try:
        return aamc.main(arguments, prog_name="aamc", standalone_mode=False)
    except getattr(click.exceptions, "NoArgsIsHelpError", ()) as error:
        click.echo(error.format_message())
        return 0


def _report(error: BaseException, *, as_json: bool) -> int:
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
        _abandon_output()
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


def _abandon_output() -> None:
    """Redirect standard output to the null device: flushing it at the end would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
