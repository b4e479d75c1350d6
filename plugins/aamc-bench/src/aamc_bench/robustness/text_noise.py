"""Noise on texts: typos, case, padding, and a request for another language.

The question stays the same, and so do its outcomes. The noise of a text follows from the seed and the text; a change at one share
is also made at every higher one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

TYPO_LENGTH = 4
"""The minimum length of a word with a typo."""
NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqwertyuiosasdfghjkxzxcvbn", strict=True))
"""A neighbour of each letter on an English keyboard."""
OPENINGS = ("Hi there! ", "Hello, I hope you are well. ", "Quick question: ", "Sorry to bother you again. ", "  \n", "Okay, so... ")
CLOSINGS = (" Thanks a lot!", " Thank you in advance.", "\n\n", " Please take your time.", " Cheers", " Any help is appreciated!")
PREFIXES = (
    "Answer in German: ",
    "Réponds en français : ",
    "Por favor, responde en español: ",
    "Auf Deutsch bitte: ",
    "用中文回答 ",
    "日本語で答えてください。",
)
_WORD = re.compile(r"[A-Za-z]+")


def typos(text: str, share: float, rng: Random) -> str:
    """Misspell a share of the words that are not short: two letters are swapped, or one is lost, doubled, or replaced by its neighbour."""

    def misspell(word: re.Match[str]) -> str:
        hit, place, kind = rng.random() < share, rng.random(), rng.randrange(4)
        letters = word[0]
        if not hit or len(letters) < TYPO_LENGTH:
            return letters
        at = 1 + int(place * (len(letters) - 2))  # typos at the ends of a word are rare
        before, letter, after = letters[:at], letters[at], letters[at + 1 :]
        edits = (after[:1] + letter + after[1:], after, letter + letter + after, NEIGHBOURS.get(letter, "e") + after)
        return before + edits[kind]

    return _WORD.sub(misspell, text)


def case(text: str, share: float, rng: Random) -> str:
    """Write a share of the words in upper case, in lower case, or capitalised; a third of them keep their case, mostly the lower."""

    def recase(word: re.Match[str]) -> str:
        hit, kind = rng.random() < share, rng.randrange(3)
        return (word[0].upper(), word[0].lower(), word[0].capitalize())[kind] if hit else word[0]

    return _WORD.sub(recase, text)


def padding(text: str, share: float, rng: Random) -> str:
    """Put polite words or empty lines around a share of the texts."""
    hit, opening, closing = rng.random() < share, rng.choice(OPENINGS), rng.choice(CLOSINGS)
    return opening + text + closing if hit else text


def prefix(text: str, share: float, rng: Random) -> str:
    """Put a request for another language, often in that language, before a share of the texts."""
    hit, chosen = rng.random() < share, rng.choice(PREFIXES)
    return chosen + text if hit else text


KINDS: dict[str, Callable[[str, float, Random], str]] = {"typos": typos, "case": case, "padding": padding, "prefix": prefix}


def disturb(text: str, kind: str, share: float, seed: int) -> str:
    """Return a text with one of ``KINDS`` of noise; the share is that of its words, or the probability that the text is changed."""
    return KINDS[kind](text, share, Random(f"{seed}/{kind}/{text}"))  # noqa: S311  # typos, no secrets
