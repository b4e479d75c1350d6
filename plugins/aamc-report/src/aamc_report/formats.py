"""Numbers as text; an unknown number is a dash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

PER_THOUSAND = "USD per 1,000"
"""The unit of costs: of 1,000 queries."""
DASH = "\N{EN DASH}"
"""Between the bounds of an interval, and for an unknown number."""
MAXIMUM_DECIMALS = 7
Format = Callable[[float], str]


def fixed(decimals: int, prefix: str = "", suffix: str = "", factor: float = 1.0) -> Format:
    """Return a format with a number of decimals, and commas between thousands."""

    def write(value: float) -> str:
        rounded = round(value * factor, decimals) + 0.0  # without -0.0
        return f"{prefix}{rounded:,.{decimals}f}{suffix}" if math.isfinite(value) else DASH

    return write


def significant(digits: int, prefix: str = "", factor: float = 1.0) -> Format:
    """Return a format with a number of significant digits, without exponents."""

    def write(value: float) -> str:
        decimals = _decimals(abs(value) * factor, digits) if math.isfinite(value) and value else 0
        return fixed(decimals, prefix, factor=factor)(value)

    return write


def aligned(values: Iterable[float], factor: float = 1.0) -> Format:
    """Return one format for a column: the smallest value other than 0 has two significant digits."""
    sizes = [abs(value) * factor for value in values if math.isfinite(value) and value != 0]
    return fixed(_decimals(min(sizes), 2) if sizes else 0, factor=factor)


def shortest(value: float, prefix: str = "") -> str:
    """Return a number of an axis, without trailing zeros and exponents."""
    return prefix + f"{value:.9f}".rstrip("0").rstrip(".")


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _decimals(size: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), MAXIMUM_DECIMALS)


percent = fixed(1, suffix="%", factor=100)
per_thousand = significant(3, factor=1000)
"""USD of a query as USD of 1,000 queries."""
dollars_per_thousand = significant(3, prefix="$", factor=1000)
whole = milliseconds = fixed(0)
