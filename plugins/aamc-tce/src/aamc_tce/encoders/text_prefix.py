"""The tokens of a long text that are read, from its beginning alone.

Tokenizers part a text into words and each word into pieces, so that a cut changes the words next to it and none before. Where the tokens
that are read end well before the cut, they are those of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Encoding

from aamc_tce.encoders.embedder import TokenIds

BEGINNING = 20_000
"""Characters that are tokenized of a longer text at first."""
WORDS_BEFORE_THE_CUT = 100
"""Words between what is read and the cut: one would do, but that a mark such as ``[MASK]``, one word, falls into several when it is cut."""


def tokens_of_beginning(encode: Callable[[str], Encoding], text: str) -> TokenIds | None:
    """Return the tokens of a text that are read; None where it is short, or its beginning does not decide them.

    Args:
        encode: Tokenizes a text, and truncates the tokens on the right.
        text: Any.
    """
    if len(text) <= BEGINNING:
        return None
    encoding = encode(text[:BEGINNING])
    if not encoding.overflowing or _last_word(encoding.overflowing[-1]) - _last_word(encoding) < WORDS_BEFORE_THE_CUT:
        return None
    ids: TokenIds = encoding.ids
    return ids


def _last_word(encoding: Encoding) -> int:
    """Return which word of the text is the last in a stretch of its tokens."""
    return max((word for word in encoding.word_ids if word is not None), default=0)
