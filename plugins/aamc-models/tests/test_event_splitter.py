import pytest
from aamc_models.transport.answers import EventSplitter
from aamc_models.transport.failures import Failure

EVENTS = [b"data: a\n\n", b"event: x\r\ndata: b\r\n\r\n", b"data: c\r\r", b": note\n\n", b"data: " + b"x" * 50 + b"\n\n"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_come(size: int) -> None:
    data, splitter = b"".join(EVENTS), EventSplitter(1000)
    split = [event for start in range(0, len(data), size) for event in splitter.feed(data[start : start + size])]
    assert split == EVENTS
    assert splitter.rest() == []


@pytest.mark.parametrize(
    ("rest", "event"),
    [(b"data: x\n", [b"data: x\n\n"]), (b"data: [DONE]", [b"data: [DONE]\n\n"]), (b'data: {"choi', []), (b"", []), (b"\n", [])],
)
def test_a_last_event_without_its_empty_line_counts_only_if_it_is_whole(rest: bytes, event: list[bytes]) -> None:
    splitter = EventSplitter(1000)
    assert splitter.feed(b"data: a\n\n" + rest) == [b"data: a\n\n"]
    assert splitter.rest() == event
    assert splitter.rest() == []


def test_an_event_beyond_the_limit_is_refused() -> None:
    splitter = EventSplitter(100)
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(Failure, match="an event of more than 100 bytes"):
        splitter.feed(b"x" * 90)
