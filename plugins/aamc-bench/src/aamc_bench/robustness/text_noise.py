"""What happens to texts on their way to a router: typos, case, padding, and a wish for another language.

None of it changes what is asked, so a query's outcomes stay what they were. The noise of a text follows from the seed and the
text; what is changed at one share is changed at every greater one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

TYPO_LENGTH = 4
"""The shortest word that gets a typo."""
NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqwrtyuiopsasdfghjkxzxcvbn", strict=True))
"""To the left or right of each letter on an English keyboard."""
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
    """Misspell that share of the words: two letters swapped, one lost, doubled, or hit beside its key."""

    def misspell(word: re.Match[str]) -> str:
        hit, place, kind = rng.random() < share, rng.random(), rng.randrange(4)
        letters = word[0]
        if not hit or len(letters) < TYPO_LENGTH:
            return letters
        at = 1 + int(place * (len(letters) - 2))  # the ends of a word are seldom wrong
        before, letter, after = letters[:at], letters[at], letters[at + 1 :]
        edits = (after[:1] + letter + after[1:], after, letter + letter + after, NEIGHBOURS.get(letter, "e") + after)
        return before + edits[kind]

    return _WORD.sub(misspell, text)


def case(text: str, share: float, rng: Random) -> str:
    """Write that share of the words in capitals, in small letters, or with a capital."""

    def recase(word: re.Match[str]) -> str:
        hit, kind = rng.random() < share, rng.randrange(3)
        return (word[0].upper(), word[0].lower(), word[0].capitalize())[kind] if hit else word[0]

    return _WORD.sub(recase, text)


def padding(text: str, share: float, rng: Random) -> str:
    """Put words of politeness, or empty lines, around that share of the texts."""
    hit, opening, closing = rng.random() < share, rng.choice(OPENINGS), rng.choice(CLOSINGS)
    return opening + text + closing if hit else text


def prefix(text: str, share: float, rng: Random) -> str:
    """Put a wish for another language, often in it, before that share of the texts."""
    hit, chosen = rng.random() < share, rng.choice(PREFIXES)
    return chosen + text if hit else text


KINDS: dict[str, Callable[[str, float, Random], str]] = {"typos": typos, "case": case, "padding": padding, "prefix": prefix}


def disturb(text: str, kind: str, share: float, seed: int) -> str:
    """Return a text with one kind of noise.

    Args:
        text: What was meant.
        kind: A key of ``KINDS``.
        share: How much of it, from 0 to 1: of its words, or how likely the text as a whole.
        seed: With the text, all randomness follows from it.
    """
    return KINDS[kind](text, share, Random(f"{seed}/{kind}/{text}"))  # noqa: S311  # typos, no secrets
