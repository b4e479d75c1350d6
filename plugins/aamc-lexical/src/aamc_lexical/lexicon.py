"""Text embeddings from words and letters: TF-IDF, then latent semantic analysis.

Terms are words, signs and short sequences of them, and pieces of words. Their weights are TF-IDF (Salton and Buckley,
"Term-weighting approaches in automatic text retrieval", 1988), projected on the strongest directions of the training texts
(Deerwester et al., "Indexing by latent semantic analysis", 1990). Labels are not used. N texts, V terms, D directions.

Before training, embeddings are made by feature hashing: each term adds its weight, with a sign, at the index that its hash gives. The expected
product of two embeddings is that of their terms' weights (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", ICML).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.config import LexicalConfig
from aamc_lexical.trained_estimator import MIN_DEVIATION
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.routing import hash_terms
from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json
from aamc_sdk.types import Floats

_MARKS = "".join(chr(code) for code in range(0x300, 0xFE00) if unicodedata.category(chr(code)).startswith("M")) + "\u200c\u200d"
"""Vowel signs, points and accents, which belong to the letter before them, and the joiners within words; Python's classes of letters lack them."""
_WORD = re.compile(rf"\w[\w{_MARKS}]*|[^\w\s]")
_WORD_WITHOUT_MARKS = re.compile(r"\w+|[^\w\s]")
"""That of lexicons of version 0.1."""
FEW_TEXTS = 20
"""With fewer training texts a term must occur in one of them, with more in two."""
MIN_KNOWN_SHARE = 0.1
"""Of a text with a smaller share of known terms nothing is known: it is in another script, or empty. English texts have at least half where the
training texts are English; of a text in another script a sign or a number may be known."""


def read_text(text: str, max_characters: int, *, composed: bool = True) -> str:
    """Return a text in lower case; of one with more characters than ``max_characters`` the first and the last ones, half each.

    Letters and their accents are composed (Unicode's form NFC), unless ``composed`` is false.
    """
    text = unicodedata.normalize("NFC", text) if composed else text
    if len(text) > max_characters:
        tail = max_characters // 2
        text = f"{text[: max_characters - tail]} {text[len(text) - tail :]}"
    return text.lower()


def word_terms(text: str, longest: int, word: re.Pattern[str] = _WORD) -> Iterable[str]:
    """Return words and signs, and sequences of up to ``longest`` of them."""
    words = word.findall(text)
    runs = (map(" ".join, zip(*(words[start:] for start in range(length)), strict=False)) for length in range(2, longest + 1))
    return chain(words, *runs)


def character_terms(text: str, length: int) -> Iterable[str]:
    """Return all pieces of ``length`` characters of each word, padded with a space on both sides."""
    padded = (f" {word} " for word in text.split())
    return [word[start : start + length] for word in padded for start in range(len(word) - length + 1)]


@attrs.frozen(eq=False)
class TermExtractor:
    """Extracts terms of one kind from texts.

    Attributes:
        cut: Returns the terms of a text, given their size.
        size: The number of words or characters in a term; 0 extracts nothing.
        places: The index of each known term.
    """

    cut: Callable[[str, int], Iterable[str]]
    size: int
    places: Mapping[str, int] = attrs.field(factory=dict)

    def terms(self, text: str) -> Iterable[str]:
        """Return all terms of a text with repetitions, known or not."""
        return self.cut(text, self.size) if self.size else ()

    def counts(self, text: str) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
        """Return the indices of a text's known terms, the count of each, and the number of unknown terms."""
        known = Counter(map(self.places.get, self.terms(text), repeat(-1)))
        unknown = known.pop(-1, 0)
        return np.fromiter(known.keys(), np.intp, len(known)), np.fromiter(known.values(), np.intp, len(known)), unknown


def _extractors(config: LexicalConfig) -> tuple[TermExtractor, ...]:
    return TermExtractor(word_terms, config.word_run), TermExtractor(character_terms, config.character_run)


@attrs.frozen(eq=False)
class Lexicon:
    """Embeds texts; thread-safe.

    Attributes:
        views: The extractors of words and of pieces.
        rarity: The inverse document frequency of each term, ``[V]``.
        components: ``[V, D]``, scaled by one factor so that the training texts' embeddings have unit variance on average.
        centre: The mean of the training texts, ``[D]``.
        max_characters: Maximum number of characters read from a text, half of them from its end.
        composed: Whether words have their accents and vowel signs, in one Unicode form; lexicons of version 0.1 cut them off.
    """

    views: tuple[TermExtractor, ...]
    rarity: NDArray[np.float32]
    components: NDArray[np.float32]
    centre: NDArray[np.float32]
    max_characters: int
    composed: bool = True

    @classmethod
    def fit(cls, texts: Sequence[str], config: LexicalConfig) -> Lexicon:
        """Fit the terms and directions to N texts."""
        from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]  # scikit-learn ships no types

        terms = cls._of_terms(texts, config)
        matrix = terms._matrix(texts)
        size = min(config.dimensions, *matrix.shape)
        if not size:  # no text has a known term
            return terms
        _, _, components = randomized_svd(matrix, size, random_state=0)
        embedding = matrix @ components.T
        centre = embedding.mean(axis=0)
        deviation = float(np.sqrt(np.mean((embedding - centre) ** 2)))
        scale = deviation if deviation > MIN_DEVIATION else 1.0
        return attrs.evolve(terms, components=(components.T / scale).astype(np.float32), centre=(centre / scale).astype(np.float32))

    @classmethod
    def _of_terms(cls, texts: Sequence[str], config: LexicalConfig) -> Lexicon:
        """Return a lexicon of terms without directions."""
        fewest = 1 if len(texts) < FEW_TEXTS else 2
        views: list[TermExtractor] = []
        rarity: list[float] = []
        for view in _extractors(config):
            found = Counter(chain.from_iterable(set(view.terms(read_text(text, config.max_characters))) for text in texts))
            by_name = Counter(dict(sorted(found.items())))  # the order of sets differs between processes
            often = [(term, count) for term, count in by_name.most_common(config.max_terms) if count >= fewest]
            views.append(attrs.evolve(view, places={term: len(rarity) + place for place, (term, _) in enumerate(often)}))
            rarity += [1 + np.log((1 + len(texts)) / (1 + count)) for _, count in often]
        no_directions = np.zeros((len(rarity), 1), np.float32), np.zeros(1, np.float32)
        return cls(tuple(views), np.array(rarity, np.float32), *no_directions, config.max_characters)

    @property
    def fingerprint(self) -> str:
        """A hash of everything except the text that an embedding depends on."""
        digest = hashlib.sha256(json.dumps(self._settings()).encode())
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of B texts, ``[B, D]``; a text of unknown terms has 0, the mean of the training texts."""
        rows = np.tile(self.centre, (len(texts), 1))
        for row, text in enumerate(texts):
            places, weights = self._weights(text)
            if len(places):
                rows[row] = weights @ self.components[places]
        return rows - self.centre

    def _weights(self, text: str) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the indices of a text's terms and their TF-IDF, scaled to unit length for each extractor; none of a text of unknown terms."""
        read = read_text(text, self.max_characters, composed=self.composed)
        counted = [view.counts(read) for view in self.views]
        known, unknown = sum(int(counts.sum()) for _, counts, _ in counted), sum(unknown for *_, unknown in counted)
        if known < MIN_KNOWN_SHARE * (known + unknown):
            return np.empty(0, np.intp), np.empty(0, np.float32)
        weights = [_unit((1 + np.log(counts)).astype(np.float32) * self.rarity[places]) for places, counts, _ in counted]
        return np.concatenate([places for places, *_ in counted]), np.concatenate(weights)

    def _matrix(self, texts: Sequence[str]) -> Any:
        """Return the weights of all terms in N texts, a sparse array ``[N, V]``."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]  # scipy ships no types

        rows = [self._weights(text) for text in texts]
        starts = np.cumsum([0, *(len(places) for places, _ in rows)])
        places, weights = (np.concatenate(column) for column in zip(*rows, strict=True))
        return csr_array((weights, places, starts), shape=(len(texts), len(self.rarity)))

    def _settings(self) -> dict[str, Any]:
        views = [{"size": view.size, "terms": list(view.places)} for view in self.views]
        return {"max_characters": self.max_characters, "views": views} | ({"composed": True} if self.composed else {})

    def _arrays(self) -> dict[str, Floats]:
        return {"rarity": self.rarity, "components": self.components, "centre": self.centre}

    def save(self, folder: Path) -> None:
        """Write ``lexicon.json`` and ``lexicon.npz``."""
        write_arrays(folder / "lexicon.npz", self._arrays())
        write_json(folder / "lexicon.json", self._settings())

    @classmethod
    def load(cls, folder: Path) -> Lexicon:
        """Read a saved lexicon.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        settings, arrays = read_json(folder / "lexicon.json"), read_arrays(folder / "lexicon.npz")
        with checkpoint_errors(f"the lexicon in {folder}", "train again"):
            views: list[TermExtractor] = []
            composed = settings.get("composed", False)
            cuts = (word_terms if composed else partial(word_terms, word=_WORD_WITHOUT_MARKS), character_terms)
            for cut, view in zip(cuts, settings["views"], strict=True):
                first = sum(len(before.places) for before in views)
                views.append(TermExtractor(cut, view["size"], {term: first + place for place, term in enumerate(view["terms"])}))
            return cls(tuple(views), arrays["rarity"], arrays["components"], arrays["centre"], settings["max_characters"], composed)


def _unit(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights / max(float(np.sqrt(weights @ weights)), 1e-12)


def hashed_embedding(texts: Sequence[str], config: LexicalConfig) -> NDArray[np.float32]:
    """Return the embeddings ``[B, dimensions]`` of B texts: the sum of the unit-length embeddings of words and of pieces."""
    views, read = _extractors(config), [read_text(text, config.max_characters) for text in texts]
    return np.array([sum(_hashed(view, text, config.dimensions) for view in views) for text in read], np.float32).reshape(-1, config.dimensions)


def hashed_fingerprint(config: LexicalConfig) -> str:
    """Return a name of everything except the text that these embeddings depend on."""
    return f"hashed-composed-{config.word_run}-{config.character_run}-{config.dimensions}-{config.max_characters}"


def _hashed(view: TermExtractor, text: str, dimensions: int) -> NDArray[np.float64]:
    embedding = hash_terms({term: 1 + np.log(count) for term, count in Counter(view.terms(text)).items()}, dimensions)
    return np.asarray(embedding / max(float(np.linalg.norm(embedding)), 1e-12))
