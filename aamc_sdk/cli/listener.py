"""The socket of a command that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    import socket


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
