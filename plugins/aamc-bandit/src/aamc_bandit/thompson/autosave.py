"""Saves a state every now and then, on a thread of its own, and once more at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from aamc_sdk.errors import OutputError

logger = logging.getLogger(__name__)


class AutoSave:
    """Calls ``save`` every ``seconds``, and when it is closed.

    A save that fails loses nothing: the state stays in memory, the log has all that it was made from, and the next save tries again.
    It is reported when it first fails, when the reason changes, and when saving works again.

    Args:
        save: Writes the state if it has changed. Of an OutputError the message is enough; any other error is reported with its traceback.
        seconds: Between two saves.
    """

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._failure = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="aamc-autosave", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save once more and stop; closing twice does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join()
        self._try()

    def _work(self) -> None:
        while not self._closing.wait(self._seconds):
            self._try()

    def _try(self) -> None:
        try:
            self._save()
        except Exception as error:  # whatever it is, the next save may go well
            if repr(error) != self._failure:
                logger.warning("the state is not saved for now, and nothing is lost: %s", error, exc_info=not isinstance(error, OutputError))
            self._failure = repr(error)
        else:
            if self._failure:
                logger.warning("the state is saved again")
            self._failure = ""
