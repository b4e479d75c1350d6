import hashlib
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from aamc_tce.encoders import torch_encoder

from aamc_sdk import Dataset, Labels, ModelSpec, Outcomes, Pool, Prices, Query, Training
from aamc_sdk.errors import AamcError, CheckpointError, DataError, EstimatesError
from aamc_sdk.storage import read_json, write_json


@pytest.fixture(scope="module")
def data(make_dataset):
    return make_dataset(240, seed=1), make_dataset(60, seed=2), make_dataset(120, seed=3)


@pytest.fixture(scope="module")
def training(make_estimator, data):
    estimator = make_estimator()
    return estimator, estimator.train(Training(dataset=data[0], validation=data[1]))


@pytest.fixture(scope="module")
def trained(training):
    return training[0]


def same(left, right):
    names = ("complexity", "categories", "tool_use", "embedding")
    return left.fingerprint == right.fingerprint and all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def test_texts_are_embedded_as_queries_are(trained, data):
    queries = data[2].queries[:3]
    assert np.array_equal(trained.embed([query.text for query in queries]), trained.estimate(queries).embedding)


def test_labels_are_learned_and_measured_on_validation_rows(training):
    metrics = training[1]
    assert metrics["validation_category_accuracy"] >= 0.9
    assert metrics["validation_complexity_mae"] < 0.15
    assert metrics["validation_complexity_mae"] <= metrics["validation_complexity_rmse"]
    assert metrics["validation_tool_use_auc"] > 0.95
    assert metrics["curve"][-1]["loss"] < metrics["curve"][0]["loss"]
    assert [sum(weights.values()) for weights in metrics["blend"].values()] == pytest.approx([1, 1])


def test_expected_quality_beats_the_candidates_means_on_unseen_texts(trained, data, pool):
    train, _, test = data
    expected = trained.quality(trained.estimate(test.queries), pool)
    brier = np.mean((expected - test.outcomes.quality) ** 2)
    base = np.mean((train.outcomes.quality.mean(axis=0) - test.outcomes.quality) ** 2)
    assert brier < 0.85 * base
    assert expected.min() >= 0
    assert expected.max() <= 1


def test_out_of_fold_quality_of_random_outcomes_is_no_better_than_the_base_rate(make_estimator, make_dataset):
    dataset = make_dataset(200, labels=False)
    random = np.random.default_rng(5).integers(2, size=(200, 3)).astype(float)
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=Outcomes(random, random, random))))
    brier = np.mean((estimator.out_of_fold() - random) ** 2)
    assert brier > 0.99 * random.var(axis=0).mean()


def test_out_of_fold_quality_is_not_the_fitted_one_and_has_a_row_for_each_training_row(trained, data, pool):
    fitted = trained.quality(trained.estimate(data[0].queries), pool)
    assert trained.out_of_fold().shape == fitted.shape
    assert np.abs(trained.out_of_fold() - fitted).max() > 0.01


@pytest.mark.parametrize("category", ["", "law"])
def test_validation_rows_without_known_labels_do_not_stop_the_training(make_estimator, make_dataset, category):
    train, rows, test = (make_dataset(count, seed=count, outcomes=False) for count in (120, 20, 60))
    train = attrs.evolve(train, labels=Labels(category=train.labels.category))
    unlabelled = attrs.evolve(rows, labels=Labels(category=np.full(20, category)))
    estimator, without = make_estimator(), make_estimator()
    metrics, expected = (
        trained.train(Training(dataset=train, validation=validation)) for trained, validation in ((estimator, unlabelled), (without, None))
    )
    assert metrics == expected
    assert np.array_equal(estimator.estimate(test.queries).categories, without.estimate(test.queries).categories)


def test_rows_beyond_the_limit_are_predicted_but_not_fitted_on(make_estimator, make_dataset, pool):
    dataset = make_dataset(80)
    estimator = make_estimator(max_train_texts=50)
    estimator.train(Training(dataset=dataset))
    fitted = estimator.quality(estimator.estimate(dataset.queries), pool)
    assert np.isclose(estimator.out_of_fold(), fitted).all(axis=1).sum() == 30


def test_heads_without_labels_stay_unknown(make_estimator, make_dataset):
    dataset = make_dataset(60, outcomes=False)
    only_complexity = attrs.evolve(dataset, labels=attrs.evolve(dataset.labels, category=None, tool_use=None))
    estimator = make_estimator()
    estimator.train(Training(dataset=only_complexity))
    estimates = estimator.estimate(dataset.queries)
    assert np.isfinite(estimates.complexity).all()
    assert np.isnan(estimates.tool_use).all()
    assert estimates.categories.shape == (60, 0)
    assert estimator.quality(estimates, dataset.pool) is None
    assert estimator.out_of_fold() is None


def test_missing_complexity_is_learned_as_one_minus_mean_quality(make_estimator, make_dataset):
    dataset = make_dataset(240, labels=False)
    easy = np.array(["poem" in query.text or "story" in query.text for query in dataset.queries])
    quality = np.where(easy, 0.9, 0.2)[:, None] * np.ones(3)
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=Outcomes(quality, quality, quality))))
    complexity = estimator.estimate(dataset.queries).complexity
    assert complexity[easy].mean() < 0.4
    assert complexity[~easy].mean() > 0.6


def test_a_dataset_without_any_label_still_gives_embeddings(make_estimator, make_dataset):
    dataset = make_dataset(20, labels=False, outcomes=False)
    estimator = make_estimator()
    estimator.train(Training(dataset=dataset, validation=dataset))
    estimates = estimator.estimate(dataset.queries)
    assert np.isnan(estimates.complexity).all()
    assert np.isfinite(estimates.embedding).all()


def test_missing_cells_are_left_out(make_estimator, data, pool):
    train, _, test = data
    quality = train.outcomes.quality.copy()
    quality[np.random.default_rng(0).random(quality.shape) < 0.6] = np.nan
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(train, outcomes=attrs.evolve(train.outcomes, quality=quality))))
    expected = estimator.quality(estimator.estimate(test.queries), pool)
    base = np.mean((np.nanmean(quality, axis=0) - test.outcomes.quality) ** 2)
    assert np.mean((expected - test.outcomes.quality) ** 2) < 0.9 * base
    assert np.isfinite(estimator.out_of_fold()).all()


def test_a_pool_in_another_order_gives_the_same_numbers_by_name(trained, data, pool):
    estimates = trained.estimate(data[2].queries)
    straight = trained.quality(estimates, pool)
    assert np.array_equal(trained.quality(estimates, pool.subset(["poet", "coder"])), straight[:, [2, 0]])


def test_an_unseen_candidate_is_judged_by_those_that_resemble_it(trained, data, pool):
    estimates = trained.estimate(data[2].queries)
    stranger = ModelSpec("stranger", pool.candidates[0].description, prices=Prices(1.0, 1.0))
    expected = trained.quality(estimates, Pool((*pool, stranger)))
    assert np.isfinite(expected).all()
    assert expected[:, 3].min() >= expected[:, :3].min() - 1e-9
    assert expected[:, 3].max() <= expected[:, :3].max() + 1e-9


def test_a_candidate_without_one_outcome_counts_as_unseen(make_estimator, make_dataset, pool):
    dataset = make_dataset(60)
    quality = dataset.outcomes.quality.copy()
    quality[:, 1] = np.nan
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=quality))))
    assert estimator.out_of_fold().shape == (60, 3)
    assert np.isfinite(estimator.quality(estimator.estimate(dataset.queries), pool)).all()


def test_the_same_seed_gives_the_same_estimator(make_estimator, trained, data, pool):
    again = make_estimator()
    again.train(Training(dataset=data[0], validation=data[1]))
    first, second = trained.estimate(data[2].queries), again.estimate(data[2].queries)
    assert same(first, second)
    assert np.array_equal(trained.quality(first, pool), again.quality(second, pool))
    assert np.array_equal(trained.out_of_fold(), again.out_of_fold())


def test_a_saved_estimator_comes_back_whole(make_estimator, trained, data, pool, tmp_path):
    trained.save(tmp_path)
    loaded = make_estimator()
    loaded.load(tmp_path)
    before, after = trained.estimate(data[2].queries), loaded.estimate(data[2].queries)
    assert same(before, after)
    assert np.array_equal(trained.quality(before, pool), loaded.quality(after, pool))
    assert loaded.out_of_fold() is None  # it belongs to the training rows, which a checkpoint does not know


@pytest.mark.parametrize("name", ["heads.safetensors", "quality.npz", "learned.json"])
def test_a_truncated_or_missing_file_is_a_checkpoint_error(make_estimator, trained, tmp_path, name):
    trained.save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        make_estimator().load(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError):
        make_estimator().load(tmp_path)


def test_another_encoder_than_the_trained_one_is_refused(make_estimator, trained, data, tmp_path):
    trained.save(tmp_path)
    other = make_estimator(layers=2)
    other.load(tmp_path)
    with pytest.raises(CheckpointError, match="not the one"):
        other.estimate(data[2].queries)


def test_a_checkpoint_of_version_0_1_estimates_short_texts_as_it_did(make_estimator, trained, data, pool, tmp_path, caplog):
    trained.save(tmp_path)
    encoder = trained._named_encoder()
    digest = hashlib.sha256(f"{encoder.layers} {encoder.max_length} {len(encoder.tokenizer)}".encode())  # as version 0.1 had it
    for name, weight in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode() + weight.numpy().tobytes())
    names = read_json(tmp_path / "learned.json")
    old = {name: value for name, value in names.items() if name not in ("answering", "measured_by")}
    write_json(tmp_path / "learned.json", old | {"encoder": digest.hexdigest()[:16]})
    loaded = make_estimator()
    loaded.load(tmp_path)
    before, after = trained.estimate(data[2].queries), loaded.estimate(data[2].queries)
    assert np.array_equal(before.embedding, after.embedding)
    assert np.array_equal(trained.quality(before, pool), loaded.quality(after, pool))
    assert "estimates of long texts now differ" in caplog.text


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_one_and_of_none(trained, pool, rows):
    estimates = trained.estimate([Query("sort a list")] * rows)
    assert len(estimates) == rows
    assert estimates.categories.shape == (rows, 3)
    assert trained.quality(estimates, pool).shape == (rows, 3)


def test_odd_texts_are_described_too(trained):
    texts = ["", "   ", "sort " * 100_000, "日本語 \x00"]
    assert np.isfinite(trained.estimate([Query(text) for text in texts]).embedding).all()


def test_threads_get_what_one_thread_gets(trained, data, pool):
    queries = data[2].queries
    alone = trained.quality(trained.estimate(queries), pool)
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda query: trained.quality(trained.estimate([query]), pool)[0], queries))
    assert np.allclose(rows, alone)


def test_a_row_alone_is_learned_from_without_an_error(make_estimator, make_dataset, pool):
    dataset = make_dataset(1)
    estimator = make_estimator()
    estimator.train(Training(dataset=dataset, validation=dataset))
    assert np.isfinite(estimator.quality(estimator.estimate(dataset.queries), pool)).all()
    assert np.isfinite(estimator.out_of_fold()).all()


def test_an_untrained_estimator_says_so(make_estimator):
    with pytest.raises(EstimatesError, match="not been trained"):
        make_estimator().estimate([Query("sort")])


def test_no_training_row_is_an_error(make_estimator):
    with pytest.raises(DataError, match="empty"):
        make_estimator().train(Training(dataset=Dataset([])))


def test_estimates_of_another_estimator_are_refused(trained, data, pool):
    foreign = attrs.evolve(trained.estimate(data[2].queries), embedding=np.zeros((120, 3)))
    with pytest.raises(EstimatesError, match="own estimates"):
        trained.quality(foreign, pool)


def test_an_unknown_encoder_is_one_line_with_the_way_out(make_estimator, make_dataset):
    with pytest.raises(AamcError, match=r"encoder 'no such!!' cannot be loaded .*bundled") as caught:
        make_estimator(encoder="no such!!").train(Training(dataset=make_dataset(5)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fine_tune", [False, True])
def test_the_length_of_a_long_text_is_a_feature(make_estimator, tmp_path, fine_tune):
    words = np.where(np.arange(200) % 2, 400, 40)
    texts = [f"sort list {'river ' * count} python function" for count in words]
    dataset = Dataset([Query(text) for text in texts], labels=Labels(complexity=np.where(words > 100, 0.9, 0.1)))
    estimator = make_estimator(max_length=8, epochs=30, head_learning_rate=0.01, fine_tune=fine_tune)
    estimator.train(Training(dataset=dataset))
    easy, hard = estimator.estimate(dataset.queries[:2]).complexity
    assert easy < 0.3
    assert hard > 0.7
    estimator.save(tmp_path)
    loaded = make_estimator(max_length=8, epochs=30, head_learning_rate=0.01, fine_tune=fine_tune)
    loaded.load(tmp_path)
    assert loaded.estimate(dataset.queries[:2]).complexity.tolist() == [easy, hard]


def test_lengths_of_answers_are_learned(make_estimator, make_dataset, pool):
    dataset = make_dataset(120)
    code = dataset.labels.category == "code"
    tokens = np.where(code[:, None], [2000.0, 1000.0, 500.0], 20.0) * np.ones((120, 3))
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, output_tokens=tokens))))
    lengths = estimator.answer_lengths(estimator.estimate(dataset.queries), pool)
    assert (lengths.tokens[code].min(axis=0) > lengths.tokens[~code].max(axis=0)).all()
    assert estimator.out_of_fold_lengths(pool).tokens.shape == (120, 3)


def test_an_encoder_that_cannot_be_downloaded_is_named_with_the_files_to_bring(make_estimator, make_dataset, monkeypatch):
    def unreachable(place):
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(torch_encoder.transformers.AutoTokenizer, "from_pretrained", unreachable)
    with pytest.raises(AamcError, match="couldn't connect") as caught:
        make_estimator(encoder="bert-tiny").train(Training(dataset=make_dataset(5)))
    assert "hf download prajjwal1/bert-tiny --local-dir bert-tiny; copy the folder here and add --set estimator.encoder=./bert-tiny" in str(
        caught.value
    )


def test_a_folder_that_is_no_encoder_says_what_it_lacks(make_estimator, make_dataset, tmp_path):
    with pytest.raises(AamcError, match=r"the folder needs config\.json, model\.safetensors and the tokenizer's files"):
        make_estimator(encoder=str(tmp_path)).train(Training(dataset=make_dataset(5)))
