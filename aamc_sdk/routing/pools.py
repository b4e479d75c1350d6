"""Model pools: the default pool, and pool files in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import cattrs

from aamc_sdk.config import configure, load_yaml, parse_yaml
from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.messages import check_type, component_errors, one_of
from aamc_sdk.types import ModelSpec, Pool

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins


def default_pool() -> Pool:
    """Return seven models from small to very large, at public list prices."""
    text = resources.files("aamc_sdk.routing").joinpath("default_pool.yaml").read_text(encoding="utf-8")
    return pool_from_dict(parse_yaml(text, "default_pool.yaml"), "the default pool")


def read_pool(path: Path) -> Pool:
    """Read a pool from a YAML file with a list ``candidates``.

    Raises:
        PoolError: The file, or a candidate in it, cannot be used.
    """
    try:
        return pool_from_dict(load_yaml(path), str(path))
    except ConfigError as error:
        raise PoolError(str(error)) from error


def pool_from_dict(content: Mapping[str, Any], where: str) -> Pool:
    """Make a pool from the content of a pool file.

    Raises:
        PoolError: A candidate cannot be used; the message names it.
    """
    entries = content.get("candidates")
    if not isinstance(entries, list) or not entries:
        found = f", not {entries!r:.80}" if "candidates" in content else f" (it has: {one_of(map(str, content))})"
        raise PoolError(f"{where} must have a list 'candidates' with at least one named entry{found}")
    candidates = [_candidate(entry, f"{where}, candidate {n + 1}") for n, entry in enumerate(entries)]
    try:
        return Pool(candidates)
    except PoolError as error:
        raise PoolError(f"{where}: {error}") from error


def _candidate(entry: Any, where: str) -> ModelSpec:
    if not isinstance(entry, dict) or "name" not in entry:
        raise PoolError(f"{where} must be a mapping with a 'name', not {entry!r:.80}")
    if not isinstance(entry["name"], str):
        raise PoolError(f"{where}: name must be text, not {entry['name']!r:.80}; write it in quotes")
    where = f"{where} ({entry['name']})" if entry["name"] else where
    try:
        spec = configure(ModelSpec, {key: value for key, value in entry.items() if key != "endpoint"}, where=where)
        return attrs.evolve(spec, endpoint=entry.get("endpoint"))
    except ConfigError as error:
        raise PoolError(str(error)) from error
    except PoolError as error:
        raise PoolError(f"{where}: {error}") from error


def pool_to_dict(pool: Pool) -> dict[str, Any]:
    """Return the content of a pool file, in the form that :func:`pool_from_dict` reads."""
    entries = []
    for candidate in pool:
        entry = cattrs.unstructure(candidate) | {"abilities": sorted(candidate.abilities)}
        if candidate.endpoint is not None:
            entry["endpoint"] = candidate.endpoint.to_dict()
        if entry.get("prices"):
            entry["prices"] = {
                key: value for key, value in entry["prices"].items() if value not in (None, 0.0) or key in ("input", "output", "cached_input")
            }
        entries.append({key: value for key, value in entry.items() if value not in (None, "", [], {})})
    return {"candidates": entries}


def find_pool(name: str | Path | Mapping[str, Any] | Pool, plugins: Plugins) -> Pool:
    """Return a pool by the name of a component, or from a YAML file or the content of one; a pool is returned unchanged.

    Raises:
        PoolError: The file cannot be used, or the name is a folder or not a string.
        PluginError: The component raised an error that is not an AamcError.
        UnknownComponentError: There is neither a component nor a file of that name.
    """
    if isinstance(name, Pool):
        return name
    if isinstance(name, Path):
        return read_pool(name)
    if isinstance(name, Mapping):
        return pool_from_dict(name, "pool")
    check_type(name, str, "a pool must be an aamc_sdk.Pool, a component's name or a YAML file", PoolError)
    if name not in plugins.names("model_pool"):
        if name.endswith((".yaml", ".yml")) or Path(name).is_file():
            return read_pool(Path(name))
        if Path(name).is_dir():
            raise PoolError(f"{name} is a folder; name a pool file in it, such as {Path(name, 'pool.yaml')}")
    make = plugins.load("model_pool", name)
    try:
        with component_errors(f"model pool {name!r} cannot be made"):
            pool: Pool = make()
    except PoolError as error:
        raise PoolError(f"model pool {name!r} cannot be made: {error}") from error
    return check_type(pool, Pool, f"model pool {name!r} must return an aamc_sdk.Pool", PoolError)
