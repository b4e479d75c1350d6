"""Packages whose public names are imported on first use, so that importing the package is quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazy_exports(package: str, names: Sequence[str], modules: Sequence[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that imports its public names on first use.

    Args:
        package: The package's ``__name__``.
        names: Its ``__all__``.
        modules: The modules that define the names, the quickest to import first: each name is looked for in this order.
    """

    def get_attribute(name: str) -> Any:
        for module in modules if name in names else ():
            found = import_module(f"{package}.{module}")
            if hasattr(found, name):
                return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def list_names() -> list[str]:
        return sorted({*vars(import_module(package)), *names})

    return get_attribute, list_names
