"""Store URLs: the scheme is a store's name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import attrs

from aamc_sdk.config import configure, parse_yaml
from aamc_sdk.errors import ConfigError, StoreError
from aamc_sdk.interfaces import Store, public_url
from aamc_sdk.log.row_store import RowStore
from aamc_sdk.log.sqlite.store import SqliteStore
from aamc_sdk.messages import component_errors, unknown_name

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins


def open_store(url: str, plugins: Plugins, options: Mapping[str, Any] | None = None, *, existing: bool = False) -> Store:
    """Open the store that a URL names, such as ``sqlite:state.db``, ``memory:`` or ``sqlite:state.db?store_text=true``.

    Args:
        url: The scheme is a store's name. After a ``?`` come the store's options, and parameters of a server's own.
        plugins: The plugins that offer stores.
        options: The store's options; those of the URL take precedence.
        existing: Whether a missing file is an error instead of a new store; a file that cannot be written is then only read.

    Raises:
        ConfigError: The URL or an option is wrong.
        UnknownComponentError: No plugin offers a store of that scheme.
        StoreError: The store cannot be reached or read, or a file that must exist is missing.
    """
    scheme, colon, _ = url.partition(":") if isinstance(url, str) else ("", "", "")
    if not colon:
        raise ConfigError(f"a store is named by a URL such as sqlite:PATH or memory:, not {public_url(str(url))!r}")
    target = plugins.load("store", scheme)
    address, given = _split(url, [field.name for field in attrs.fields(target.Config)])
    path = address.partition(":")[2]
    if scheme == "memory" and path:
        raise ConfigError("store memory has neither a path nor a server; use memory: alone, or sqlite:PATH for a log in a file")
    if scheme == "sqlite" and path == ":memory:":
        raise ConfigError(f"{address} would be a file of that name; use memory: for a log in memory, or sqlite:PATH for one in a file")
    if existing:
        with component_errors(f"store {scheme!r} failed"):
            found = target.exists(address)
        if not found:
            raise StoreError(f"there is no store at {public_url(address).partition(':')[2]}; give the URL of an existing one")
    if existing and issubclass(target, SqliteStore) and path and not _can_be_written(Path(path)):
        given["read_only"] = True
    chosen = configure(target.Config, {**(options or {}), **given}, where=f"store {scheme}")
    store: Store = plugins.make_with("store", scheme, lambda target: target(address, chosen))
    if isinstance(store, RowStore):
        store.formats = partial(plugins.load, "store")
    return store


def _can_be_written(path: Path) -> bool:
    """Return whether a file, and new files next to it, can be written, as SQLite needs."""
    return os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)


def _split(url: str, known: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a URL without the store's options, and these options.

    Raises:
        ConfigError: An option is given twice, or is unknown and the URL names no server that could know it.
    """
    address, _, query = url.partition("?")
    if url.startswith("sqlite:") and "/" in query and "@" not in query:  # a folder's name has a question mark; with @ it may be a password
        folder, slash, file = url.rpartition("/")
        name, _, query = file.partition("?")
        address = folder + slash + name
    pairs = parse_qsl(query, keep_blank_values=True)
    name, counts = address.partition(":")[0], Counter(key for key, _ in pairs)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise ConfigError(f"the URL of store {name} gives the option {twice[0]!r} twice; leave one out")
    rest = [(key, value) for key, value in pairs if key not in known]
    if rest and ("//" not in address or name == "sqlite"):
        key = rest[0][0]
        if "@" in key:  # a part of a password
            raise ConfigError(f"the URL of store {name} has an option with @; write the URL of a server as {name}://HOST, and ? in a password as %3F")
        raise ConfigError(unknown_name(f"store {name} has no option", key, known))
    options = {key: parse_yaml(value, f"{key} of {public_url(address)}") for key, value in pairs if key in known}
    return f"{address}?{urlencode(rest, quote_via=quote)}" if rest else address, options
