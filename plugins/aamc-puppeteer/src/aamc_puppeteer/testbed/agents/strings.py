"""Agent ``strings``: carries out commands about a word, one sentence each, such as: Start with 'lantern'. Reverse it. Keep the first 4 letters."""

from __future__ import annotations

import re
from collections.abc import Callable

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, Tool, subject

from aamc_sdk import Candidate

_START = re.compile(r"Start with '([^']*)'\.\s*(.*)", re.DOTALL)

Follow = Callable[[str, str], str]

SIMPLE: tuple[tuple[re.Pattern[str], Follow, str], ...] = tuple(
    (re.compile(pattern), follow, program)
    for pattern, follow, program in (
        (r"Reverse it()", lambda text, _: text[::-1], "text = text[::-1]"),
        (r"Make it upper case()", lambda text, _: text.upper(), "text = text.upper()"),
        (r"Keep the first (\d+) letters", lambda text, count: text[: int(count)], "text = text[:{}]"),
        (r"Drop the first (\d+) letters", lambda text, count: text[int(count) :], "text = text[{}:]"),
        (r"Write it (\d+) times", lambda text, count: text * int(count), "text = text * {}"),
        (r"Put '(\w+)' at the end", lambda text, end: text + end, "text = text + {!r}"),
    )
)
"""Commands that the agent ``strings`` carries out: pattern, function, and the same in Python."""
HARD: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), program)
    for pattern, program in (
        (r"Sort its letters()", "text = ''.join(sorted(text))"),
        (r"Move each letter (\d+) places on in the alphabet", "text = ''.join(chr((ord(letter) - 97 + {}) % 26 + 97) for letter in text)"),
        (r"Leave out letters that stood before()", "text = ''.join(dict.fromkeys(text))"),
        (r"Swap its two halves()", "text = text[len(text) // 2 :] + text[: len(text) // 2]"),
    )
)
"""Commands that need a program."""


def follow_first(text: str) -> str | None:
    """Return the commands after the first is carried out, or the word alone after the last; None if the first is unknown."""
    start = _START.fullmatch(text.strip())
    command, stop, rest = start[2].partition(".") if start else ("", "", "")
    if start is None or not stop:
        return None
    for pattern, follow, _ in SIMPLE:
        if found := pattern.fullmatch(command):
            word, rest = follow(start[1], found[1]), rest.lstrip()
            return f"Start with '{word}'. {rest}" if rest else word
    return None


def as_program(text: str) -> str | None:
    """Return a Python program that carries out the commands; None without commands, or if one is unknown."""
    start = _START.fullmatch(text.strip())
    if start is None:
        return None
    lines = [f"text = {start[1]!r}"]
    for command in start[2].split(".")[:-1]:
        known = [program.format(found[1]) for pattern, program in _PROGRAMS if (found := pattern.fullmatch(command.lstrip()))]
        if not known:
            return None
        lines += known
    return "\n".join((*lines, "print(text)"))


_PROGRAMS = (*((pattern, program) for pattern, _, program in SIMPLE), *HARD)


class StringTools(Tool):
    """Carries out the first command of the last output."""

    spec = Candidate("strings", "Follows one simple command about a word: reverse it, change its case, cut, repeat or extend it.")

    async def act(self, state: TaskState) -> str:
        """Return the word with the remaining commands, or the word alone."""
        text = subject(state)
        followed = follow_first(text)
        if followed is None:
            raise AgentError(f"there is no simple command about a word in {text!r:.80}")
        return followed
