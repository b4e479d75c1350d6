"""The length of a text as a feature."""

import numpy as np
import pytest
from aamc_lexical.text_length import LengthFeature, with_length

from aamc_sdk import Dataset, Labels, Query, Training

SHORT, LONG = "x" * 10, "x" * 40


def test_the_feature_is_the_logarithm_of_the_part_beyond_what_is_read():
    feature = LengthFeature.fit([SHORT, LONG, "x" * 160], 10)
    scale = np.sqrt((np.log(4) ** 2 + np.log(16) ** 2) / 2)
    features = with_length(np.ones((4, 2), np.float32), ["", SHORT, LONG, "x" * 160], feature)
    assert features.dtype == np.float32
    assert features[:, :2].tolist() == [[1, 1]] * 4
    assert features[:, 2] == pytest.approx([0, 0, np.log(4) / scale, np.log(16) / scale])


@pytest.mark.parametrize(("long", "used"), [(0, False), (1, False), (2, True)])
def test_it_is_used_where_one_text_in_a_hundred_is_longer(long, used):
    assert (LengthFeature.fit([SHORT] * (200 - long) + [LONG] * long, 10) is not None) == used
    assert LengthFeature.fit([SHORT], 10) is None


def documents(rows: int) -> Dataset:
    """Return documents with equal ends; those with a long middle are hard."""
    sizes = np.where(np.arange(rows) % 2, 400, 40)
    texts = [f"Summarise this {n % 7}. {'word ' * size} Thank you." for n, size in enumerate(sizes)]
    return Dataset([Query(text) for text in texts], labels=Labels(complexity=np.where(sizes > 100, 0.9, 0.1)))


def test_texts_with_equal_ends_differ_by_their_length(make_estimator, tmp_path):
    estimator = make_estimator(max_characters=60)
    estimator.train(Training(dataset=documents(200)))
    asked = [Query(f"Summarise this 1. {'word ' * size} Thank you.") for size in (40, 400)]
    easy, hard = estimator.estimate(asked).complexity
    assert hard - easy > 0.1
    estimator.save(tmp_path)
    loaded = make_estimator(max_characters=60)
    loaded.load(tmp_path)
    assert loaded.estimate(asked).complexity.tolist() == [easy, hard]


def test_where_texts_are_read_whole_the_embedding_has_no_length(make_estimator):
    dataset = documents(200)
    plain, read_whole = make_estimator(max_characters=10_000), make_estimator(max_characters=20_000)
    for estimator in (plain, read_whole):
        estimator.train(Training(dataset=dataset))
    assert plain._learned.text_length is None
    assert np.array_equal(plain.estimate(dataset.queries).embedding, read_whole.estimate(dataset.queries).embedding)
