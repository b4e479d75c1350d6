import numpy as np
import pytest
from aamc_lexical.heads.head_weights import fit_heads
from aamc_lexical.heads.targets import UNLABELLED, Targets

NAN = np.nan


def targets(rows, complexity=None, category=None, tool_use=None, names=()):
    nothing = np.full(rows, NAN)
    return Targets(
        complexity=nothing if complexity is None else np.asarray(complexity, float),
        category=np.full(rows, UNLABELLED) if category is None else np.asarray(category),
        tool_use=nothing if tool_use is None else np.asarray(tool_use, float),
        quality=np.empty((rows, 0)),
        category_names=tuple(names),
        candidates=(),
    )


@pytest.fixture
def embedding():
    return np.random.default_rng(0).normal(size=(200, 4))


def test_a_share_of_three_tenths_everywhere_is_expected_everywhere(embedding):
    outputs = fit_heads(embedding, targets(200, complexity=np.full(200, 0.3)))(embedding)
    assert outputs.complexity == pytest.approx(np.full(200, 0.3), abs=1e-3)


def test_shares_are_expected_as_they_are_on_average(embedding):
    """The first-order condition of the unpenalised intercept."""
    share = np.random.default_rng(1).random(200)
    outputs = fit_heads(embedding, targets(200, complexity=share))(embedding)
    assert outputs.complexity.mean() == pytest.approx(share.mean(), abs=1e-3)


def test_rows_without_a_label_count_for_nothing(embedding):
    share = np.random.default_rng(1).random(200)
    share[100:] = NAN
    all_rows, labelled = fit_heads(embedding, targets(200, complexity=share)), fit_heads(embedding[:100], targets(100, complexity=share[:100]))
    assert np.array_equal(all_rows.arrays["complexity.weight"], labelled.arrays["complexity.weight"])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_categories_that_a_plane_separates_are_told_apart(count):
    category = np.arange(200) % count
    embedding = 5 * np.eye(4)[category] + np.random.default_rng(0).normal(size=(200, 4)) / 10
    outputs = fit_heads(embedding, targets(200, category=category, names="abcd"[:count]))(embedding)
    assert np.array_equal(outputs.categories.argmax(axis=1), category)
    assert outputs.categories.sum(axis=1) == pytest.approx(np.ones(200))


@pytest.mark.parametrize("present", [[1], [0, 2], [0, 1, 3]])
def test_a_category_without_a_row_is_never_expected(embedding, present):
    category = np.resize(present, 200)
    categories = fit_heads(embedding, targets(200, category=category, names="abcd"))(embedding).categories
    absent = np.setdiff1d(np.arange(4), present)
    assert categories[:, absent].max() < 1e-6
    assert categories[:, present].sum(axis=1) == pytest.approx(np.ones(200))


def test_names_without_any_labelled_row_are_expected_alike(embedding):
    categories = fit_heads(embedding, targets(200, names="ab"))(embedding).categories
    assert categories == pytest.approx(np.full((200, 2), 0.5))


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_one_answer_for_all_is_expected_of_all(embedding, answer):
    outputs = fit_heads(embedding, targets(200, tool_use=np.full(200, answer)))(embedding)
    assert outputs.tool_use == pytest.approx(np.full(200, answer), abs=0.01)


def test_without_labels_there_is_no_head(embedding):
    assert fit_heads(embedding, targets(200)).arrays == {}
