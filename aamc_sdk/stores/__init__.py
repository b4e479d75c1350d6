"""Stores: where the decision log is kept. A URL's scheme says in which kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aamc_sdk.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.plugins import Plugins


def open_store(url: str, plugins: Plugins, options: Mapping[str, Any] | None = None, *, existing: bool = False) -> Store:
    """Open the store that a URL names, such as ``sqlite:state.db`` or ``memory:``.

    Args:
        url: Its scheme is a store's name.
        plugins: Where stores come from.
        options: The store's options.
        existing: Whether a file that is not there is an error, rather than a new store.

    Raises:
        ConfigError: It is no URL, or an option is wrong.
        UnknownComponentError: No plugin has a store of that scheme.
        StoreError: The store cannot be reached or read, or does not exist as it should.
    """
    from aamc_sdk.config import configure

    scheme, colon, path = url.partition(":")
    if not colon:
        raise ConfigError(f"a store is named by a URL such as sqlite:PATH or memory:, not {url!r}")
    if existing and scheme == "sqlite" and not Path(path).is_file():
        raise StoreError(f"there is no store at {path}; name one that decisions were logged in")
    target = plugins.load("store", scheme)
    store: Store = target(url, configure(target.Config, options or {}, where=f"store {scheme}"))
    return store
