"""Numbers as people read them; what is unknown is a dash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

DASH = "\N{EN DASH}"
"""Between the ends of an interval, and where a number is unknown."""
MOST_DECIMALS = 7
Format = Callable[[float], str]


def fixed(decimals: int, prefix: str = "", suffix: str = "", factor: float = 1.0) -> Format:
    """Return a format with so many decimals, thousands apart."""

    def write(value: float) -> str:
        return f"{prefix}{value * factor:,.{decimals}f}{suffix}" if math.isfinite(value) else DASH

    return write


def significant(digits: int, prefix: str = "", suffix: str = "") -> Format:
    """Return a format with so many significant digits, and never an exponent."""

    def write(value: float) -> str:
        decimals = _decimals(abs(value), digits) if math.isfinite(value) and value else 0
        return fixed(decimals, prefix, suffix)(value)

    return write


def aligned(values: Iterable[float], digits: int = 2, prefix: str = "") -> Format:
    """Return one format for a column: the least value that is not 0 has so many significant digits."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    return fixed(_decimals(min(sizes), digits) if sizes else 0, prefix)


def shortest(value: float, prefix: str = "") -> str:
    """Return a number of an axis: no more digits than it has, and never an exponent."""
    return prefix + f"{value:.9f}".rstrip("0").rstrip(".")


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _decimals(size: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), MOST_DECIMALS)


percent = fixed(1, suffix="%", factor=100)
dollars = significant(3, prefix="$")
milliseconds = fixed(0)
