"""Arguments of scripts: MessagePack in the form that Redis reads, which has no separate type for bytes."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()
_BYTE, _HALF = 1 << 8, 1 << 16


def packed(value: Any) -> bytes:
    """Return lists, texts, numbers and results of :func:`binary` as bytes."""
    return _encoder.encode(value)


def binary(content: bytes) -> msgspec.Raw:
    """Return bytes in the form of a text."""
    size = len(content)
    if size < _BYTE:
        return msgspec.Raw(b"\xd9%c%b" % (size, content))
    if size < _HALF:
        return msgspec.Raw(b"\xda%b%b" % (size.to_bytes(2, "big"), content))
    return msgspec.Raw(b"\xdb%b%b" % (size.to_bytes(4, "big"), content))
