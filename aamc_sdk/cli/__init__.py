"""The command ``aamc``. One file a command; each is imported when it is used."""

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
    "run": "Train what needs training, compare with every baseline, and report.",
    "train": "Train a router, an estimator or an orchestrator.",
    "evaluate": "Compare a run's routers on other data, or by a log.",
    "calibrate": "Find the preference at which a run's router meets a target.",
    "orchestrate": "Solve a task with an orchestrator, and print the answer.",
    "route": "Decide who should answer one query, and say why.",
    "explain": "Say why a decision was made.",
    "feedback": "Tell a router what came of its decisions.",
    "plugins": "List, show and check plugins.",
}
SECTIONS = {
    "bench": "Run an experiment; each can be stopped and gone on with, and leaves tables and figures.",
    "data": "Make datasets, look into them, and convert them.",
    "reproduce": "Make a figure of the AAMC paper anew, with its data.",
}
"""What the commands of a plugin's section have in common."""
WRONG_USAGE = (ConfigError, PreferenceError, UnknownComponentError)
"""Errors that are the command line's own, with exit status 2; others have 1."""


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
        """Find a command; for an unknown one, offer the nearest name."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        summaries = {offer.component.name: offer.component.summary for offer in plugins_of(ctx) if offer.kind == "command"}
        rows = []
        for name in self.list_commands(ctx):
            own = COMMANDS.get(name) if not self.path else None
            rows.append((name, own or summaries.get(self.path + name) or SECTIONS.get(name, f"Commands about {name}.")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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
