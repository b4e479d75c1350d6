"""A request that notes which of its fields a conversion reads, so that the others can be named as dropped."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

from aamc_models.dialects.content import is_set

_LABELS = frozenset(("type", "id", "index", "status"))
"""Fields of inner objects that say nothing to another server: what kind of object it is, and how the server of an answer refers to its parts."""


class TrackedObject(dict[str, Any]):
    """A JSON object that notes which of its fields are read, as do the objects in it from when they are reached.

    Copying it, such as by ``dict(tracked)``, reads all of its fields.
    """

    __slots__ = ("_read",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if name not in self._read:
            self._read.add(name)
            if isinstance(value, dict | list):
                value = self[name] = _tracked(value)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, else the default."""
        if name in self:
            return self[name]
        self._read.add(name)
        return default

    def __iter__(self) -> Iterator[str]:
        self._read.update(self.keys())
        return super().__iter__()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # as Python's own stubs name the result
        """Return all fields."""
        self._read.update(self.keys())
        return super().items()

    def unread(self, place: str = "") -> Iterator[str]:
        """Yield the names of the set fields that were not read, those of inner objects with the field that holds them, such as ``tools.strict``.

        Inner objects of which nothing but their type was read were taken as a whole, or left out as a whole by a conversion that names them.
        """
        if place and not self._read - _LABELS:
            return
        for name, value in super().items():
            if name in self._read:
                for inner in value if isinstance(value, list) else (value,):
                    if isinstance(inner, TrackedObject):
                        yield from inner.unread(name)
            elif is_set(value) and not (place and name in _LABELS):
                yield f"{place}.{name:.60}" if place else f"{name:.60}"


def _tracked(value: Any) -> Any:
    if isinstance(value, dict):
        return TrackedObject(value)
    return [_tracked(item) for item in value] if isinstance(value, list) else value
