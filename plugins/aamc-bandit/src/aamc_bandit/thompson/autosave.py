"""Saves a state at regular intervals on its own thread, and once more when it is closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from aamc_sdk.errors import OutputError

logger = logging.getLogger(__name__)


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
