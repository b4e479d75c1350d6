"""Durations in Go's notation, such as ``30s`` or ``1h15m``: the format of ``auto_save_interval`` in vLLM Semantic Router."""

from __future__ import annotations

import logging
import math
import re

from aamc_sdk.errors import ConfigError

logger = logging.getLogger(__name__)

DEFAULT_SECONDS = 30.0
"""The interval between two saves where ``auto_save_interval`` is empty or invalid."""
MAX_SECONDS = 24 * 3600.0
"""The longest valid interval; with a longer one the state would hardly ever be saved."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}  # both of Unicode's micro signs
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(" + "|".join(_UNITS) + ")")


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration: decimal numbers, each with a unit of ``ns us ms s m h``, and an optional sign.

    Raises:
        ConfigError: The text is not a duration.
    """
    sign, digits = (-1.0 if text[:1] == "-" else 1.0), text[1:] if text[:1] in ("+", "-") else text
    if digits == "0":  # the only number that needs no unit
        return 0.0
    parts = _PART.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        raise ConfigError(f"a duration is a number with a unit, such as 45s, 5m or 1h30m, not {text!r}")
    return sign * math.fsum(float(number) * _UNITS[unit] for number, unit in parts)


def auto_save_seconds(text: str) -> float:
    """Return the seconds between two saves.

    As in vLLM Semantic Router, an interval that is empty, invalid, not positive or above 24 hours becomes 30 seconds. An
    invalid one is logged as a warning.
    """
    given = text.strip()
    if not given:
        return DEFAULT_SECONDS
    try:
        seconds = parse_duration(given)
    except ConfigError as error:
        logger.warning("auto_save_interval: %s; the state is saved every %g s", error, DEFAULT_SECONDS)
        return DEFAULT_SECONDS
    if not 0 < seconds <= MAX_SECONDS:
        logger.warning("auto_save_interval must be above 0 and at most 24h, not %r; the state is saved every %g s", text, DEFAULT_SECONDS)
        return DEFAULT_SECONDS
    return seconds
