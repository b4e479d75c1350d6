"""The turns of a policy: the end of a turn, and its parsed actions.

Tags are exact: ``<think>``, ``<search>``, ``<information>`` and ``<answer>``, in lower case and without attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from aamc_router_r1.protocol.errors import (
    AnswerError,
    ForgedInformationError,
    NestedTagError,
    NoActionError,
    NoThinkingError,
    ProtocolError,
    RoutingClosedError,
    TextOutsideTagsError,
    UnbalancedTagError,
)
from aamc_router_r1.protocol.names import ModelNames, SubQuestion

THINK, SEARCH, INFORMATION, ANSWER = "think", "search", "information", "answer"
TAG = re.compile(r"<(/?)(think|search|information|answer)>")
OUTSIDE = ""
"""The tag of text outside all tags."""
_ACTION_END = re.compile(r"</(search|answer)>")
_NEXT_SEARCH = re.compile(r"\s*<search>")
HOW_TO_ACT = "consult a model by a search with Model-Name: sub-question, or give the final answer by answer"
ANSWER_NOW = "give the final answer now, by answer"
"""Instructions in error messages to the policy. They hold no tags, since informations are escaped, so they suit every codec."""


@attrs.frozen
class Element:
    """A tag with its text; ``OUTSIDE`` for text outside all tags."""

    tag: str
    text: str


@attrs.frozen
class PolicyTurn:
    """A turn of the policy.

    Attributes:
        text: The text, cut at the end of the action.
        thinking: The text of its thinking.
        calls: The questions to models of the pool; none if an error blocks them.
        answer: The answer; None without one, or if an error blocks it.
        errors: The faults of the turn.
    """

    text: str
    thinking: str = ""
    calls: tuple[SubQuestion, ...] = ()
    answer: str | None = None
    errors: tuple[ProtocolError, ...] = ()

    @property
    def blocked(self) -> ProtocolError | None:
        """The first error that blocks the turn; None without."""
        return next((error for error in self.errors if error.blocking), None)


def cut_turn(text: str, calls: int = 1) -> str:
    """Return a turn's text up to the end of its action: the first closing tag of an action.

    Args:
        text: The text that the policy wrote.
        calls: The number of successive searches that one turn may hold.
    """
    end = 0
    for _ in range(calls):
        found = _ACTION_END.search(text, end)
        if found is None:
            break
        end = found.end()
        if found[1] == ANSWER or not _NEXT_SEARCH.match(text, end):
            break
    return text[:end] if end else text


def elements(text: str) -> Iterator[Element]:
    """Yield the elements of a text in order; white space outside the tags is left out.

    Raises:
        NestedTagError: A tag is opened inside another one.
        UnbalancedTagError: A tag is opened and not closed, or closed and not opened.
    """
    opened, begin = OUTSIDE, 0
    for tag in TAG.finditer(text):
        closing, name = bool(tag[1]), tag[2]
        if opened and not closing:
            raise NestedTagError(f"the tag {name} stands inside the tag {opened}; close {opened} first, and write no tags inside it")
        if closing and name != opened:
            where = f"inside the tag {opened}" if opened else "without being opened"
            raise UnbalancedTagError(f"the tag {name} is closed {where}; open and close each tag in turn")
        part = text[begin : tag.start()]
        if closing or part.strip():
            yield Element(opened, part.strip())
        opened, begin = OUTSIDE if closing else name, tag.end()
    if opened:
        raise UnbalancedTagError(f"the tag {opened} is not closed; close it after its text")
    if text[begin:].strip():
        yield Element(OUTSIDE, text[begin:].strip())


def parse_turn(text: str, names: ModelNames, *, may_route: bool = True) -> PolicyTurn:
    """Return a turn, parsed: its thinking, calls, answer and errors.

    Args:
        text: The turn, see :func:`cut_turn`.
        names: The models that may be consulted.
        may_route: Whether models may still be consulted.
    """
    errors: list[ProtocolError] = []
    thinking: list[str] = []
    answers: list[str] = []
    calls: list[SubQuestion] = []
    try:
        for element in elements(text):
            if element.tag == THINK:
                thinking.append(element.text)
            elif element.tag == ANSWER:
                answers.append(element.text)
            elif element.tag == INFORMATION:
                raise ForgedInformationError(f"information is written by the environment only; {HOW_TO_ACT}")
            elif element.tag == OUTSIDE:
                errors.append(text_outside(element.text))
            elif not may_route:
                raise RoutingClosedError(f"no more models can be consulted; {ANSWER_NOW}")
            else:
                calls.append(names.call(element.text))
        _check_action(answers, calls, may_route)
    except ProtocolError as error:
        return PolicyTurn(text, "\n".join(thinking), errors=(*errors, error))
    if not thinking or any(map(is_empty_thought, thinking)):
        errors.append(no_thinking())
    return PolicyTurn(text, "\n".join(thinking), tuple(calls), answers[0] if answers else None, tuple(errors))


def _check_action(answers: list[str], calls: list[SubQuestion], may_route: bool) -> None:
    if not answers and not calls:
        raise NoActionError(f"the turn has no action; {HOW_TO_ACT if may_route else ANSWER_NOW}")
    if answers and (calls or len(answers) > 1):
        raise AnswerError("a turn either consults models or gives one answer; do one of them")
    if answers and not answers[0]:
        raise AnswerError("the answer is empty; write the final answer in it")


def is_empty_thought(thought: str) -> bool:
    """Return whether thinking is empty or a placeholder."""
    return thought in ("", "...", "…")


def no_thinking() -> NoThinkingError:
    """Return the error of missing or empty thinking."""
    return NoThinkingError("think before you act: write your reasoning in the tag think")


def text_outside(text: str) -> TextOutsideTagsError:
    """Return the error of text outside the tags."""
    return TextOutsideTagsError(f"{text!r:.80} stands outside the tags; write it inside the tag think")
