"""What all learned routers share: tables, missing cells, newcomers, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import CheckpointError, DataError, EstimatesError
from aamc_sdk.interfaces import Training
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import build_request
from aamc_sdk.types import Dataset, Estimates, Outcomes, Pool, Query

QUICK: dict[str, dict[str, Any]] = {
    "knn": {"neighbours": 100},
    "ridge": {"alpha": 30.0},
    "logistic": {"alpha": 3.0},
    "svm": {"C": 0.01},
    "mlp": {"hidden": 8, "alpha": 3.0},
    "gbdt": {"trees": 60, "depth": 3, "leaf_rows": 30},
    "mf": {"rank": 2, "alpha": 3.0},
    "irt": {"dimensions": 4, "alpha": 3.0, "spread": 0.5},
    "ensemble": {"members": {"knn": {"neighbours": 100}, "ridge": {"alpha": 30.0}}, "folds": 3},
}
"""Weak priors: the made tables below have little noise."""
NAMES = sorted(QUICK)
TRUTH = np.array([[0.9, 0.2, 0.6], [0.1, 0.8, 0.6], [0.5, 0.5, 0.1]])
"""The success rate of each candidate on each kind of question."""


def make_training(pool: Pool, rows: int = 600, seed: int = 0, missing: float = 0.0) -> Training:
    """Questions of three kinds that lie apart in the embedding; outcomes are successes at the kind's rate."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    embedding = np.eye(3, 5)[kind] * 3 + rng.normal(size=(rows, 5)) * 0.3 + 7.0
    quality = (rng.random((rows, 3)) < TRUTH[kind]).astype(float)
    quality[rng.random((rows, 3)) < missing] = np.nan
    outcomes = Outcomes(quality, np.tile([1.0, 2.0, 10.0], (rows, 1)), np.tile([100.0, 200.0, 500.0], (rows, 1)))
    queries = [Query(f"question {seed} {n}") for n in range(rows)]
    unknown = np.full(rows, np.nan)
    estimates = Estimates(unknown, np.empty((rows, 0)), (), unknown, embedding)
    request = build_request(queries, pool, np.array([0.9, 0.08, 0.02]), estimates=estimates)
    dataset = Dataset(queries, pool, outcomes)
    return Training(dataset=dataset, request=request, validation=dataset, validation_request=request)


def rates(training: Training) -> Any:
    """Return the true success rates of a training's rows, ``[N, M]``."""
    assert training.request is not None
    assert training.request.estimates.embedding is not None
    return TRUTH[training.request.estimates.embedding[:, :3].argmax(axis=1)]


@pytest.fixture
def trained(make_router: Any, pool: Pool) -> Any:
    """Train a learned router on a made table; the ensemble's members come from the installed plugins."""

    def train(name: str, on: Training, options: dict[str, Any] | None = None) -> Any:
        router = make_router(name, on=on, **(QUICK[name] if options is None else options))
        plugins = Plugins()
        router.services = attrs.evolve(router.services, make=lambda kind, member, given: plugins.make(kind, member, router.services, given))
        router.train(on)
        return router

    return train


@pytest.mark.parametrize("missing", [0.0, 0.6])
@pytest.mark.parametrize("name", NAMES)
def test_it_learns_which_questions_a_candidate_answers(name: str, missing: float, trained: Any, pool: Pool) -> None:
    router = trained(name, make_training(pool, missing=missing))
    asked = make_training(pool, rows=200, seed=1)
    expected = router.score(asked.request).expected_quality
    assert np.abs(expected - rates(asked)).mean() < (0.08 if missing == 0 else 0.13)
    assert (expected.argmax(axis=1) == rates(asked).argmax(axis=1))[rates(asked)[:, 2] > 0.5].mean() > (0.95 if missing == 0 else 0.85)
    assert (expected >= 0).all()
    assert (expected <= 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_utility_is_the_reward_of_its_own_expectation(name: str, trained: Any, pool: Pool) -> None:
    router, request = trained(name, make_training(pool)), make_training(pool, rows=20, seed=1).request
    assert request is not None
    scores = router.score(request)
    own = Outcomes(scores.expected_quality, request.expected.cost_usd, request.expected.latency_ms)
    np.testing.assert_array_equal(scores.utility, router.services.reward.scalar(own, request.preferences))


@pytest.mark.parametrize("name", NAMES)
def test_at_its_defaults_a_dozen_rows_of_noise_hardly_move_it_from_the_candidates_means(name: str, trained: Any, pool: Pool) -> None:
    few = make_training(pool, rows=12)
    assert few.dataset.outcomes is not None
    expected = trained(name, few, {}).score(few.request).expected_quality
    assert np.abs(expected - few.dataset.outcomes.known_quality.mean(axis=0)).mean() < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_training_reports_its_error_beside_that_of_the_means(name: str, trained: Any, make_router: Any, pool: Pool) -> None:
    training = make_training(pool)
    router = trained(name, training)
    figures = router.train(training)
    assert training.dataset.outcomes is not None
    quality = training.dataset.outcomes.known_quality
    assert figures["validation_error_of_means"] == pytest.approx(quality.var(axis=0).mean())
    expected = router.score(training.request).expected_quality
    assert figures["validation_error"] == pytest.approx(((expected - quality) ** 2).mean())
    assert figures["validation_error"] < figures["validation_error_of_means"]


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_as_it_was_saved_and_one_seed_gives_one_result(name: str, trained: Any, pool: Pool, tmp_path: Path) -> None:
    router, request = trained(name, make_training(pool, missing=0.3)), make_training(pool, rows=50, seed=1).request
    before = router.score(request).utility
    router.save(tmp_path)
    router.learned = None
    router.load(tmp_path)
    np.testing.assert_allclose(router.score(request).utility, before, rtol=1e-9)  # another memory order
    np.testing.assert_array_equal(trained(name, make_training(pool, missing=0.3)).score(request).utility, before)


def test_another_routers_checkpoint_is_refused(trained: Any, pool: Pool, tmp_path: Path) -> None:
    training = make_training(pool, rows=50)
    trained("ridge", training).save(tmp_path)
    with pytest.raises(CheckpointError, match="does not hold what knn learns"):
        trained("knn", training).load(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_without_any_outcome_is_taken_for_average(name: str, trained: Any, pool: Pool) -> None:
    training = make_training(pool)
    assert training.dataset.outcomes is not None
    quality = training.dataset.outcomes.known_quality.copy()
    quality[:, 1] = np.nan
    outcomes = attrs.evolve(training.dataset.outcomes, quality=quality)
    router = trained(name, attrs.evolve(training, dataset=attrs.evolve(training.dataset, outcomes=outcomes)))
    assert router.score(training.request).expected_quality[:, 1].mean() == pytest.approx(np.nanmean(quality), abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_where_every_outcome_is_the_same_nothing_else_is_expected(name: str, trained: Any, pool: Pool) -> None:
    training = make_training(pool, rows=60)
    assert training.dataset.outcomes is not None
    same = attrs.evolve(training.dataset.outcomes, quality=np.ones((60, 3)))
    router = trained(name, attrs.evolve(training, dataset=attrs.evolve(training.dataset, outcomes=same)))
    np.testing.assert_allclose(router.score(training.request).expected_quality, 1.0, atol=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_row_is_enough(name: str, trained: Any, pool: Pool) -> None:
    training = make_training(pool, rows=1)
    assert np.isfinite(trained(name, training).score(training.request).utility).all()


def test_a_newcomer_has_the_quality_that_is_expected_of_it_else_the_mean_of_the_known(trained: Any, make_pool: Any, pool: Pool) -> None:
    router, asked = trained("ridge", make_training(pool)), make_training(pool, rows=20, seed=1).request
    assert asked is not None
    known = router.score(asked).expected_quality
    changed = make_pool(large=10.0, newcomer=0.1, small=1.0)
    quality = np.full((20, 3), np.nan)
    quality[:10, 1] = 0.77
    request = build_request(asked.queries, changed, asked.preferences, estimates=asked.estimates, quality=quality)
    expected = router.score(request).expected_quality
    np.testing.assert_array_equal(expected[:, [0, 2]], known[:, [2, 0]])
    np.testing.assert_array_equal(expected[:10, 1], 0.77)
    np.testing.assert_allclose(expected[10:, 1], known[10:].mean(axis=1))


def test_rows_are_predicted_in_parts_that_change_nothing(trained: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    router, request = trained("knn", make_training(pool)), make_training(pool, rows=50, seed=1).request
    whole = router.score(request).utility
    monkeypatch.setattr("aamc_baselines.quality.utility_router.ROWS_PER_BATCH", 7)
    np.testing.assert_allclose(router.score(request).utility, whole, atol=1e-6)


def with_embedding(training: Training, embedding: Any) -> Any:
    assert training.request is not None
    return attrs.evolve(training.request, estimates=attrs.evolve(training.request.estimates, embedding=embedding))


def test_an_embedding_with_nan_is_refused_in_training_and_in_service(trained: Any, pool: Pool) -> None:
    training = make_training(pool, rows=30)
    embedding = np.ones((30, 5))
    embedding[4, 2] = np.nan
    broken = with_embedding(training, embedding)
    with pytest.raises(EstimatesError, match="query 4 has NaN"):
        trained("knn", attrs.evolve(training, request=broken))
    with pytest.raises(EstimatesError, match="query 4 has NaN"):
        trained("knn", training).score(broken)


def test_another_embedding_than_in_training_is_refused(trained: Any, pool: Pool) -> None:
    training = make_training(pool, rows=30)
    router = trained("ridge", training)
    with pytest.raises(EstimatesError, match="and got none"):
        router.score(with_embedding(training, None))
    with pytest.raises(EstimatesError, match="width 5 and got 4"):
        router.score(with_embedding(training, np.ones((30, 4))))


def test_without_an_embedding_numbers_and_categories_are_seen(make_router: Any, make_request: Any, pool: Pool) -> None:
    hard = np.arange(200) % 2 == 0
    request = make_request(rows=200, complexity=np.where(hard, 0.9, 0.1))
    table = np.where(hard[:, None], [0.0, 0.5, 1.0], [1.0, 0.5, 1.0])
    outcomes = Outcomes(table, np.tile([1.0, 2.0, 10.0], (200, 1)), np.tile([100.0, 200.0, 500.0], (200, 1)))
    training = Training(dataset=Dataset(request.queries, pool, outcomes), request=request)
    expected = make_router("ridge", train=True, on=training, alpha=1.0).score(request).expected_quality
    np.testing.assert_allclose(expected, table, atol=0.05)


def test_untrained_or_without_outcomes_it_says_what_to_do(make_router: Any, make_request: Any, pool: Pool) -> None:
    with pytest.raises(EstimatesError, match="aamc train --router knn"):
        make_router("knn").score(make_request())
    training = make_training(pool, rows=30)
    with pytest.raises(DataError, match="gbdt learns from outcomes"):
        make_router("gbdt").train(attrs.evolve(training, dataset=Dataset(training.dataset.queries, pool)))
    with pytest.raises(EstimatesError, match="as a router sees them"):
        make_router("gbdt").train(Training(dataset=training.dataset))
