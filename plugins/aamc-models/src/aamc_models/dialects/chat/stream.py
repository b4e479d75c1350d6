"""Streams of chat."""

from __future__ import annotations

from collections.abc import Iterator

from aamc_models.dialects.chat.chunks import error_of
from aamc_models.dialects.content import is_set
from aamc_models.dialects.error_bodies import error_event
from aamc_models.dialects.events import DONE, event_of
from aamc_models.dialects.fields import JSON, objects


class ChatReader:
    """Reads the events of chat."""

    def __init__(self) -> None:
        self.finished = False

    def read(self, event: JSON) -> Iterator[JSON]:
        """Yield the chunk."""
        yield event


class EventWriter:
    """Writes the events of a dialect whose streams end in ``[DONE]``.

    Args:
        model: The model's name in the events; that of the source when empty.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._finished = self._ended = False

    def end(self) -> list[bytes]:
        """Return the closing event; none if no chunk said that the answer has ended, or it was returned before."""
        if not self._finished or self._ended:
            return []
        self._ended = True
        return [DONE]


class ChatWriter(EventWriter):
    """Writes the events of chat."""

    def write(self, chunk: JSON) -> list[bytes]:
        """Return the event for a chunk."""
        if chunk.get("error"):
            return [error_event("chat", *error_of(chunk))]
        self._finished = self._finished or any(is_set(choice.get("finish_reason")) for _, choice in objects(chunk.get("choices"), "choices"))
        return [event_of({**chunk, "model": self._model} if self._model else dict(chunk))]
