"""Shell completion of component names, for every option and argument that is named after a kind of component."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.plugins import KINDS

_OTHER_WORDS = {"pool": "model_pool", "log": "store"}
_BEFORE_A_PATH = ("dataset", "store")
"""The kinds whose names stand before a colon and a path."""


class ComponentName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """The name of a component of one kind, several after commas, or a file."""

    name = "text"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the component names that begin with the last word, else files."""
        before, comma, word = incomplete.rpartition(",")
        colon = ":" if self._kind in _BEFORE_A_PATH else ""
        names = [name for name in plugins_of(ctx).names(self._kind) if name.startswith(word)]
        return [CompletionItem(f"{before}{comma}{name}{colon}") for name in names] or [CompletionItem(incomplete, type="file")]


def complete_components(command: click.Command) -> None:
    """Let the options and arguments of a command that are named after a kind, such as ``--routers`` and ``--test-dataset``, complete names."""
    for parameter in command.params:
        word = parameter.opts[0].lstrip("-").rpartition("-")[2].removesuffix("s")
        kind = _OTHER_WORDS.get(word, word)
        if kind in KINDS and parameter.type is click.STRING:
            parameter.type = ComponentName(kind)
    for subcommand in command.commands.values() if isinstance(command, click.Group) else ():
        complete_components(subcommand)


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the kinds that begin with the incomplete word; ``plugin`` is one of them."""
    return [kind for kind in (*KINDS, "plugin") if kind.startswith(incomplete)]


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the kind in the argument before."""
    plugins, kind = plugins_of(ctx), ctx.params.get("kind") or ""
    names = {plugin.name for plugin in plugins.installed} if kind == "plugin" else plugins.names(kind)
    return sorted(name for name in names if name.startswith(incomplete))


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the distributions and kinds that begin with the incomplete word; after a kind, its names."""
    plugins = plugins_of(ctx)
    given = ctx.params.get(param.name or "") or ()
    known = plugins.names(given[0]) if given else {plugin.distribution for plugin in plugins.installed} | KINDS.keys()
    return sorted(name for name in known if name.startswith(incomplete))
