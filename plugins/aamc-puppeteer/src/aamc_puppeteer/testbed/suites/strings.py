"""Suite ``strings``: commands about a word.

Difficulty 1 is one simple command; 2 several, for the agent ``strings`` one by one, or for a program; 3 has a command that
only a program can carry out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from aamc_agents.tasks import Task

from aamc_puppeteer.tasks.verifiers import Exact

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
    return rng.choice(
        (
            ("Reverse it.", lambda text: "".join(reversed(text))),
            (f"Keep the first {count + 2} letters.", lambda text: text[: count + 2]),
            (f"Drop the first {count + 1} letters.", lambda text: text[count + 1 :]),
            (f"Write it {count + 1} times.", lambda text: text * (count + 1)),
            (f"Put '{end}' at the end.", lambda text: text + end),
        )
    )


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
