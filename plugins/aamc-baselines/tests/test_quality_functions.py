"""The mathematics of each quality function, against hand-computed values, closed forms and libraries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aamc_baselines.learned import gbdt, irt, knn, logistic, mf, mlp, ridge, svm
from aamc_baselines.quality.examples import Comparisons, Examples, examples_of
from aamc_baselines.quality.likelihood import map_estimate, negative_log_likelihood, offsets
from aamc_lexical.quality import Questions, fold_of
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge

from aamc_sdk import Candidate, Dataset, Pool, Query
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import sigmoid


def examples(quality: Any, features: Any = None, comparisons: Comparisons | None = None) -> Examples:
    quality = np.asarray(quality, dtype=float)
    rows = np.zeros((len(quality), 1)) if features is None else np.asarray(features, dtype=float)
    return Examples(rows, quality, Questions(np.arange(len(quality))), comparisons or Comparisons.none())


@pytest.fixture
def noisy() -> Examples:
    """Quality that is linear in four features, with noise and a third of the cells missing."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    quality = np.clip(0.5 + features @ rng.normal(size=(4, 3)) * 0.1 + rng.normal(size=(300, 3)) * 0.05, 0, 1)
    quality[rng.random((300, 3)) < 1 / 3] = np.nan
    return examples(quality, features)


def test_means_leave_out_missing_cells_and_fall_back_to_the_mean_of_all() -> None:
    nan = np.nan
    np.testing.assert_allclose(examples([[1.0, nan, nan], [0.0, 0.8, nan]]).means, [0.5, 0.8, 0.6])
    np.testing.assert_allclose(examples([[nan, nan]]).means, [0.5, 0.5])


def test_knn_is_the_shrunken_mean_of_the_nearest_by_cosine() -> None:
    features = [[1.0, 0.0], [5.0, 0.1], [0.0, 1.0], [0.1, 3.0]] * 5
    table = examples([[1.0, np.nan], [0.5, 1.0], [0.0, 0.0], [0.0, 0.0]] * 5, features)
    function = knn.NeighbourMeans.fit(table, knn.KnnOptions(neighbours=100, shrinkage=2.0), 0)
    assert int(function.neighbours) == 4  # a fifth of the rows
    np.testing.assert_allclose(function.predict(np.array([[2.0, 0.0]])), [[(4 * 1.0 + 2 * 0.375) / 6, (2 * 1 / 3) / 2]])
    exact = knn.NeighbourMeans.fit(table, knn.KnnOptions(neighbours=4, shrinkage=0.0), 0)
    np.testing.assert_allclose(exact.predict(np.array([[2.0, 0.0]])), [[1.0, 1 / 3]])


def test_ridge_solves_what_a_library_solves_on_the_known_rows(noisy: Examples) -> None:
    function = ridge.Linear.fit(noisy, ridge.RidgeOptions(alpha=7.0), 0)
    for m in range(3):
        known = noisy.known[:, m]
        library = Ridge(alpha=7.0, fit_intercept=False).fit(noisy.features[known], noisy.quality[known, m] - noisy.means[m])
        np.testing.assert_allclose(function.coefficients[:, m], library.coef_, rtol=1e-6)


@pytest.mark.parametrize(
    "fit",
    [
        lambda table: ridge.Linear.fit(table, ridge.RidgeOptions(alpha=1.0), 0),
        lambda table: logistic.LinearScore.fit(table, logistic.LogisticOptions(alpha=1.0), 0),
        lambda table: mf.Factors.fit(table, mf.MfOptions(rank=3, alpha=0.5), 0),
        lambda table: mlp.HiddenLayer.fit(table, mlp.MlpOptions(hidden=8, alpha=0.3), 0),
        lambda table: irt.ItemResponse.fit(table, irt.IrtOptions(dimensions=6, alpha=0.5, spread=1.0), 0),
        lambda table: svm.Margins.fit(table, svm.SvmOptions(C=0.01), 0),
    ],
    ids=["ridge", "logistic", "mf", "mlp", "irt", "svm"],
)
def test_a_linear_truth_is_recovered_in_the_missing_cells_too(fit: Callable[[Examples], Any]) -> None:
    rng = np.random.default_rng(0)
    features, slopes = rng.normal(size=(400, 4)), rng.normal(size=(4, 3)) * 0.6
    truth = sigmoid(features @ slopes)
    seen = np.where(rng.random(truth.shape) < 0.5, truth, np.nan)
    missing = np.isnan(seen)
    predicted = fit(examples(seen, features)).predict(features)
    assert np.abs(predicted - truth)[missing].mean() < 0.25 * np.abs(truth - truth.mean(axis=0))[missing].mean()


def test_the_gradient_of_surprise_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    pairs = Comparisons(np.array([0, 0, 2]), np.array([0, 1, 2]), np.array([1, 2, 0]), np.array([1.0, 0.5, 1.0]), np.array([1.0, 2.0, 0.5]))
    table = examples([[0.3, np.nan, 1.0], [np.nan, 0.0, 0.5], [1.0, 1.0, np.nan]], comparisons=pairs)
    score, step = rng.normal(size=(3, 3)), 1e-6
    _, gradient = negative_log_likelihood(score, table)
    for cell in np.ndindex(3, 3):
        nudge = np.zeros((3, 3))
        nudge[cell] = step
        slope = (negative_log_likelihood(score + nudge, table)[0] - negative_log_likelihood(score - nudge, table)[0]) / (2 * step)
        assert gradient[cell] == pytest.approx(slope, abs=1e-6)


def test_surprise_is_the_bernoulli_and_the_bradley_terry_likelihood() -> None:
    pair = Comparisons(np.array([0]), np.array([1]), np.array([0]), np.array([1.0]), np.array([2.0]))
    loss, _ = negative_log_likelihood(np.array([[0.4, 1.1]]), examples([[0.25, np.nan]], comparisons=pair))
    p = 1 / (1 + np.exp(-0.4))
    assert loss == pytest.approx(-0.25 * np.log(p) - 0.75 * np.log(1 - p) + 2 * np.log1p(np.exp(-0.7)))


def test_the_most_probable_parameter_balances_evidence_and_prior() -> None:
    found = map_estimate(lambda at: (0.5 * float((at["x"] - 3.0) @ (at["x"] - 3.0)), {"x": at["x"] - 3.0}), {"x": np.zeros(2)}, {"x": 2.0}, 50)
    np.testing.assert_allclose(found["x"], [1.0, 1.0], rtol=1e-5)


def test_offsets_are_the_scores_of_the_means_and_stay_finite() -> None:
    table = examples([[1.0, 0.0, 0.2], [1.0, 0.0, 0.4]])
    np.testing.assert_allclose(sigmoid(offsets(table)), [0.999, 0.001, 0.3])


def test_trees_walk_as_the_library_does(noisy: Examples) -> None:
    full = examples(np.nan_to_num(noisy.quality, nan=0.5), noisy.features)
    options = gbdt.GbdtOptions(trees=20, depth=3, learning_rate=0.1, leaf_rows=5)
    function = gbdt.Trees.fit(full, options, 3)
    library = GradientBoostingRegressor(
        n_estimators=20, max_depth=3, learning_rate=0.1, min_samples_leaf=5, subsample=gbdt.SUBSAMPLE, max_features="sqrt", random_state=3
    ).fit(full.features, full.quality[:, 1])
    rows = np.random.default_rng(1).normal(size=(50, 4))
    np.testing.assert_allclose(function.predict(rows)[:, 1], library.predict(rows), atol=1e-6)


def test_an_abler_candidate_is_never_expected_to_do_worse_in_irt() -> None:
    rng = np.random.default_rng(0)
    function = irt.ItemResponse(np.array([[0.1, 0.2], [0.3, 0.9]]), rng.normal(size=(4, 2)), rng.normal(size=4))
    quality = function.predict(rng.normal(size=(200, 4)) * 3)
    assert (quality[:, 1] > quality[:, 0]).all()


def test_an_svm_that_tells_nothing_apart_says_the_mean() -> None:
    rng = np.random.default_rng(0)
    table = examples(rng.integers(0, 2, size=(400, 2)), rng.normal(size=(400, 3)))
    predicted = svm.Margins.fit(table, svm.SvmOptions(C=0.01), 0).predict(rng.normal(size=(50, 3)))
    np.testing.assert_allclose(predicted, np.tile(table.means, (50, 1)), atol=0.12)


@pytest.mark.parametrize("penalty", [1e-300, 1e150])
def test_an_svm_takes_no_weight_with_which_its_training_never_ends(penalty: float) -> None:
    with pytest.raises(ConfigError, match=f"C must be .*, not {re.escape(str(penalty))}"):
        configure(svm.SvmOptions, {"C": penalty}, where="svm")


def test_examples_know_the_near_duplicates_of_their_rows() -> None:
    dataset = Dataset([Query(text) for text in ("one", "two", "one!")], question_groups=np.array([0, 1, 0]))
    assert examples_of(dataset, Pool([Candidate("a")]), np.zeros((3, 1))).take(np.array([1, 2])).questions.group.tolist() == [1, 0]


def test_rows_of_one_question_share_a_fold_and_folds_are_of_a_size() -> None:
    fold = fold_of(Questions(np.repeat(np.arange(50), 2)), 5, 0)
    assert (fold[::2] == fold[1::2]).all()
    np.testing.assert_array_equal(np.bincount(fold), [20] * 5)
