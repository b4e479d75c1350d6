"""The labels of a synthetic text follow from how it was put together."""

import attrs
import numpy as np
import pytest
from aamc_datasets.synthetic.composition import CATEGORIES, Composer, Composition, Instruction, load_grammar
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk import Query

difficulties = st.floats(0, 1)
asks = st.builds(Instruction, st.text(min_size=1), difficulties, st.booleans())
step_lists = st.lists(asks, max_size=4)


def compositions(seed: int, count: int) -> list[Composition]:
    composer = Composer(load_grammar(), seed)
    return [composer.compose() for _ in range(count)]


def composed(main: Instruction, steps: list[Instruction], demand: float) -> Composition:
    return Composition("math", main, tuple(steps), ("Then {step}.",) * len(steps), demand)


def test_complexity_of_a_known_composition() -> None:
    steps = [Instruction("sort them", 0.2), Instruction("explain why")]
    assert pytest.approx(composed(Instruction("List the primes.", 0.6), steps, 1.0).complexity) == 0.03 + 0.5 * 0.6 + 0.08 * 2 + 0.13 * 1.0


def test_text_of_a_known_composition() -> None:
    parts = Composition(
        "math", Instruction("Add 2 and 3."), (Instruction("name a source"),), ("Also, {step}.",), 1.0, "Be rigorous.", "This is for Ben."
    )
    assert parts.text == "This is for Ben. Add 2 and 3. Also, name a source. Be rigorous."


def test_further_asks_can_stand_in_a_list() -> None:
    parts = Composition("math", Instruction("Add 2 and 3."), (Instruction("check it"), Instruction("name a source")), ("Besides:",), 0.0, "Be brief.")
    assert parts.text == "Add 2 and 3. Be brief. Besides: (1) check it; (2) name a source."


@given(asks, step_lists, difficulties, asks)
def test_each_further_ask_adds_complexity(main: Instruction, steps: list[Instruction], demand: float, more: Instruction) -> None:
    assert composed(main, [*steps, more], demand).complexity > composed(main, steps, demand).complexity


@given(asks, step_lists, difficulties, difficulties)
def test_a_harder_subject_or_demand_never_lowers_complexity(main: Instruction, steps: list[Instruction], demand: float, other: float) -> None:
    base = composed(main, steps, demand)
    assert composed(attrs.evolve(main, difficulty=max(main.difficulty, other)), steps, demand).complexity >= base.complexity
    assert composed(main, steps, max(demand, other)).complexity >= base.complexity


@given(asks, step_lists)
def test_tools_are_needed_exactly_when_an_ask_needs_them(main: Instruction, steps: list[Instruction]) -> None:
    assert any(ask.tools for ask in (main, *steps)) == composed(main, steps, 0.0).tool_use


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_text_has_the_same_labels_whatever_the_seed(first: int, second: int) -> None:
    labels = [{c.text.lower(): (c.complexity, c.category, c.tool_use) for c in compositions(seed, 300)} for seed in (first, second)]
    common = labels[0].keys() & labels[1].keys()
    assert [labels[0][text] for text in common] == [labels[1][text] for text in common]


def test_no_two_compositions_of_one_text_differ_in_their_labels() -> None:
    labels: dict[str, set[tuple[float, str, bool]]] = {}
    for parts in compositions(7, 20_000):
        labels.setdefault(parts.text.lower(), set()).add((parts.complexity, parts.category, parts.tool_use))
    assert len(labels) < 20_000, "the sample must hold repeats for this to mean something"
    assert [text for text, found in labels.items() if len(found) > 1] == []


def test_the_same_seed_gives_the_same_compositions_and_another_seed_others() -> None:
    assert compositions(5, 50) == compositions(5, 50)
    assert compositions(5, 50) != compositions(6, 50)


def test_labels_are_balanced_and_spread_in_every_category() -> None:
    sample = compositions(0, 8_000)
    complexity = np.array([parts.complexity for parts in sample])
    tool_use = np.array([parts.tool_use for parts in sample])
    category = np.array([parts.category for parts in sample])
    assert complexity.mean() == pytest.approx(0.45, abs=0.04)
    assert 0.20 < tool_use.mean() < 0.30
    for name in CATEGORIES:
        rows = category == name
        low, high = np.quantile(complexity[rows], (0.05, 0.95))
        assert rows.mean() == pytest.approx(1 / 8, abs=0.02), name
        assert low < 0.2, name
        assert high > 0.75, name
        assert 0.1 < tool_use[rows].mean() < 0.4, name


def test_texts_are_single_lines_without_open_slots() -> None:
    for parts in compositions(1, 3_000):
        assert not set("{}\n") & set(parts.text), parts.text
        assert "  " not in parts.text
        assert Query(parts.text).expected_prompt_tokens > 3
