"""Pseudonyms of user ids, the same for the same user and key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import read_errors

_DIGITS = 32


def pseudonym(user: str, key: str | bytes) -> str:
    """Return the pseudonym of a user: 32 hexadecimal digits of HMAC-SHA256. A string as key equals its UTF-8 bytes."""
    return hmac.digest(key.encode() if isinstance(key, str) else key, user.encode(errors="surrogatepass"), "sha256").hex()[:_DIGITS]


def pseudonymizer(key: str | bytes | None) -> Callable[[str], str]:
    """Return the function that maps a user's id to the one that the router, the log and events see: itself without a key."""
    if key is None:
        return str
    if not isinstance(key, str | bytes) or not key:
        raise ConfigError("user_key must be a non-empty string or bytes; give a long random key, or None to keep user ids as they are")
    return lambda user: pseudonym(user, key)  # unlike a partial, whose repr has the key


def read_key(path: Path) -> str:
    """Read a key from a file, without surrounding white space."""
    with read_errors(path, "give a text file with the key of user ids", raises=ConfigError):
        key = path.read_text(encoding="utf-8").strip()
    if not key:
        raise ConfigError(f"{path} is empty; write a long random key into it, and keep that key: another one changes all ids")
    return key
