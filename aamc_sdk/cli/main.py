"""The command ``aamc``. Each subcommand has its own module, which is imported when it is used."""

from __future__ import annotations

import atexit
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from typing import Any

import click

from aamc_sdk import __version__
from aamc_sdk.cli.failures import abandon_output, report_failure
from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.printable_text import printable
from aamc_sdk.core_commands import COMMANDS
from aamc_sdk.errors import PluginError
from aamc_sdk.messages import nearest

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
        abandon_output()
        status = 1
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given and not isinstance(error, (click.ClickException, click.Abort, KeyboardInterrupt)):
            click.echo(printable(traceback.format_exc()), err=True)
        status = report_failure(error, as_json="--json" in given)
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
