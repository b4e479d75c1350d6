"""Saves a state at regular intervals on its own thread, and once more when it is closed.

Intervals are durations in Go's notation, such as ``30s`` or ``1h15m``: the format of ``auto_save_interval`` in vLLM Semantic Router.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable

from aamc_sdk.errors import ConfigError, OutputError

logger = logging.getLogger(__name__)

DEFAULT_S = 30.0
"""The interval between two saves where ``auto_save_interval`` is empty or invalid."""
MAX_S = 24 * 3600.0
"""The longest valid interval; with a longer one the state would hardly ever be saved."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}  # both of Unicode's micro signs
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(" + "|".join(_UNITS) + ")")


class AutoSave:
    """Calls ``save`` every ``seconds``, and once more in :meth:`close`.

    A failed save loses nothing: the state stays in memory and in the log, and the next save tries again. A warning is
    logged at the first failure, when the reason changes, and when saving works again.

    Args:
        save: Writes the state if it has changed. An OutputError is logged by its message, any other error with its traceback.
        seconds: The interval between two saves.
    """

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._failure = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aamc-autosave", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save once more and stop. Closing twice has no effect."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join()
        self._try_save()

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            self._try_save()

    def _try_save(self) -> None:
        try:
            self._save()
        except Exception as error:  # whatever it is, the next save may succeed
            if repr(error) != self._failure:
                logger.warning("the state is not saved for now, and nothing is lost: %s", error, exc_info=not isinstance(error, OutputError))
            self._failure = repr(error)
        else:
            if self._failure:
                logger.warning("the state is saved again")
            self._failure = ""


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
    given, reason = text.strip(), f"it must be above 0 and at most 24h, not {text!r}"
    try:
        seconds = parse_duration(given) if given else DEFAULT_S
        if 0 < seconds <= MAX_S:
            return seconds
    except ConfigError as error:
        reason = str(error)
    logger.warning("auto_save_interval: %s; the state is saved every %g s", reason, DEFAULT_S)
    return DEFAULT_S
