"""Texts that cannot steer a terminal."""

from __future__ import annotations

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160), *range(0xD800, 0xE000)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal: control characters other than line ends and tabs are replaced, and what UTF-8 cannot encode."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def is_printable(text: str) -> bool:
    """Return whether a text has only printable characters, or the joiners of words in Persian and Hindi and of emoji."""
    return text.replace("\u200c", "").replace("\u200d", "").isprintable()


def one_line(text: str, width: int) -> str:
    """Return a text as one line of at most ``width`` characters that cannot steer a terminal."""
    flat = " ".join(text[: 10 * width].split())
    shown = "".join(letter if is_printable(letter) else "\ufffd" for letter in flat[: width + 1])
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"
