"""The plugins of an invocation, the socket on which it serves, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    import socket

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


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; port 0 takes a free one.

    Raises:
        ConfigError: The address cannot be used.
    """
    import errno
    import socket  # here, as the start of other commands would wait for it

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        not_here = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        advice = "--host, such as 127.0.0.1, or 0.0.0.0 for all addresses" if not_here else "--port (0 for a free one)"
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another {advice}") from error
    return listener
