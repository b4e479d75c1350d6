import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest

from aamc_sdk import Dataset, ModelSpec, Pool, Prices, Query, Training
from aamc_sdk.errors import CheckpointError, DataError, EstimatesError
from aamc_sdk.plugins import Plugins
from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json
from aamc_sdk.testing import assert_conforms

FILES = ["heads.safetensors", "quality.npz", "learned.json", "lexicon.npz", "lexicon.json"]
WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder


class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
from aamc_sdk.cli import main
main()
"""


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


def test_of_a_text_unlike_all_training_texts_the_candidates_means_are_expected(trained, pool):
    texts = ["sort list python function", "la plume de ma tante est sur le bureau de mon oncle", "Bundesgesetzblatt Verordnung Paragraph"]
    quality = trained.quality(trained.estimate([Query(text) for text in texts]), pool)
    means = trained._learned.blend.means
    assert quality[0].argmax() == 0
    assert np.abs(quality[0] - means).max() > 0.2
    assert quality[1:] == pytest.approx(np.tile(means, (2, 1)), abs=0.03)


@pytest.mark.parametrize("text", ["", "東京タワーの高さは何メートル", "ताजमहल किसने और क्यों बनवाया था 1 now", "Зачем построили башню please"])
def test_of_a_text_in_another_script_the_candidates_means_are_expected(trained, text):
    estimates, blend = trained.estimate([Query(text)]), trained._learned.blend
    assert blend(estimates.embedding)[0] == pytest.approx(blend.means)
    assert estimates.categories.max() < 0.5


def test_of_a_text_of_known_words_in_no_known_category_the_candidates_means_are_expected(trained):
    estimates = trained.estimate([Query("sort python sum multiply poem river please"), Query("sort python list function please")])
    blend = trained._learned.blend
    unclear, clear = blend(estimates.embedding)
    assert unclear == pytest.approx(blend.means)
    assert clear[0] > blend.means[0] + 0.2


def test_a_checkpoint_with_one_distance_loads(make_estimator, trained, data, pool, tmp_path):
    trained.save(tmp_path)
    arrays, names = read_arrays(tmp_path / "quality.npz"), read_json(tmp_path / "learned.json")
    write_arrays(tmp_path / "quality.npz", arrays | {"trust/distances": arrays["trust/distances"][0]})
    write_json(tmp_path / "learned.json", names | {"measured_by": "neighbours"})
    loaded = make_estimator()
    loaded.load(tmp_path)
    assert loaded.quality(loaded.estimate(data[2].queries), pool).shape == (len(data[2]), len(pool))


def test_texts_are_embedded_as_queries_are(trained, data):
    queries = data[2].queries[:3]
    assert np.array_equal(trained.embed([query.text for query in queries]), trained.estimate(queries).embedding)


def test_it_passes_the_conformance_kit():
    assert_conforms("estimator", "lexical", Plugins())


def test_what_strangers_resemble_is_found_out_once_a_pool(make_estimator, trained, data, pool, tmp_path, monkeypatch):
    trained.save(tmp_path)
    estimator = make_estimator()
    estimator.load(tmp_path)
    described, encode = [], estimator._encode
    pools = [Pool((*pool, ModelSpec(name, f"writes {name}", prices=Prices(price, price)))) for name, price in (("verse", 1.0), ("prose", 4.0))]
    estimates = estimator.estimate(data[2].queries)
    monkeypatch.setattr(estimator, "_encode", lambda texts: described.append(tuple(texts)) or encode(texts))
    first, again, other = (estimator.quality(estimates, asked) for asked in (pools[0], pools[0], pools[1]))
    assert described == [("writes verse",), ("writes prose",)]
    assert np.array_equal(first, again)
    assert np.array_equal(first[:, : len(pool)], other[:, : len(pool)])
    assert not np.array_equal(first, other)
    estimator.load(tmp_path)
    assert np.array_equal(estimator.quality(estimates, pools[1]), other)
    assert described[2:] == [("writes prose",)]


def test_labels_are_learned_and_measured_on_validation_rows(training):
    metrics = training[1]
    assert metrics["validation_category_accuracy"] >= 0.95
    assert metrics["validation_complexity_mae"] < 0.15
    assert metrics["validation_tool_use_auc"] > 0.95
    assert [sum(weights.values()) for weights in metrics["blend"].values()] == pytest.approx([1, 1])


def test_expected_quality_beats_the_candidates_means_on_unseen_texts(trained, data, pool):
    train, _, test = data
    expected = trained.quality(trained.estimate(test.queries), pool)
    brier = np.mean((expected - test.outcomes.quality) ** 2)
    assert brier < 0.8 * np.mean((train.outcomes.quality.mean(axis=0) - test.outcomes.quality) ** 2)


def test_out_of_fold_quality_of_random_outcomes_is_no_better_than_the_base_rate(make_estimator, make_dataset):
    dataset = make_dataset(200, labels=False)
    random = np.random.default_rng(5).integers(2, size=(200, 3)).astype(float)
    estimator = make_estimator()
    estimator.train(Training(dataset=attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=random))))
    assert np.mean((estimator.out_of_fold() - random) ** 2) > 0.99 * random.var(axis=0).mean()


def test_rows_beyond_the_limit_are_predicted_but_not_fitted_on(make_estimator, make_dataset, pool):
    dataset = make_dataset(80)
    estimator = make_estimator(max_train_texts=50)
    estimator.train(Training(dataset=dataset))
    fitted = estimator.quality(estimator.estimate(dataset.queries), pool)
    assert np.isclose(estimator.out_of_fold(), fitted).all(axis=1).sum() == 30


def test_rows_beyond_the_limit_are_predicted_without_their_question(make_estimator, make_dataset, pool):
    asked = make_dataset(100)
    again = asked.take(np.tile(np.arange(100), 3))
    tokens = np.random.default_rng(0).uniform(10, 1000, (300, 3))
    estimator = make_estimator(max_train_texts=150)
    estimator.train(Training(dataset=attrs.evolve(again, outcomes=attrs.evolve(again.outcomes, output_tokens=tokens))))
    for held_out in (estimator.out_of_fold(), estimator.out_of_fold_lengths(pool).tokens):
        assert np.allclose(held_out.reshape(3, 100, 3), held_out[:100])  # fitted or not, the rows of a question have one prediction


def test_without_outcomes_and_labels_there_is_an_embedding_alone(make_estimator, make_dataset):
    dataset = make_dataset(40, labels=False, outcomes=False)
    estimator = make_estimator()
    estimator.train(Training(dataset=dataset, validation=dataset))
    estimates = estimator.estimate(dataset.queries)
    assert np.isnan(estimates.complexity).all()
    assert np.isfinite(estimates.embedding).all()
    assert estimator.quality(estimates, dataset.pool) is None


def test_an_unseen_candidate_is_judged_by_the_one_that_it_resembles(trained, data, pool):
    estimates = trained.estimate(data[2].queries)
    stranger = ModelSpec("stranger", pool.candidates[0].description, prices=Prices(1.0, 1.0))
    expected = trained.quality(estimates, Pool((*pool, stranger)))
    errors = [np.mean((expected[:, m] - expected[:, 3]) ** 2) for m in range(3)]
    assert np.argmin(errors) == 0


def test_odd_texts_are_described_too(trained, pool):
    estimates = trained.estimate([Query(text) for text in ("", "   ", "sort " * 100_000, "日本語 \x00", "🙂🙂🙂")])
    assert np.isfinite(estimates.embedding).all()
    assert np.isfinite(estimates.complexity).all()
    assert np.isfinite(trained.quality(estimates, pool)).all()


def test_threads_get_what_one_thread_gets(trained, data, pool):
    queries = data[2].queries
    alone = trained.quality(trained.estimate(queries), pool)
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda query: trained.quality(trained.estimate([query]), pool)[0], queries))
    assert np.allclose(rows, alone, atol=1e-5)  # a batch is rounded otherwise than one row, as the processor's BLAS has it


def test_a_long_text_is_described_and_not_remembered(make_estimator, trained, tmp_path):
    trained.save(tmp_path)
    loaded = make_estimator()
    loaded.load(tmp_path)
    for words, remembered in ((2, 1), (5_000, 1), (3, 2)):
        assert np.isfinite(loaded.estimate([Query("sort " * words)]).complexity).all()
        assert loaded._remembered.cache_info().currsize == remembered


def test_the_same_text_again_is_not_computed_again(make_estimator, make_dataset, trained, tmp_path, monkeypatch):
    trained.save(tmp_path)
    estimator = make_estimator()
    untrained = estimator.estimate([Query("sort a list")])
    assert estimator.estimate([Query("sort a list", user="another")]) is untrained
    estimator.load(tmp_path)
    loaded = estimator.estimate([Query("sort a list")])
    assert np.isfinite(loaded.complexity).all()
    with monkeypatch.context() as patch:
        patch.setattr(estimator, "_encode", lambda *_: pytest.fail("computed again"))
        assert estimator.estimate([Query("sort a list")]) is loaded
    with pytest.raises(ValueError, match="read-only"):
        loaded.embedding[0] = 0.0
    estimator.train(Training(dataset=make_dataset(30, seed=9)))
    assert estimator.estimate([Query("sort a list")]).fingerprint != loaded.fingerprint


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_a_checkpoint_error(make_estimator, trained, tmp_path, name):
    trained.save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        make_estimator().load(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        make_estimator().load(tmp_path)
    path.mkdir()
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: Is a directory"):
        make_estimator().load(tmp_path)


def test_a_checkpoint_that_keeps_other_parts_was_made_by_another_version(make_estimator, trained, tmp_path):
    trained.save(tmp_path)
    arrays, names = read_arrays(tmp_path / "quality.npz"), read_json(tmp_path / "learned.json")
    write_arrays(tmp_path / "quality.npz", {name: array for name, array in arrays.items() if not name.startswith("trust/")})
    with pytest.raises(CheckpointError, match="made by another version"):
        make_estimator().load(tmp_path)
    write_arrays(tmp_path / "quality.npz", arrays)
    write_json(tmp_path / "learned.json", names | {"experts": ["unheard-of"]})
    with pytest.raises(CheckpointError, match="made by another version"):
        make_estimator().load(tmp_path)
    write_json(tmp_path / "learned.json", names)
    make_estimator().load(tmp_path)


def test_a_checkpoint_of_version_0_1_loads_and_warns_of_long_texts(make_estimator, trained, data, pool, tmp_path, caplog):
    trained.save(tmp_path)
    names = read_json(tmp_path / "learned.json")
    write_json(tmp_path / "learned.json", {name: value for name, value in names.items() if name not in ("answering", "measured_by")})
    loaded = make_estimator()
    loaded.load(tmp_path)
    assert np.array_equal(trained.estimate(data[2].queries).embedding, loaded.estimate(data[2].queries).embedding)
    assert loaded.answer_lengths(loaded.estimate(data[2].queries), pool) is None
    assert "estimates of long texts now differ" in caplog.text


def test_a_checkpoint_with_the_ridge_of_earlier_versions_loads(make_estimator, trained, data, tmp_path):
    trained.save(tmp_path)
    names, arrays = read_json(tmp_path / "learned.json"), read_arrays(tmp_path / "quality.npz")
    embedding = trained.estimate(data[2].queries).embedding
    ridge = {
        "ridge/coefficients": np.zeros((embedding.shape[1], 3)),
        "ridge/intercepts": np.array([0.2, 0.4, 0.6]),
        "weights": np.array([[1.0, 0.0]] * 2),
    }
    trust = {"trust/distances": np.array([0.0, 1.0]), "trust/slopes": np.ones((2, 2))}
    write_arrays(tmp_path / "quality.npz", arrays | ridge | trust)
    write_json(tmp_path / "learned.json", names | {"experts": ["ridge"], "measured_by": "clusters"})
    loaded = make_estimator()
    loaded.load(tmp_path)
    assert loaded._trained().blend(embedding) == pytest.approx(np.tile([0.2, 0.4, 0.6], (len(embedding), 1)))


def test_the_lexicon_of_another_training_is_refused(make_estimator, make_dataset, trained, tmp_path):
    other = make_estimator()
    other.train(Training(dataset=make_dataset(30, seed=9)))
    trained.save(tmp_path)
    other._known_terms().save(tmp_path)
    with pytest.raises(CheckpointError, match="not the one"):
        make_estimator().load(tmp_path)


def test_one_row_is_learned_from_without_an_error(make_estimator, make_dataset, pool):
    dataset = make_dataset(1)
    estimator = make_estimator()
    estimator.train(Training(dataset=dataset, validation=dataset))
    assert np.isfinite(estimator.quality(estimator.estimate(dataset.queries), pool)).all()


def test_no_training_row_is_an_error(make_estimator):
    with pytest.raises(DataError, match="empty"):
        make_estimator().train(Training(dataset=Dataset([])))


def test_estimates_of_another_estimator_are_refused(trained, data, pool):
    foreign = attrs.evolve(trained.estimate(data[2].queries), embedding=np.zeros((120, 3)))
    with pytest.raises(EstimatesError, match="lexical expects quality from its own estimates"):
        trained.quality(foreign, pool)


def test_looking_at_the_options_imports_nothing_heavy():
    heavy = ("torch", "sklearn", "scipy", "safetensors")
    code = f"import sys, aamc_lexical.plugin, aamc_lexical.estimator; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_run_and_a_decision_need_no_torch(tmp_path):
    small = ("--set", "dataset.n_train=120", "--set", "dataset.n_validation=30", "--set", "dataset.n_test=40", "--set", "estimator.folds=2")
    for arguments in (("run", "--router", "greedy", "--estimator", "lexical", *small, "--out", "run"), ("route", "Sort a list", "--run", "run")):
        done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_estimates_of_another_training_are_refused(trained, make_estimator, data, pool):
    other = make_estimator(seed=1)
    other.train(Training(dataset=data[0].take(np.arange(200))))
    estimates = other.estimate(data[2].queries)
    with pytest.raises(EstimatesError, match="expects quality from its own estimates"):
        trained.quality(attrs.evolve(trained.estimate(data[2].queries), fingerprint=estimates.fingerprint), pool)
    unmarked = attrs.evolve(trained.estimate(data[2].queries), fingerprint="")
    assert trained.quality(unmarked, pool) is not None


def test_the_validation_measures_the_quality_that_is_served(make_estimator, data, pool):
    train, validation, _ = data
    few = train.outcomes.quality.copy()
    few[8:, 2] = np.nan  # a candidate with 8 outcomes is predicted from the others too
    estimator = make_estimator()
    metrics = estimator.train(Training(dataset=attrs.evolve(train, outcomes=attrs.evolve(train.outcomes, quality=few)), validation=validation))
    served = estimator.quality(estimator.estimate(validation.queries), pool)
    assert metrics["validation_quality_brier"] == pytest.approx(np.mean((served - validation.outcomes.quality) ** 2))
