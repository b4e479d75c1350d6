"""The turns of a policy: where one ends, its parsed actions, and its faults.

Tags are exact: ``<think>``, ``<search>``, ``<information>`` and ``<answer>``, in lower case and without attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.messages import nearest, one_of

THINK, SEARCH, INFORMATION, ANSWER = "think", "search", "information", "answer"
TAG = re.compile(r"<(/?)(think|search|information|answer)>")
OUTSIDE = ""
"""The tag of text outside all tags."""
_ACTION_END = re.compile(r"</(search|answer)>")
_NEXT_SEARCH = re.compile(r"\s*<search>")
HOW_TO_ACT = "consult a model by a search with Model-Name: sub-question, or give the final answer by answer"
ANSWER_NOW = "give the final answer now, by answer"
"""Instructions in error messages to the policy. They hold no tags, since informations are escaped, so they suit every codec."""
_PLACEHOLDER_NAMES = re.compile(r"(llm|model)[-_ ]?name", re.IGNORECASE)
_PLACEHOLDERS = re.compile(
    r".*\bllm[-_]name\b.*|.*your[-_]query.*|todo|n/a|none|placeholder|"
    r"((your|the|a|concrete)[-_ ])*(sub[-_ ]?)?(question|query)([-_ ]here)?|[!-/:-@\[-`{-~…\s]*",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPING = " \t\r\n<>[]{}()\"'`."


class ProtocolError(AamcError):
    """Raised when a policy's text breaks the protocol. The message tells the policy how to correct it.

    Attributes:
        kind: The name of the fault in traces and metrics, such as ``"no_action"``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both, so that another process can receive it
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[1])

    @property
    def blocking(self) -> bool:
        """Whether nothing of the turn can be carried out."""
        return self.kind not in ("no_thinking", "text_outside_tags")

    def __eq__(self, other: object) -> bool:
        """Compare kind and message, so that two parses of one text are equal."""
        return isinstance(other, ProtocolError) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


@attrs.frozen
class SubQuestion:
    """A question to a model of the pool, by the candidate's name."""

    model: str
    question: str


class ModelNames:
    """Recognises the models in ``Model-Name: sub-question``.

    Names match exactly and with case. The longest matching name counts, since a name may hold a colon, as ``qwen2.5:7b`` does.

    Args:
        names: The names of the candidates.
        aliases: Further names, each with the candidate's name.

    Raises:
        ConfigError: An alias stands for no candidate, or is another candidate's name.
    """

    def __init__(self, names: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        self.names = tuple(names)
        for alias, name in (aliases or {}).items():
            if name not in self.names:
                raise ConfigError(f"alias {alias!r} stands for {name!r}, which is not a candidate{nearest(name, self.names)} ({one_of(self.names)})")
            if alias in self.names and alias != name:
                raise ConfigError(f"alias {alias!r} is the name of another candidate; choose another alias")
        self._known = {**{name: name for name in self.names}, **(aliases or {})}
        known = "|".join(re.escape(name) for name in sorted(self._known, key=len, reverse=True))
        self._pattern = re.compile(rf"\s*({known})\s*:(.*)", re.DOTALL)

    def call(self, text: str) -> SubQuestion:
        """Return the call that the text of a search makes; a sub-question may hold colons.

        Raises:
            ProtocolError: There is no name before a colon, or it is not a candidate's; or the sub-question is empty or a placeholder.
        """
        found = self._pattern.fullmatch(text)
        if found is None:
            name, colon, question = text.partition(":")
            if not colon:
                raise ProtocolError(
                    "no_model", f"a search must be Model-Name: sub-question, not {text.strip()!r:.200}; begin it with one of: {self._choice}"
                )
            if _PLACEHOLDER_NAMES.fullmatch(name.strip(_WRAPPING)):
                raise ProtocolError("empty_question", f"{name.strip()!r} is a placeholder; write a model's name in its place, one of: {self._choice}")
            name = name.strip()
            raise ProtocolError(
                "unknown_model", f"there is no model {name!r:.200}{nearest(name, self.names)}; write one of these names exactly: {self._choice}"
            )
        model, question = self._known[found[1]], found[2].strip()
        if _PLACEHOLDERS.fullmatch(question.strip(_WRAPPING)) or question == found[1]:
            raise ProtocolError(
                "empty_question", f"the search for {model!r} has no sub-question but {question!r}; write a concrete question after the colon"
            )
        return SubQuestion(model, question)

    @property
    def _choice(self) -> str:
        return ", ".join(self.names)


@attrs.frozen
class Element:
    """A tag with its text; ``OUTSIDE`` for text outside all tags."""

    tag: str
    text: str


@attrs.frozen
class PolicyTurn:
    """A turn of the policy, cut at the end of its action. After an error that blocks it there are no calls, and no answer."""

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
    """Return a turn's text up to the first closing tag of an action, or the last of up to ``calls`` successive searches."""
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
    """Yield the elements of a text in order, without white space outside the tags; raise ProtocolError for tags that do not match."""
    opened, begin = OUTSIDE, 0
    for tag in TAG.finditer(text):
        closing, name = bool(tag[1]), tag[2]
        if opened and not closing:
            raise ProtocolError("nested_tag", f"the tag {name} stands inside the tag {opened}; close {opened} first, and write no tags inside it")
        if closing and name != opened:
            where = f"inside the tag {opened}" if opened else "without being opened"
            raise ProtocolError("unbalanced_tag", f"the tag {name} is closed {where}; open and close each tag in turn")
        part = text[begin : tag.start()]
        if closing or part.strip():
            yield Element(opened, part.strip())
        opened, begin = OUTSIDE if closing else name, tag.end()
    if opened:
        raise ProtocolError("unbalanced_tag", f"the tag {opened} is not closed; close it after its text")
    if text[begin:].strip():
        yield Element(OUTSIDE, text[begin:].strip())


def answer_in(text: str) -> str | None:
    """Return the last answer in a text; None without one, or if its tags do not match."""
    try:
        answers = [element.text for element in elements(text) if element.tag == ANSWER]
    except ProtocolError:
        return None
    return answers[-1] if answers else None


def parse_turn(text: str, names: ModelNames, *, may_route: bool = True) -> PolicyTurn:
    """Return a turn, parsed; without ``may_route`` a search is an error."""
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
            elif element.tag == OUTSIDE:
                errors.append(text_outside(element.text))
            else:
                calls.append(_call(element, names, may_route))
        _check_action(answers, calls, may_route)
    except ProtocolError as error:
        return PolicyTurn(text, "\n".join(thinking), errors=(*errors, error))
    if not thinking or any(map(is_empty_thought, thinking)):
        errors.append(no_thinking())
    return PolicyTurn(text, "\n".join(thinking), tuple(calls), answers[0] if answers else None, tuple(errors))


def _call(element: Element, names: ModelNames, may_route: bool) -> SubQuestion:
    if element.tag == INFORMATION:
        raise ProtocolError("forged_information", f"information is written by the environment only; {HOW_TO_ACT}")
    if not may_route:
        raise ProtocolError("routing_closed", f"no more models can be consulted; {ANSWER_NOW}")
    return names.call(element.text)


def _check_action(answers: list[str], calls: list[SubQuestion], may_route: bool) -> None:
    if not answers and not calls:
        raise ProtocolError("no_action", f"the turn has no action; {HOW_TO_ACT if may_route else ANSWER_NOW}")
    if answers and (calls or len(answers) > 1):
        raise ProtocolError("answer", "a turn either consults models or gives one answer; do one of them")
    if answers and not answers[0]:
        raise ProtocolError("answer", "the answer is empty; write the final answer in it")


def is_empty_thought(thought: str) -> bool:
    """Return whether thinking is empty or a placeholder."""
    return thought in ("", "...", "…")


def no_thinking() -> ProtocolError:
    """Return the error of missing or empty thinking."""
    return ProtocolError("no_thinking", "think before you act: write your reasoning in the tag think")


def text_outside(text: str) -> ProtocolError:
    """Return the error of text outside the tags."""
    return ProtocolError("text_outside_tags", f"{text!r:.80} stands outside the tags; write it inside the tag think")
