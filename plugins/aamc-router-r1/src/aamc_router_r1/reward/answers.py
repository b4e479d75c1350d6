"""Comparing answers with gold answers, as the question-answering benchmarks do (Rajpurkar et al., arXiv 1606.05250)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

Verifier = Callable[[str, Sequence[str]], float]
"""Returns the outcome in [0, 1] of an answer, given the gold answers."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLOSED = ("yes", "no", "noanswer")
"""Answers that only match as a whole."""


def normalize_answer(text: str) -> str:
    """Return a text in lower case, without punctuation and articles, and with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def each_gold(golds: Sequence[str]) -> Sequence[str]:
    """Return the gold answers; a text alone is one gold answer, not its characters."""
    return [golds] if isinstance(golds, str) else golds


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if the normalised answer equals any normalised gold answer, else 0; an empty answer is never right."""
    return float(any(_equal(answer, gold) for gold in each_gold(golds)))


def _equal(answer: str, gold: str) -> bool:
    wanted = normalize_answer(gold)
    if wanted:
        return normalize_answer(answer) == wanted
    return answer.strip().casefold() == gold.strip().casefold() != ""  # such as "The", of which normalising leaves nothing


def f1(answer: str, golds: Sequence[str]) -> float:
    """Return the maximum over gold answers of the harmonic mean of precision and recall of normalised words."""
    return max((max(_f1(normalize_answer(answer), normalize_answer(gold)), float(_equal(answer, gold))) for gold in each_gold(golds)), default=0.0)


def _f1(answer: str, gold: str) -> float:
    if answer != gold and (answer in _CLOSED or gold in _CLOSED):
        return 0.0
    found, wanted = answer.split(), gold.split()
    shared = sum((Counter(found) & Counter(wanted)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


OUTCOMES: dict[str, Verifier] = {"em": exact_match, "f1": f1}
"""The outcomes that options name: exact match and F1."""
