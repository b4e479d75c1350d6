"""The plugins of an invocation, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins


def plugins_of(ctx: click.Context) -> Plugins:
    """Return the plugins of this invocation, discovered once."""
    root = ctx.find_root()
    if root.obj is None:
        from aamc_sdk.plugins import get_plugin_manager

        root.obj = get_plugin_manager()
    return root.obj  # type: ignore[no-any-return]  # set above


def leave_threads_behind(ctx: click.Context) -> None:
    """End the program, after the command, without waiting for its threads, as one of them may hang."""
    ctx.find_root().command.leaves_threads = True  # type: ignore[attr-defined]  # the root is a CommandTree
