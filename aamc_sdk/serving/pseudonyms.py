"""User ids that mean nothing to who reads the log, and are always the same for the same user and key."""

from __future__ import annotations

import hmac
from pathlib import Path

from aamc_sdk.errors import ConfigError

_DIGITS = 32


def is_key(key: object) -> bool:
    """Whether a value can be a key: a text or bytes, and not empty."""
    return isinstance(key, str | bytes) and bool(key)


def pseudonym(user: str, key: str | bytes) -> str:
    """Return 32 hexadecimal digits (HMAC-SHA256) that stand for a user; a text as key is the same as its UTF-8 bytes."""
    return hmac.digest(key.encode() if isinstance(key, str) else key, user.encode(errors="surrogatepass"), "sha256").hex()[:_DIGITS]


def read_key(path: Path) -> str:
    """Return the key that a file holds, without the space around it.

    Raises:
        ConfigError: There is no such file, or nothing in it.
    """
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key of user ids cannot be read from {path} ({error})") from error
    if not key:
        raise ConfigError(f"{path} is empty; write a long random text into it, and keep it: other keys make other ids")
    return key
