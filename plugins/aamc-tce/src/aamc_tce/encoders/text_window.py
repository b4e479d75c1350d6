"""The tokens read from a text: all of a short one, the first and the last ones of a long one, where instructions often stand.

Tokenizers divide a text into words and each word into pieces, so a cut changes the words next to it and no others. If the
wanted tokens end well before the cut, or begin well after it, they are the tokens of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Encoding

from aamc_tce.encoders.embedder import TokenIds

CHARACTERS_PER_WORD = 10
"""Characters of the first prefix and suffix for each token and word that they must hold; English prose has 5 to 6 with spaces."""
GROWTH = 4
"""The next prefix and suffix are this many times as long."""
WORDS_BESIDE_THE_CUT = 30
"""Words between the wanted tokens and the cut. One word would do, but a mark such as ``[MASK]`` becomes several words when it is cut."""


def head_and_tail(special: Sequence[int], max_length: int) -> tuple[int, int]:
    """Return the number of tokens to read from the start and from the end of a text with more than ``max_length`` tokens.

    Half of the text's own tokens come from either end; the special tokens around them are kept.

    Args:
        special: 1 for each special token that the tokenizer adds, else 0.
        max_length: The number of tokens to read.
    """
    own = [place for place, added in enumerate(special) if not added]
    before, after = (own[0], len(special) - 1 - own[-1]) if own else (0, 0)
    tail = max(max_length - before - after, 0) // 2 + after
    return max_length - tail, tail


def window(ids: TokenIds, special: Sequence[int], max_length: int) -> TokenIds:
    """Return the tokens of a whole text that are read."""
    if len(ids) <= max_length:
        return ids
    head, tail = head_and_tail(special, max_length)
    return ids[:head] + ids[len(ids) - tail :]


def window_of_long(encode: Callable[[str], Encoding], text: str, max_length: int) -> TokenIds | None:
    """Return the tokens of a long text that are read; None if only the whole text determines them, as for a short text.

    ``encode`` tokenizes a text without truncation.
    """
    length = CHARACTERS_PER_WORD * (max_length + WORDS_BESIDE_THE_CUT)
    while 2 * length < len(text):
        first, last = encode(text[:length]), encode(text[-length:])
        head, tail = head_and_tail(first.special_tokens_mask, max_length)
        words_after = _word(first, len(first) - 1) - _word(first, head - 1)
        words_before = _word(last, len(last) - tail)
        if min(len(first), len(last)) > max_length and min(words_after, words_before) >= WORDS_BESIDE_THE_CUT:
            ids: TokenIds = first.ids[:head] + last.ids[len(last) - tail :]
            return ids
        length *= GROWTH
    return None


def _word(encoding: Encoding, place: int) -> int:
    """Return the index of the word at a token, or of the last word before it; 0 without one."""
    return max((word for word in encoding.word_ids[: max(place, 0) + 1] if word is not None), default=0)
