from __future__ import annotations

import re

import pytest
from aamc_bench.robustness.text_noise import KINDS, NEIGHBOURS, disturb
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.lists(st.sampled_from(["please", "sort", "This", "list", "NOW", "ok", "x1"])).map(" ".join)
TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=200) | WORDS
KIND = st.sampled_from(sorted(KINDS))
SHARES = st.floats(0, 1)
SENTENCE = "Explain carefully why merge sort needs additional memory and quicksort usually does not"


@given(TEXTS, KIND, st.integers(0, 5))
def test_no_noise_changes_nothing(text: str, kind: str, seed: int) -> None:
    assert disturb(text, kind, 0.0, seed) == text


@given(TEXTS, KIND, SHARES, st.integers(0, 5))
def test_the_same_seed_gives_the_same_text(text: str, kind: str, share: float, seed: int) -> None:
    assert disturb(text, kind, share, seed) == disturb(text, kind, share, seed)


@given(TEXTS, SHARES)
def test_case_changes_nothing_but_case(text: str, share: float) -> None:
    def lower(text: str) -> str:
        return re.sub("[A-Z]", lambda letter: letter[0].lower(), text)

    assert lower(disturb(text, "case", share, 0)) == lower(text)


@given(TEXTS, st.sampled_from(["padding", "prefix"]), SHARES)
def test_what_is_put_around_a_text_leaves_it_whole(text: str, kind: str, share: float) -> None:
    assert text in disturb(text, kind, share, 0)


@given(TEXTS, SHARES)
def test_typos_change_single_letters_inside_words(text: str, share: float) -> None:
    before, after = (re.split(r"([A-Za-z]+)", text) for text in (text, disturb(text, "typos", share, 0)))
    assert before[::2] == after[::2]
    for word, misspelt in zip(before[1::2], after[1::2], strict=True):
        assert abs(len(word) - len(misspelt)) <= 1
        assert word[0] == misspelt[0]
        assert word == misspelt or len(word) >= 4


@given(st.integers(0, 50), SHARES, SHARES)
def test_what_is_misspelt_stays_misspelt_at_a_greater_share(seed: int, one: float, other: float) -> None:
    less, more = (disturb(SENTENCE, "typos", share, seed).split() for share in sorted((one, other)))
    for word, before, after in zip(SENTENCE.split(), less, more, strict=True):
        assert before in (word, after)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_share_is_that_of_words_or_texts(kind: str) -> None:
    texts = [f"{SENTENCE} {number}" for number in range(400)]
    noisy = [disturb(text, kind, 0.3, 1) for text in texts]
    if kind in ("padding", "prefix"):
        assert sum(a != b for a, b in zip(texts, noisy, strict=True)) / 400 == pytest.approx(0.3, abs=0.07)
    else:
        pairs = [(a, b) for text, other in zip(texts, noisy, strict=True) for a, b in zip(text.split(), other.split(), strict=True) if len(a) > 4]
        changed = sum(a != b for a, b in pairs) / len(pairs)
        assert 0.15 < changed < 0.31  # some edits leave a word as it is


def test_a_typo_is_one_of_four() -> None:
    found = {disturb("abcd", "typos", 1.0, seed) for seed in range(200)}
    assert found == {"acbd", "abdc", "acd", "abd", "abbcd", "abccd", "avcd", "abxd"}


def test_a_letter_is_replaced_by_one_beside_it_on_the_keyboard() -> None:
    rows = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    assert NEIGHBOURS.keys() == set("".join(rows))
    for row in rows:
        for place, letter in enumerate(row):
            assert NEIGHBOURS[letter] in row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
