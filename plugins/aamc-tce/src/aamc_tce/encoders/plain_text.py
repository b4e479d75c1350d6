"""The tokens of plain text by a BERT tokenizer: those of the ``tokenizers`` library, in a fraction of its time, and only as many as are read.

Such a tokenizer cleans a text, lowers it, parts it at spaces and punctuation, and finds each word in its vocabulary, whole or in pieces. Of plain
text, printable ASCII, nothing is to be cleaned, and strings and dictionaries do the rest; the library is asked for the pieces of rare words alone.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from aamc_tce.encoders.embedder import TokenIds

_PLAIN = re.compile(r"[ -~\t\n\r]*")
_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
"""Words, and punctuation marks each by itself."""
REMEMBERED_WORDS = 20_000


class PlainText:
    """Tokenizes plain text; safe to use from several threads.

    Args:
        tokenizer: One that :meth:`suits`.
        max_length: Tokens of a text that are read, its first and last marks among them.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._room = max_length - 2
        self._vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        self._first, self._last = tokenizer.encode("").ids
        self._marks = [token.content.lower() for token in tokenizer.get_added_tokens_decoder().values()]
        self._longest = tokenizer.model.max_input_chars_per_word  # a longer word is unknown, whatever its letters
        self._pieces = lru_cache(REMEMBERED_WORDS)(self._pieces_of)

    @staticmethod
    def suits(tokenizer: Tokenizer) -> bool:
        """Whether a tokenizer is BERT's: it lowers, has a vocabulary of pieces, and puts one mark first and one last."""
        cleaner, marks, word = tokenizer.normalizer, tokenizer.encode("").ids, tokenizer.encode("a", add_special_tokens=False).ids
        lowers = isinstance(cleaner, normalizers.BertNormalizer) and cleaner.lowercase
        parts = isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer) and isinstance(tokenizer.model, models.WordPiece)
        return lowers and parts and len(marks) == 2 and tokenizer.encode("a").ids == [marks[0], *word, marks[1]]

    def __call__(self, text: str) -> TokenIds | None:
        """Return the tokens of a text that are read; None where it is not plain."""
        lowered = text.lower()
        if not _PLAIN.fullmatch(text) or any(mark in lowered for mark in self._marks):
            return None
        ids, vocabulary = [self._first], self._vocabulary
        for match in _WORDS.finditer(lowered):
            word = match.group()
            if (token := vocabulary.get(word)) is not None:
                ids.append(token)
            else:
                ids += self._pieces(word[: self._longest + 1])
            if len(ids) > self._room:
                break
        return [*ids[: self._room + 1], self._last]

    def _pieces_of(self, word: str) -> TokenIds:
        ids: TokenIds = self._tokenizer.encode(word, add_special_tokens=False).ids
        return ids
