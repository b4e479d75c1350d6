"""Questions that are nearly the same: some words or typing errors apart.

Two questions are near-duplicates where their shingles, runs of five characters, have a Jaccard
similarity of at least 0.7. What makes questions of one task alike does not make them one question:

* the **boilerplate** that they share does not count: without the runs of six words that more than
  twenty different questions have, such as few-shot examples and instructions, they must be as similar;
* questions with different **numbers** are different questions, and have no shingle in common.

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

from aamc_sdk.types import Floats

SIMILAR = 0.7
"""Least similarity of near-duplicates."""
ALMOST = 0.5
"""Least estimated similarity that is worth an exact look: five standard errors below :data:`SIMILAR`."""
SHINGLE, RUN, SHARED = 5, 6, 20
"""Characters of a shingle, words of a run, and the number of questions above which a run is boilerplate."""
LONGEST = 2_000
"""Characters that count of a long text, half of them from its beginning and half from its end."""
SIGNATURE, BAND = 128, 4
"""MinHash values of a signature and of a band: of pairs at 0.7 the bands find 99.98%."""
BUCKET = 20
"""Questions of one band's bucket that another is compared with; each band has other buckets."""
_MULTIPLIERS = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, 9)], dtype=np.uint64)
"""Of a polynomial hash modulo 2**64; signatures that runs keep follow from them."""

Hashes = NDArray[np.uint64]
Signatures = NDArray[np.uint16]
"""MinHash signatures of whole questions and of what is their own, ``[N, 2, 128]``."""


def leaders(questions: Iterable[str]) -> dict[str, str]:
    """Return for each question the alphabetically first one of its group.

    A group holds what near-duplicates join, one to the next. It does not depend on the order of the questions.
    """
    unique = sorted(set(questions))
    sketches = Sketches.of(unique, find_boilerplate(unique))
    first = list(range(len(unique)))  # of each one's group, as far as it is known: a forest
    values = sketches.signatures()
    for one, other in likely_pairs(values, values, ALMOST).tolist():
        low, high = sorted((_root(first, one), _root(first, other)))
        if low != high and sketches.similarity(one, other) >= SIMILAR:
            first[high] = low
    return {question: unique[_root(first, place)] for place, question in enumerate(unique)}


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        first[place] = first[first[place]]
        place = first[place]
    return place


def find_boilerplate(questions: Sequence[str]) -> frozenset[int]:
    """Return the hashes of the runs of words that more than :data:`SHARED` different questions have."""
    runs = [_distinct(_runs(question.split(" "))) for question in sorted(set(questions))]
    found, counts = np.unique(np.concatenate([*runs, np.empty(0, dtype=np.uint64)]), return_counts=True)
    return frozenset(found[counts > SHARED].tolist())


def _runs(words: Sequence[str]) -> Hashes:
    return _windows(np.array([zlib.crc32(word.encode(errors="surrogatepass")) for word in words], dtype=np.uint64), RUN)


def _windows(codes: Hashes, width: int) -> Hashes:
    """Return the hash of each window of codes; none where there are fewer."""
    if len(codes) < width:
        return np.empty(0, dtype=np.uint64)
    hashed: Hashes = np.lib.stride_tricks.sliding_window_view(codes, width) @ _MULTIPLIERS[:width]  # modulo 2**64
    return hashed


def _distinct(hashes: Hashes) -> Hashes:
    """Return the different hashes in ascending order: :func:`numpy.unique` at a third of its price for small arrays."""
    ordered = np.sort(hashes)
    distinct: Hashes = ordered[np.diff(ordered, prepend=~ordered[:1]) != 0]
    return distinct


@attrs.frozen(eq=False)
class Sketches:
    """The shingles of N questions.

    Attributes:
        whole: Those of each question, hashed, each once, in ascending order.
        own: Those of what is no boilerplate; of a question of nothing else, all.
    """

    whole: Sequence[Hashes]
    own: Sequence[Hashes]

    @classmethod
    def of(cls, questions: Sequence[str], boilerplate: frozenset[int]) -> Sketches:
        """Return the sketches of questions."""
        whole = [_shingles(question, question) for question in questions]
        parts = [_own(question, boilerplate) for question in questions]
        own = [each if part == text else _shingles(part, text) for each, part, text in zip(whole, parts, questions, strict=True)]
        return cls(whole, own)

    def similarity(self, one: int, other: int) -> float:
        """Return the Jaccard similarity of two of them: the lesser one of whole questions and of what is their own."""
        return min(_jaccard(part[one], part[other]) for part in (self.whole, self.own))

    def signatures(self) -> Signatures:
        """Return their MinHash signatures, of each value the low 16 bits (Li and König 2010, "b-Bit Minwise Hashing")."""
        return np.stack([_signatures(part) for part in (self.whole, self.own)], axis=1)


def _own(question: str, boilerplate: frozenset[int]) -> str:
    """Return a question's words that are in no run of boilerplate; of a question without any, all."""
    words = question.split(" ")
    shared = [start for start, run in enumerate(_runs(words).tolist()) if run in boilerplate]
    if not shared:
        return question
    kept = np.ones(len(words), dtype=bool)
    for start in shared:
        kept[start : start + RUN] = False
    return " ".join(np.array(words)[kept]) or question


def _shingles(text: str, question: str) -> Hashes:
    """Return the shingles of a text, which are those of no text with other numbers than the question's."""
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + text[-LONGEST // 2 :]
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32).astype(np.uint64)
    numbers = zlib.crc32(" ".join(sorted(re.findall(r"\d+", question))).encode())
    return _distinct(_windows(codes, min(SHINGLE, len(codes) or 1)) + np.array([numbers], dtype=np.uint64) * _MULTIPLIERS[-1])


def _jaccard(one: Hashes, other: Hashes) -> float:
    shared = np.intersect1d(one, other, assume_unique=True).size
    return float(shared / (one.size + other.size - shared)) if shared else 0.0


def algorithm() -> str:
    """Return what signatures must have in common to be compared: the library's algorithm, its version, and what it is fed."""
    from rensa import RMinHash

    return f"rensa.RMinHash {RMinHash.ALGORITHM_VERSION} of {SHINGLE}-character shingles"


def _signatures(sets: Sequence[Hashes]) -> Signatures:
    from rensa import RMinHash

    offsets = np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    flat = np.concatenate([*sets, np.empty(0, dtype=np.uint64)])
    rows = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, SIGNATURE, 0).to_rows()
    return np.array(rows, dtype=np.uint32).reshape(-1, SIGNATURE).astype(np.uint16)


def likely_pairs(some: Signatures, others: Signatures, least: float) -> NDArray[np.intp]:
    """Return the pairs ``[P, 2]`` of a row of each whose estimated similarity is at least that; within one array each pair once."""
    found = [np.empty((0, 2), dtype=np.intp)]
    for part in (0, 1):
        for start in range(0, SIGNATURE, BAND):
            for rows, partners in _same_bucket(_band(some, part, start), _band(others, part, start)):
                if some is others:
                    rows, partners = np.sort((rows, partners), axis=0)[:, rows != partners]
                alike = _estimates(some[rows], others[partners]) >= least
                found.append(np.column_stack((rows[alike], partners[alike])))
    return np.unique(np.concatenate(found), axis=0)


def _band(values: Signatures, part: int, start: int) -> Hashes:
    band: Hashes = values[:, part, start : start + BAND].astype(np.uint64) @ _MULTIPLIERS[:BAND]
    return band


def _same_bucket(keys: Hashes, known: Hashes) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the places of equal keys in both arrays, for each key the first :data:`BUCKET`."""
    order = np.argsort(known, kind="stable")
    begin, end = (np.searchsorted(known[order], keys, side=side) for side in ("left", "right"))
    for offset in range(min(BUCKET, int((end - begin).max(initial=0)))):
        rows = np.flatnonzero(begin + offset < end)
        yield rows, order[begin[rows] + offset]


def _estimates(some: Signatures, others: Signatures) -> Floats:
    return np.asarray((some == others).mean(axis=2).min(axis=1))
