"""The lengths of answers: short greetings and long theses."""

import attrs
import numpy as np
import pytest
from aamc_lexical.answer_lengths import LengthModel, cross_validated, fixed_latency, for_pool, known_lengths
from aamc_lexical.quality import Questions, fold_of

from aamc_sdk import Dataset, ModelSpec, Outcomes, Pool, Prices, Query, Training

NAN = float("nan")


def answers(pool: Pool, rows: int, seed: int = 0) -> Dataset:
    """Return greetings, answered with about 10 and 30 tokens, and theses with about 3,000 and 9,000; the third candidate has no length."""
    generator = np.random.default_rng(seed)
    long = np.arange(rows) % 2 == 1
    texts = [
        f"Write a {generator.integers(20, 60)}-page thesis on subject {row}." if thesis else f"Say hi to guest {row}."
        for row, thesis in enumerate(long)
    ]
    tokens = np.where(long[:, None], (3000, 9000, NAN), (10, 30, NAN)) * generator.uniform(0.8, 1.2, (rows, 3))
    quality = generator.integers(2, size=(rows, 3)).astype(float)
    return Dataset([Query(text) for text in texts], pool=pool, outcomes=Outcomes(quality, quality, quality, output_tokens=tokens))


def test_a_thesis_is_expected_to_be_longer_than_a_greeting(make_estimator, pool, tmp_path):
    dataset = answers(pool, 200)
    estimator = make_estimator()
    assert estimator.answer_lengths(estimator.estimate(dataset.queries), pool) is None
    estimator.train(Training(dataset=dataset))
    estimates = estimator.estimate([Query("Say hi."), Query("Write a 40-page thesis")])
    lengths = estimator.answer_lengths(estimates, pool)
    assert (lengths.tokens[0] < 100).all()
    assert (lengths.tokens[1, :2] > 1000).all()
    assert lengths.mean_tokens[:2] == pytest.approx(np.nanmean(dataset.outcomes.output_tokens[:, :2], axis=0))
    assert lengths.mean_tokens[2] == pytest.approx(lengths.mean_tokens[:2].mean())  # a candidate without lengths is like the others
    held_out = estimator.out_of_fold_lengths(pool)
    assert (held_out.tokens[1::2, 0] > 10 * held_out.tokens[::2, 0]).all()
    estimator.save(tmp_path)
    loaded = make_estimator()
    loaded.load(tmp_path)
    assert np.array_equal(loaded.answer_lengths(estimates, pool).tokens, lengths.tokens)
    assert loaded.out_of_fold_lengths(pool) is None


def test_the_order_of_the_pool_does_not_matter(make_estimator, pool):
    estimator = make_estimator()
    estimator.train(Training(dataset=answers(pool, 60)))
    estimates = estimator.estimate([Query("Say hi.")])
    turned = Pool([*pool.candidates[::-1], ModelSpec("stranger", prices=Prices(1, 1))])
    straight, other = (estimator.answer_lengths(estimates, order).tokens[0] for order in (pool, turned))
    assert other[:3].tolist() == straight[::-1].tolist()
    assert other[3] == pytest.approx(straight[:2].mean())


def test_lengths_without_any_quality_are_learned(make_estimator, pool):
    dataset = answers(pool, 60)
    unjudged = Outcomes(None, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms, output_tokens=dataset.outcomes.output_tokens)
    estimator = make_estimator()
    estimator.train(Training(dataset=Dataset(dataset.queries, pool=pool, outcomes=unjudged)))
    estimates = estimator.estimate([Query("Say hi."), Query("Write a 30-page thesis")])
    short, long = estimator.answer_lengths(estimates, pool).tokens[:, 0]
    assert short < long


def test_the_predictions_add_up_to_the_training_lengths():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(300, 4))
    tokens = np.exp(4 + embedding[:, :2] + generator.normal(size=(300, 2)))
    tokens[::3, 1] = NAN
    model = LengthModel.fit(embedding, tokens, 10.0)
    known = np.isfinite(tokens)
    assert np.where(known, model(embedding) + 1, 0).sum(axis=0) == pytest.approx(np.nansum(tokens + 1, axis=0))
    assert model(1000 * embedding).max() <= np.nanmax(tokens) * model.factors.max() + model.factors.max()


def test_noise_gets_the_largest_penalty_and_a_clear_relation_a_small_one():
    generator = np.random.default_rng(0)
    embedding, fold = generator.normal(size=(300, 4)), fold_of(Questions(np.arange(300)), 5, 0)
    clear, noise = np.exp(4 + embedding[:, :1]), np.exp(4 + generator.normal(size=(300, 1)))
    assert cross_validated(embedding, noise, fold)[0] == 10_000.0
    penalty, held_out = cross_validated(embedding, clear, fold)
    assert penalty == 1.0
    assert np.log1p(held_out) == pytest.approx(np.log1p(clear), abs=0.3)


def test_a_candidate_counts_if_half_of_its_outcomes_have_a_length(pool):
    tokens = np.array([[10.0, 10.0, NAN], [20.0, NAN, NAN], [NAN, NAN, NAN], [NAN, NAN, NAN]])
    dataset = Dataset([Query("q")] * 4, pool=pool, outcomes=Outcomes(np.ones((4, 3)), np.ones((4, 3)), np.ones((4, 3)), output_tokens=tokens))
    assert known_lengths(dataset, np.arange(4))[0] == pool.names[:1]
    assert known_lengths(dataset, np.array([0]))[0] == pool.names[:2]
    assert known_lengths(Dataset([Query("q")]), np.arange(1))[0] == ()


def test_for_a_pool_the_columns_are_those_of_its_candidates():
    pool = Pool([ModelSpec("c"), ModelSpec("a")])
    bare = LengthModel(np.zeros((1, 2)), np.zeros(1), np.zeros(2), np.ones(2), np.array([1.0, 3.0]), np.zeros((2, 2)))
    assert bare.fixed_latency.tolist() == [0.0, 0.0]
    lengths = for_pool(np.array([[10.0, 20.0]]), attrs.evolve(bare, fixed_latency=np.array([0.1, 0.3])), ("a", "b"), pool)
    assert lengths.tokens.tolist() == [[15.0, 10.0]]
    assert lengths.mean_tokens.tolist() == [2.0, 1.0]
    assert lengths.fixed_latency == pytest.approx([0.2, 0.1])


def test_the_latency_at_length_0_is_not_expected_to_grow():
    tokens = np.tile(np.array([[100.0], [200.0], [600.0], [NAN]]), 4)
    latency_ms = np.column_stack((300 + 2 * tokens[:, 0], 2 * tokens[:, 0], [NAN] * 4, [500.0, 400.0, 100.0, 9.0]))
    assert fixed_latency(tokens, latency_ms) == pytest.approx([300 / 900, 0.0, 0.0, 1.0])
    assert fixed_latency(np.full((3, 1), 7.0), np.ones((3, 1))).tolist() == [0.0]


def test_an_estimator_learns_the_latency_at_length_0_and_keeps_it(make_estimator, pool, tmp_path):
    dataset = answers(pool, 200)
    tokens = dataset.outcomes.output_tokens
    measured = attrs.evolve(dataset.outcomes, latency_ms=500 + 2 * np.nan_to_num(tokens))
    estimator, loaded = make_estimator(), make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=measured)))
    estimator.save(tmp_path)
    loaded.load(tmp_path)
    expected = 500 / (500 + 2 * np.nanmean(tokens[:, :2], axis=0))
    for trained in (estimator, loaded):
        found = trained.answer_lengths(trained.estimate([Query("Say hi.")]), pool).fixed_latency
        assert found == pytest.approx([*expected, expected.mean()])
