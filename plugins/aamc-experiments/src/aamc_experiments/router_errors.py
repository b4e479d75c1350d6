"""Errors that say which of several routers failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aamc_sdk.errors import AamcError, PluginError, router_error


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Name the router whose plugin raised an error, since several are compared.

    Raises:
        PluginError: Its scores cannot be used, or it failed.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        if isinstance(error, AamcError) and not isinstance(error, PluginError):
            raise
        raise router_error(name, error) from error
