"""Suite ``strings``, and the agent that carries its commands out: commands about a word.

Difficulty 1 is one simple command; 2 several, for the agent ``strings`` one by one, or for a program; 3 has a command that
only a program can carry out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError, Tool, subject

from aamc_puppeteer.tasks.verifiers import Exact
from aamc_sdk import Candidate

WORDS = (
    *("lantern", "harbour", "meadow", "thistle", "compass", "granite", "orchard", "whistle", "saffron", "tornado", "glacier"),
    *("bramble", "cinnamon", "dolphin", "emerald", "falcon", "hazelnut", "juniper", "kestrel", "magnolia", "pelican", "quartz"),
    *("sparrow", "velvet"),
)

MIN_LETTERS = 3
"""Minimum length of a word after a command."""

Command = tuple[str, Callable[[str], str]]


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a task of a difficulty from 1 to 3."""
    word = answer = rng.choice(WORDS)
    draws = [_simple] if difficulty == 1 else [_simple] * rng.choice((2, 3, 4)) if difficulty == 2 else [_hard, _simple, _simple]
    commands = []
    for draw in draws:  # a hard one comes first: some are about lower-case letters
        command, answer = _drawn(rng, draw, answer)
        commands.append(command)
    text = " ".join((f"Start with '{word}'.", *commands))
    return Task(id=task_id, text=text, kind="strings", verifier=Exact(), reference=answer, difficulty=difficulty)


def _drawn(rng: Random, draw: Callable[[Random], Command], word: str) -> tuple[str, str]:
    """Return a command that changes the word but leaves enough letters, and the changed word."""
    while True:
        command, change = draw(rng)
        changed = change(word)
        if len(changed) >= MIN_LETTERS and changed != word:
            return command, changed


def _simple(rng: Random) -> Command:
    count, end = rng.randint(1, 3), rng.choice(WORDS)[:3]
    cuts = f"Keep the first {count + 2} letters.", f"Drop the first {count + 1} letters."
    command = rng.choice(("Reverse it.", *cuts, f"Write it {count + 1} times.", f"Put '{end}' at the end."))
    return command, lambda text: follow_first(f"Start with '{text}'. {command}") or text


def _hard(rng: Random) -> Command:
    places = rng.randint(1, 9)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    moved = str.maketrans(alphabet, alphabet[places:] + alphabet[:places])
    return rng.choice(
        (
            ("Sort its letters.", lambda text: "".join(sorted(text))),
            (f"Move each letter {places} places on in the alphabet.", lambda text: text.translate(moved)),
            ("Leave out letters that stood before.", lambda text: "".join(letter for n, letter in enumerate(text) if letter not in text[:n])),
            ("Swap its two halves.", lambda text: text[len(text) // 2 :] + text[: len(text) // 2]),
        )
    )


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
