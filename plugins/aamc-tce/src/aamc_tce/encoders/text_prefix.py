"""The first tokens of a long text, from a prefix of the text.

Tokenizers divide a text into words and each word into pieces, so a cut changes the words next to it and none before. If the
wanted tokens end well before the cut, they are the tokens of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Encoding

from aamc_tce.encoders.embedder import TokenIds

CHARACTERS_PER_WORD = 10
"""Characters of the first prefix for each token and word that it must hold; English prose has 5 to 6 with spaces."""
GROWTH = 4
"""The next prefix is this many times as long."""
WORDS_BEFORE_THE_CUT = 30
"""Words between the wanted tokens and the cut. One word would do, but a mark such as ``[MASK]`` becomes several words when it is cut."""


def prefix_tokens(encode: Callable[[str], Encoding], text: str, max_length: int) -> TokenIds | None:
    """Return the first ``max_length`` tokens of a text; None if only the whole text determines them, as for a short text.

    Args:
        encode: Tokenizes a text and truncates the tokens on the right.
        text: Any text.
        max_length: The number of tokens that ``encode`` keeps.
    """
    length = CHARACTERS_PER_WORD * (max_length + WORDS_BEFORE_THE_CUT)
    while length < len(text):
        encoding = encode(text[:length])
        if encoding.overflowing and _last_word(encoding.overflowing[-1]) - _last_word(encoding) >= WORDS_BEFORE_THE_CUT:
            ids: TokenIds = encoding.ids
            return ids
        length *= GROWTH
    return None


def _last_word(encoding: Encoding) -> int:
    """Return the index of the last word among an encoding's tokens."""
    return max((word for word in encoding.word_ids if word is not None), default=0)
