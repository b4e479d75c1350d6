"""Arguments of scripts: MessagePack in the form that Redis reads, which has texts and no separate type for bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_FEW = 16
"""Elements whose number has room in a list's first byte."""
_SHORT = 32
_HALF = 1 << 16


def packed(value: Any) -> bytes:
    """Return lists, texts, bytes and numbers from 0 as bytes."""
    parts: list[bytes] = []
    _add(parts, value)
    return b"".join(parts)


def _add(parts: list[bytes], value: Any) -> None:
    if isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        parts.append(_head(len(content), 0xA0, _SHORT, 0xDA))
        parts.append(content)
    elif isinstance(value, int):
        parts.append(bytes([value]) if value < 0x80 else b"\xce" + value.to_bytes(4, "big"))
    else:
        _add_list(parts, value)


def _add_list(parts: list[bytes], values: Iterable[Any]) -> None:
    kept = list(values)
    parts.append(_head(len(kept), 0x90, _FEW, 0xDC))
    for value in kept:
        _add(parts, value)


def _head(size: int, short: int, limit: int, long: int) -> bytes:
    """Return a type and a size in the shortest form."""
    if size < limit:
        return bytes([short | size])
    return bytes([long]) + size.to_bytes(2, "big") if size < _HALF else bytes([long + 1]) + size.to_bytes(4, "big")
