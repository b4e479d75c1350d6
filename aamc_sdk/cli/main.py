"""The command ``aamc``. Each command has a file of its own, which is imported when it is used."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk import __version__
from aamc_sdk.errors import AamcError, ConfigError, Interrupted, PreferenceError, UnknownComponentError, nearest

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins

COMMANDS = {
    "orchestrate": "Solve a task with an orchestrator, and print the answer.",
    "route": "Decide which candidate should answer one query, and explain why.",
    "explain": "Explain a logged decision.",
    "feedback": "Record feedback on decisions, and export or import their log.",
    "plugins": "List, show and check plugins.",
}
"""The core's own commands."""
GROUPS = {
    "Start here": ("run", "route", "explain", "feedback", "orchestrate", "complete"),
    "Learn and compare": ("train", "evaluate", "calibrate", "report", "bench", "reproduce", "data", "canary"),
    "Serve": ("serve", "keys", "models", "serve-router"),
    "Extend": ("plugins", "doctor"),
}
"""The headings of ``aamc --help`` and the commands below each; other commands follow as "More"."""
SECTIONS = {
    "bench": "Run an experiment that can be interrupted and resumed; writes tables and figures.",
    "data": "Generate, inspect and convert datasets.",
    "reproduce": "Reproduce a figure of the AAMC paper with its data.",
}
"""The summaries of commands that hold others."""
WRONG_USAGE = (ConfigError, PreferenceError, UnknownComponentError)
"""Errors of wrong usage, with exit status 2; other errors have 1."""


class Tree(click.Group):
    """A group whose commands come from the core and from plugins, each imported when it is used.

    Args:
        path: The names that lead here, such as ``"bench "``.
    """

    def __init__(self, path: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.path = path

    def offered(self, ctx: click.Context) -> Mapping[str, str]:
        """Return the names below this one that plugins offer, each with its component's whole path."""
        found = {}
        for name in plugins_of(ctx).names("command"):
            if name.startswith(self.path):
                found[name.removeprefix(self.path).split(" ")[0]] = name
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in alphabetical order."""
        own = COMMANDS if not self.path else {}
        return sorted({*own, *self.offered(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; the core's own are found without looking at plugins."""
        if not self.path and cmd_name in COMMANDS:
            return getattr(importlib.import_module(f"aamc_sdk.cli.{cmd_name}"), cmd_name)  # type: ignore[no-any-return]  # a command
        path = self.offered(ctx).get(cmd_name)
        if path is None:
            return None
        if path == self.path + cmd_name:
            return plugins_of(ctx).load("command", path)  # type: ignore[no-any-return]  # a command
        return Tree(f"{self.path}{cmd_name} ", name=cmd_name, help=SECTIONS.get(cmd_name, f"Commands about {cmd_name}."))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """List the commands where none is named."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; for an unknown one, name the nearest, or the distribution that offers it."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from aamc_sdk.plugins import install_hint

            hint = install_hint("command", self.path + args[0]) or nearest(args[0], self.list_commands(ctx))
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group without importing any."""
        summaries = {offer.component.name: offer.component.summary for offer in plugins_of(ctx) if offer.kind == "command"}
        rows = {}
        for name in self.list_commands(ctx):
            own = COMMANDS.get(name) if not self.path else None
            rows[name] = own or summaries.get(self.path + name) or SECTIONS.get(name, f"Commands about {name}.")
        groups = (
            {"Commands": tuple(rows)} if self.path else {**GROUPS, "More": tuple(rows.keys() - {name for names in GROUPS.values() for name in names})}
        )
        for heading, names in groups.items():
            if found := [(name, rows[name]) for name in names if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(sorted(found) if heading in ("Commands", "More") else found)


def plugins_of(ctx: click.Context) -> Plugins:
    """Return the plugins of this invocation, discovered once."""
    root = ctx.find_root()
    if root.obj is None:
        from aamc_sdk.plugins import get_plugin_manager

        root.obj = get_plugin_manager()
    return root.obj  # type: ignore[no-any-return]  # set above


@click.group(cls=Tree, name="aamc", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aamc")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def aamc(debug: bool) -> None:
    """Route every request to the right model or agent."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status: 0 done, 1 failed, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = aamc.main(given, prog_name="aamc", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "aamc"
        status = _fail(f"{error.format_message()} ({path} --help says more)", error.exit_code)
    except click.ClickException as error:
        status = _fail(error.format_message(), error.exit_code)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort, Interrupted) as error:
        status = _fail(str(error) or "interrupted", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except (AamcError, OSError) as error:
        if "--debug" in given:
            traceback.print_exc()
        status = _fail(str(error), 2 if isinstance(error, WRONG_USAGE) else 1)
    except Exception as error:
        if "--debug" in given:
            traceback.print_exc()
        status = _fail(f"{type(error).__name__}: {error} (a bug, or a plugin's; aamc --debug ... shows where)", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> int:
    click.echo("aamc: " + " ".join(message.split()), err=True)
    return status
