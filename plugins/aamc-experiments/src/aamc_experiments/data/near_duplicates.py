"""Near-duplicate questions, which differ by a few words or typing errors.

Two questions are near-duplicates if their shingles, runs of five characters, have a Jaccard similarity of at least 0.7.
Two rules keep different questions of one task apart:

* Shared **boilerplate** does not count. Without the runs of six words that more than twenty different questions have,
  such as few-shot examples and instructions, the questions must be as similar. In text with few spaces, such as Chinese,
  Japanese or Thai, a run has 24 characters.
* Questions with different **numbers** are different questions, and have no shingle in common.

Pairs are found by MinHash (Broder 1997, "On the resemblance and containment of documents") and bands
of its values (Leskovec et al. 2014, "Mining of Massive Datasets", chapter 3).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.types import visible_text

SIMILARITY = 0.7
"""The minimum similarity of near-duplicates."""
ESTIMATED_SIMILARITY = 0.5
"""The minimum estimated similarity of pairs that are compared exactly: five standard errors below :data:`SIMILARITY`."""
SHINGLE, RUN, SHARED = 5, 6, 20
"""The characters of a shingle, the words of a run, and the number of questions above which a run is boilerplate."""
UNSPACED, CHARACTER_RUN = 12, 24
"""The mean characters of a word from which characters take the place of words, and the characters of a run there."""
MAX_CHARACTERS = 2_000
"""The characters of a long text that count, half of them from its start and half from its end."""
SIGNATURE, BAND = 128, 4
"""The MinHash values of a signature and of a band; the bands find 99.98% of pairs at similarity 0.7."""
BATCH = 1_000
"""The number of questions that rensa hashes at a time: it returns Python lists, which take about 20 times the memory of signatures."""
BUCKET = 20
"""The maximum number of questions of a band's bucket that one question is compared with."""
_MULTIPLIERS = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, CHARACTER_RUN + 1)], dtype=np.uint64)
"""The multipliers of a polynomial hash modulo 2**64. Saved fingerprints depend on them."""

Hashes = NDArray[np.uint64]
Signatures = NDArray[np.uint16]
"""MinHash signatures of whole questions and of their own parts, without boilerplate, ``[N, 2, 128]``."""


def group_names(questions: Iterable[str]) -> dict[str, str]:
    """Return the name of each question's group: its alphabetically first question.

    Groups are the connected components of near-duplicates, and do not depend on the order of the questions.
    """
    unique = sorted(set(questions))
    sketches = Sketches.of(unique, find_boilerplate(unique))
    first = list(range(len(unique)))  # a union-find forest
    values = sketches.signatures()
    for one, other in likely_pairs(values, values, ESTIMATED_SIMILARITY).tolist():
        low, high = sorted((_root(first, one), _root(first, other)))
        if low != high and sketches.similarity(one, other) >= SIMILARITY:
            first[high] = low
    return {question: unique[_root(first, place)] for place, question in enumerate(unique)}


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        first[place] = first[first[place]]
        place = first[place]
    return place


def find_boilerplate(questions: Sequence[str]) -> frozenset[int]:
    """Return the hashes of the runs of words that more than :data:`SHARED` different questions have."""
    runs = [np.unique(_runs(*_words(visible_text(question))[:2])) for question in sorted(set(questions))]
    found, counts = np.unique(np.concatenate([*runs, np.empty(0, dtype=np.uint64)]), return_counts=True)
    return frozenset(found[counts > SHARED].tolist())


def _words(text: str) -> tuple[Sequence[str], int, str]:
    """Return the words of a text, the number in a run, and their separator; characters take the place of words where spaces are rare."""
    words = text.split(" ")
    return (words, RUN, " ") if len(text) < UNSPACED * len(words) else (text, CHARACTER_RUN, "")


def _runs(words: Sequence[str], length: int) -> Hashes:
    return _windows(np.array([zlib.crc32(word.encode(errors="surrogatepass")) for word in words], dtype=np.uint64), length)


def _windows(codes: Hashes, width: int) -> Hashes:
    """Return the hash of each window of codes; empty if there are fewer codes than the width."""
    if len(codes) < width:
        return np.empty(0, dtype=np.uint64)
    hashed: Hashes = np.lib.stride_tricks.sliding_window_view(codes, width) @ _MULTIPLIERS[:width]  # modulo 2**64
    return hashed


@attrs.frozen(eq=False)
class Sketches:
    """The shingles of N questions.

    Attributes:
        whole: The hashed shingles of each question, distinct and ascending.
        own: Those of the question without boilerplate; all of them if nothing else is left.
    """

    whole: Sequence[Hashes]
    own: Sequence[Hashes]

    @classmethod
    def of(cls, questions: Sequence[str], boilerplate: frozenset[int]) -> Sketches:
        """Return the sketches of questions, whose invisible characters do not count."""
        questions = [visible_text(question) for question in questions]
        whole = [_shingles(question, question) for question in questions]
        parts = [_own(question, boilerplate) for question in questions]
        own = [each if part == text else _shingles(part, text) for each, part, text in zip(whole, parts, questions, strict=True)]
        return cls(whole, own)

    def similarity(self, one: int, other: int) -> float:
        """Return the Jaccard similarity of two questions: the minimum over whole questions and own parts."""
        return min(_jaccard(part[one], part[other]) for part in (self.whole, self.own))

    def signatures(self) -> Signatures:
        """Return the MinHash signatures, the low 16 bits of each value (Li and König 2010, "b-Bit Minwise Hashing")."""
        return np.stack([_signatures(part) for part in (self.whole, self.own)], axis=1)


def _own(question: str, boilerplate: frozenset[int]) -> str:
    """Return a question without its boilerplate; the whole question if nothing else is left."""
    words, length, separator = _words(question)
    shared = [start for start, run in enumerate(_runs(words, length).tolist()) if run in boilerplate]
    if not shared:
        return question
    kept = np.ones(len(words), dtype=bool)
    for start in shared:
        kept[start : start + length] = False
    return separator.join(word for word, keeps in zip(words, kept, strict=True) if keeps) or question


def _shingles(text: str, question: str) -> Hashes:
    """Return the hashed shingles of a text, salted with the numbers of the question that it belongs to."""
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS // 2] + text[-MAX_CHARACTERS // 2 :]
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32).astype(np.uint64)
    numbers = zlib.crc32(" ".join(sorted(re.findall(r"\d+", question))).encode())
    return np.unique(_windows(codes, min(SHINGLE, len(codes) or 1)) + np.array([numbers], dtype=np.uint64) * _MULTIPLIERS[7])


def _jaccard(one: Hashes, other: Hashes) -> float:
    shared = np.intersect1d(one, other, assume_unique=True).size
    return float(shared / (one.size + other.size - shared)) if shared else 0.0


def algorithm() -> str:
    """Return the name of the algorithm of signatures: the library, its version and the kind of shingles."""
    from rensa import RMinHash

    return f"rensa.RMinHash {RMinHash.ALGORITHM_VERSION} of {SHINGLE}-character shingles"


def _signatures(sets: Sequence[Hashes]) -> Signatures:
    from rensa import RMinHash

    signatures = np.empty((len(sets), SIGNATURE), dtype=np.uint16)
    for start in range(0, len(sets), BATCH):
        batch = sets[start : start + BATCH]
        offsets = np.cumsum([0, *map(len, batch)]).astype(np.uint64)
        rows = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(batch), offsets, SIGNATURE, 0).to_rows()
        signatures[start : start + BATCH] = np.array(rows, dtype=np.uint32)  # the low 16 bits
    return signatures


def likely_pairs(some: Signatures, others: Signatures, similarity: float) -> NDArray[np.intp]:
    """Return the pairs of rows with at least an estimated similarity, ``[P, 2]``; within one array each pair once."""
    found = [np.empty((0, 2), dtype=np.intp)]
    for part in (0, 1):
        for start in range(0, SIGNATURE, BAND):
            for rows, partners in _same_bucket(_band(some, part, start), _band(others, part, start)):
                if some is others:
                    rows, partners = np.sort((rows, partners), axis=0)[:, rows != partners]
                alike = (some[rows] == others[partners]).mean(axis=2).min(axis=1) >= similarity
                found.append(np.column_stack((rows[alike], partners[alike])))
    return np.unique(np.concatenate(found), axis=0)


def _band(values: Signatures, part: int, start: int) -> Hashes:
    band: Hashes = values[:, part, start : start + BAND].astype(np.uint64) @ _MULTIPLIERS[:BAND]
    return band


def _same_bucket(keys: Hashes, known: Hashes) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the positions of equal keys in both arrays, the first :data:`BUCKET` of each key."""
    order = np.argsort(known, kind="stable")
    begin, end = (np.searchsorted(known[order], keys, side=side) for side in ("left", "right"))
    for offset in range(min(BUCKET, int((end - begin).max(initial=0)))):
        rows = np.flatnonzero(begin + offset < end)
        yield rows, order[begin[rows] + offset]
