"""The linear router's context."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_bandit.linear.context import MAX_CATEGORIES, QueryContext

from aamc_sdk.types import Estimates


def estimates(rows: int, names: tuple[str, ...] = ("code", "chat"), width: int = 6, seed: int = 0) -> Estimates:
    rng = np.random.default_rng(seed)
    spread = np.arange(width, 0, -1)
    return Estimates(rng.random(rows), rng.dirichlet(np.ones(len(names)), rows), names, rng.random(rows), rng.normal(size=(rows, width)) * spread)


def test_numbers_are_those_of_the_estimates() -> None:
    said = estimates(4)
    numbers = QueryContext(0, 0).with_categories(("chat", "maths"))(said)
    assert numbers == pytest.approx(np.column_stack((np.ones(4), said.complexity - 0.5, said.tool_use, said.categories[:, 1], np.zeros(4))))


def test_what_is_not_known_counts_as_zero() -> None:
    numbers = QueryContext(3, 0, ("code",))(Estimates.unknown(2))
    assert numbers.tolist() == [[1.0] + [0.0] * 6] * 2
    erased = estimates(2)
    erased.embedding[0] = np.nan
    assert QueryContext(3, 0)(erased)[0, 3:].tolist() == [0.0] * 3


def test_a_row_does_not_depend_on_those_beside_it_to_the_last_bit() -> None:
    said = estimates(50, width=40)
    for context in (QueryContext(4, 0, said.category_names), QueryContext(4, 0).fitted(said.embedding)):
        together = context(said)
        assert all(np.array_equal(context(said.take(np.array([row])))[0], together[row]) for row in range(50))


def test_embeddings_of_several_estimators_count_beside_each_other_as_alone() -> None:
    parts = [attrs.evolve(estimates(3, width=6), fingerprint="old"), attrs.evolve(estimates(2, width=4), fingerprint="new"), Estimates.unknown(1)]
    context = QueryContext(3, 0, ("code", "chat"))
    together = context(Estimates.stack(parts))
    assert np.array_equal(together, np.concatenate([context(part) for part in parts]))
    assert together[:5, 3:6].all()


def test_fitted_directions_are_the_principal_components_at_unit_variance() -> None:
    said = estimates(300)
    reduced = QueryContext(2, 0).fitted(said.embedding)(said)[:, 3:]
    units = said.embedding / np.linalg.norm(said.embedding, axis=1, keepdims=True)
    variances, directions = np.linalg.eigh(np.cov(units.T, bias=True))
    expected = (units - units.mean(axis=0)) @ directions[:, :-3:-1] / np.sqrt(variances[:-3:-1])
    assert np.abs(reduced) == pytest.approx(np.abs(expected))


def test_directions_are_those_of_a_whole_table_that_is_sorted_by_task() -> None:
    said = estimates(4000)
    said.embedding[1500:] += 20.0  # another task
    reduced = QueryContext(2, 0).fitted(said.embedding)(said)[:, 3:]
    assert reduced.std(axis=0) == pytest.approx([1.0, 1.0], rel=0.1)


def test_embeddings_that_vary_in_few_directions_leave_the_others_zero() -> None:
    flat = estimates(20)
    flat.embedding[:, 1:] = 0.0
    reduced = QueryContext(4, 0).fitted(flat.embedding)(flat)[:, 3:]
    assert np.isfinite(reduced).all()
    assert not reduced[:, 1:].any()


def test_an_embedding_of_another_width_counts_as_unknown() -> None:
    assert not QueryContext(2, 0).fitted(estimates(30).embedding)(estimates(3, width=9))[:, 3:].any()


def test_new_categories_come_at_the_end_up_to_a_limit() -> None:
    context = QueryContext(0, 0).with_categories(("b", "a")).with_categories(("a", "c"))
    assert context.categories == ("b", "a", "c")
    assert len(context.with_categories([f"category {n}" for n in range(100)]).categories) == MAX_CATEGORIES
