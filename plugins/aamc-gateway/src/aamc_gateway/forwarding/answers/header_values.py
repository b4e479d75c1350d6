"""Header values from text that may have any character: HTTP servers and clients refuse control characters and long headers."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

_UNPRINTABLE = re.compile(r"[^ -~]")
_KEPT = (string.punctuation + " ").replace("%", "")
MAX_DROPPED = 1000
"""Maximum characters of the names in ``x-aamc-dropped``."""


def printable(text: str) -> bytes:
    """Return text as a header value, with ``?`` for each character that is not printable ASCII."""
    return _UNPRINTABLE.sub("?", text).encode("ascii")


@lru_cache(1024)
def model_header(name: str) -> tuple[bytes, bytes]:
    """Return the header with a model's name; ``%`` and characters that are not printable ASCII are percent-encoded as UTF-8."""
    return b"x-aamc-model", quote(name, safe=_KEPT, errors="replace").encode("ascii")


def dropped_header(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the header with the names of fields that were left out; ``...`` ends a list that is too long."""
    text = ", ".join(names)
    return b"x-aamc-dropped", printable(text if len(text) <= MAX_DROPPED else f"{text[:MAX_DROPPED]}...")
