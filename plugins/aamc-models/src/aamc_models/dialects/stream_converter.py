"""Conversion of streamed answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from aamc_models.dialects.chat.stream import ChatReader, ChatWriter
from aamc_models.dialects.completions import CompletionsReader, CompletionsWriter
from aamc_models.dialects.events import data_of, object_of
from aamc_models.dialects.fields import check_dialect
from aamc_models.dialects.messages.stream import MessagesReader, MessagesWriter
from aamc_models.dialects.responses.stream import ResponsesReader, ResponsesWriter


class _Reader(Protocol):
    finished: bool

    def read(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]: ...


class _Writer(Protocol):
    def write(self, chunk: Mapping[str, Any]) -> list[bytes]: ...

    def end(self) -> list[bytes]: ...


_READERS: Mapping[str, type[_Reader]] = {
    "chat": ChatReader,
    "messages": MessagesReader,
    "responses": ResponsesReader,
    "completions": CompletionsReader,
}


def _writer(dialect: str, model: str) -> _Writer:
    if dialect == "messages":
        return MessagesWriter(model)
    if dialect == "responses":
        return ResponsesWriter(model)
    return CompletionsWriter(model) if dialect == "completions" else ChatWriter(model)


class StreamConverter:
    """Converts the server-sent events of a streamed answer to another dialect.

    Args:
        source: The dialect of the events that come in.
        target: The dialect of the events that go out.
        model: The model's name in the events that go out; that of the source when empty.

    Raises:
        DataError: A dialect is unknown.
    """

    def __init__(self, source: str, target: str, model: str = "") -> None:
        check_dialect(source)
        check_dialect(target)
        self._reader = _READERS[source]()
        self._writer = _writer(target, model)

    def feed(self, event: bytes) -> list[bytes]:
        """Return the events that one event becomes; each ends with an empty line.

        Raises:
            DataError: The event is not of the source's dialect.
        """
        data = object_of(event)
        if data is None:
            return self._writer.end() if data_of(event) == b"[DONE]" else []
        events = [written for chunk in self._reader.read(data) for written in self._writer.write(chunk)]
        return [*events, *self._writer.end()] if self._reader.finished else events

    def end(self) -> list[bytes]:
        """Return the closing events that have not come yet once the source has ended; none if it was cut before its finish."""
        return self._writer.end()
