"""Which questions count as nearly the same, and how they are found."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import numpy as np
import pytest
from aamc_experiments.data.near_duplicates import (
    BUCKET,
    ESTIMATED_SIMILARITY,
    SHARED,
    SIMILARITY,
    Sketches,
    find_boilerplate,
    group_names,
    likely_pairs,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ASKED = "which river runs through the old town before it meets the sea at the harbour?"
WORDS = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty", "knoll", "ledge", "marsh", "north", "ocean"]


def sketches(*questions: str) -> Sketches:
    return Sketches.of(questions, frozenset())


def near(one: str, other: str) -> bool:
    found = group_names([one, other])
    return found[one] == found[other]


@pytest.mark.parametrize(
    "edited",
    [
        ASKED.removesuffix("?"),
        ASKED.replace("river", "stream"),
        ASKED.replace("harbour", "harbuor"),
        ASKED.replace("old ", "very old "),
        "please, " + ASKED,
        ASKED + " thank you!",
        ASKED.replace("ve", "v\u200be").replace("ea", "e\u00ada"),
        "\u200f".join(ASKED),
    ],
)
def test_a_word_or_a_typing_error_makes_no_other_question(edited) -> None:
    assert near(ASKED, edited)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ASKED, "which king built the old bridge that leads from the town to the castle?"),
        ("what is 12 times 7?", "what is 12 times 8?"),
        ("there are 3 houses in a row with gardens, and 4 people live there", "there are 3 houses in a row with gardens, and 5 people live there"),
        ("tell me about room 7 on the ground floor", "tell me about room 7 7 on the ground floor"),
        ("", "a"),
    ],
)
def test_other_words_or_other_numbers_make_another_question(one, other) -> None:
    assert not near(one, other)


def test_similarity_is_the_share_of_common_shingles() -> None:
    pair = sketches("abcdef", "abcdeg")  # abcde and bcdef; abcde and bcdeg
    assert pair.similarity(0, 1) == pytest.approx(1 / 3)
    assert sketches("abcdef", "abcdef").similarity(0, 1) == 1.0


def test_what_a_whole_task_shares_is_no_reason_to_group_it() -> None:
    header = " ".join(random.Random(0).choices(WORDS, k=300))
    ends = [" ".join(random.Random(n).sample(WORDS, 8)) for n in range(2 * SHARED)]
    questions = [f"{header} question: {end}" for end in ends]
    edited = questions[0] + " please"
    found = group_names([*questions, edited])
    assert len(set(found.values())) == len(questions)
    assert found[edited] == found[questions[0]]
    assert find_boilerplate(questions[:SHARED]) == frozenset()


@pytest.mark.parametrize(("first", "letters"), [(0x4E00, 2000), (0x3041, 80), (0x0E01, 46)], ids=["Chinese", "Japanese", "Thai"])
@pytest.mark.parametrize("spaces", ["", " "])
def test_what_a_task_shares_is_found_in_scripts_without_spaces(first: int, letters: int, spaces: str) -> None:
    chance = random.Random(0)

    def text(size: int) -> str:
        return "".join(chr(first + chance.randrange(letters)) for _ in range(size))

    header, footer = text(60) + spaces + text(60), text(40)
    questions = [header + spaces + text(size) + footer for size in range(15, 15 + 2 * SHARED)]
    edited = questions[0].replace(footer, "x" + footer)
    found = group_names([*questions, edited])
    assert len(set(found.values())) == len(questions)
    assert found[edited] == found[questions[0]]


def test_a_group_may_be_larger_than_a_bucket() -> None:
    questions = [" ".join(["again"] * times) for times in range(8, 8 + 3 * BUCKET)]  # of the same shingles, so of one bucket in every band
    assert len(set(group_names(questions).values())) == 1


def test_questions_of_the_same_parts_are_not_the_same() -> None:
    chance = random.Random(9)
    parts = [" ".join("".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(7)) for _ in range(SHARED + 5)]
    questions = [f"{one} {other}" for one in parts for other in parts if one < other]
    assert find_boilerplate(questions)
    assert len(set(group_names(questions).values())) == len(questions)


def test_every_pair_that_an_exact_search_finds_is_found() -> None:
    chance = random.Random(3)
    questions = [" ".join(chance.choices(WORDS, k=chance.randint(5, 15))) for _ in range(150)]
    questions += [question.replace(chance.choice(question.split(" ")), "zenith", 1) for question in questions]
    made = sketches(*questions)
    exact = {(a, b) for b in range(len(questions)) for a in range(b) if made.similarity(a, b) >= SIMILARITY}
    values = made.signatures()
    likely = {(a, b) for a, b in likely_pairs(values, values, ESTIMATED_SIMILARITY).tolist()}
    assert len(exact) > 50
    assert exact <= likely


def test_signatures_agree_in_about_the_share_that_questions_do() -> None:
    chance = random.Random(4)
    questions = [" ".join(chance.choices(WORDS, k=40)) for _ in range(60)]
    edited = [" ".join(question.split(" ")[: chance.randint(20, 40)]) for question in questions]
    made = sketches(*questions, *edited)
    values = made.signatures()
    errors = [(values[n, 0] == values[n + 60, 0]).mean() - made.similarity(n, n + 60) for n in range(60)]
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


def test_signatures_of_many_questions_take_little_more_memory_than_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sketches(*(f"{a} {b}" for a, b in itertools.product(range(30), range(30))))
    expected = made.signatures()
    monkeypatch.setattr("aamc_experiments.data.near_duplicates.BATCH", 7)
    tracemalloc.start()
    signatures = made.signatures()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(expected, signatures)
    assert peak < 4 * signatures.nbytes


@given(st.permutations([f"{a} {b} {c}" for a in WORDS[:3] for b in ("the old harbour town", "the old harbour towns") for c in WORDS[:4]]))
@settings(max_examples=20, deadline=None)
def test_leaders_do_not_depend_on_the_order(questions) -> None:
    assert group_names(questions) == group_names(sorted(questions))


@given(st.lists(st.text(max_size=30), max_size=12))
@settings(max_examples=50, deadline=None)
def test_any_text_has_a_leader_that_leads_itself(questions) -> None:
    found = group_names(questions)
    assert set(found) == set(questions)
    assert all(found[leader] == leader <= question for question, leader in found.items())


def test_a_long_text_counts_by_its_beginning_and_its_end() -> None:
    begin, middle, other, end = ("".join(random.Random(n).choices("abcdefghij ", k=20_000)).strip() for n in range(4))
    assert near(begin + middle + end, begin + other + end + "!")
    assert not near(begin + middle, begin + other)
    assert not near(middle + end, other + end)


def test_a_half_of_a_character_is_a_text_too() -> None:
    assert near("\ud83d" + ASKED, ASKED)


def test_nothing_has_no_leaders() -> None:
    assert group_names([]) == {}
