"""Transcripts of episodes: the policy's turns and the environment's replies, and whether they are well formed.

The rules are those of the published code (``format_reward`` of https://github.com/ulab-uiuc/Router-R1); the reference page lists the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from aamc_router_r1.protocol.turns import (
    ANSWER,
    INFORMATION,
    OUTSIDE,
    SEARCH,
    THINK,
    Element,
    ModelNames,
    ProtocolError,
    elements,
    is_empty_thought,
    no_thinking,
    text_outside,
)
from aamc_sdk.types import estimated_tokens


@attrs.frozen
class Segment:
    """A part of a transcript: a turn of the policy, or the environment's reply to it, which training masks."""

    text: str
    by_policy: bool


def truncated(text: str, tokens: int, count: Callable[[str], int] = estimated_tokens) -> str:
    """Return the longest beginning of a text that has at most this number of tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= tokens else (low, middle - 1)
    return text[:low]


def clean(text: str) -> str:
    """Return a text that every file, log and tokenizer can hold: halves of surrogate pairs and NUL are replaced."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def escaped(reply: str) -> str:
    """Return a model's reply without any ``<``, so that it can neither open nor close a tag."""
    return clean(reply).replace("<", "&lt;")


def information(reply: str, tokens: int, count: Callable[[str], int] = estimated_tokens) -> str:
    """Return the environment's block around a reply, which is escaped and truncated to a number of tokens."""
    return f"\n\n<information>{truncated(escaped(reply.strip()), tokens, count).strip()}</information>\n\n"


def joined(transcript: Iterable[Segment]) -> str:
    """Return a transcript as one text."""
    return "".join(segment.text for segment in transcript)


def format_errors(transcript: Sequence[Segment] | str, names: ModelNames) -> tuple[ProtocolError, ...]:
    """Return the faults of a whole episode; none if it is well formed.

    In a text alone, information that the policy wrote cannot be told from the environment's.
    """
    text = transcript if isinstance(transcript, str) else joined(transcript)
    found: list[Element] = []
    errors: list[ProtocolError] = []
    try:
        found.extend(elements(text))
    except ProtocolError as error:
        errors.append(error)
    else:
        errors.extend(_faults(found, names))
    if not isinstance(transcript, str) and any(segment.by_policy and f"<{INFORMATION}>" in segment.text for segment in transcript):
        errors.append(ProtocolError("forged_information", "the policy wrote <information>, which only the environment may"))
    return tuple(errors)


def _faults(found: Sequence[Element], names: ModelNames) -> Iterator[ProtocolError]:
    thoughts = [element.text for element in found if element.tag == THINK]
    if not found or found[0].tag != THINK or any(is_empty_thought(thought) for thought in thoughts):
        yield no_thinking()
    yield from (text_outside(element.text) for element in found if element.tag == OUTSIDE)
    answers = [element.text for element in found if element.tag == ANSWER]
    if len(answers) != 1 or not answers[0] or found[-1].tag != ANSWER:
        yield ProtocolError("answer", f"an episode must end with exactly one answer that is not empty; this one has {len(answers)}")
    for element in found:
        if element.tag == SEARCH:
            try:
                names.call(element.text)
            except ProtocolError as error:
                yield error
    open_searches = 0
    for element in found:
        open_searches += (element.tag == SEARCH) - (element.tag == INFORMATION)
        if open_searches < 0:
            break
    if open_searches:
        yield ProtocolError("information", "each search must be followed by one information, and each information must follow a search")
