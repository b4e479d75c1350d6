"""Stores: where the decision log is kept. A URL's scheme says in which kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aamc_sdk.errors import ConfigError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.plugins import Plugins


def open_store(url: str, plugins: Plugins, options: Mapping[str, Any] | None = None) -> Store:
    """Open the store that a URL names, such as ``sqlite:state.db`` or ``memory:``.

    Raises:
        ConfigError: It is no URL, or an option is wrong.
        UnknownComponentError: No plugin has a store of that scheme.
        StoreError: The store cannot be reached or read.
    """
    from aamc_sdk.config import configure

    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigError(f"a store is named by a URL such as sqlite:PATH or memory:, not {url!r}")
    target = plugins.load("store", scheme)
    store: Store = target(url, configure(target.Config, options or {}, where=f"store {scheme}"))
    return store
