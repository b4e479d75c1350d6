from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_baselines.supervised import WEIGHT_FLOOR, inputs, sample_preferences

from aamc_sdk.errors import CheckpointError, DataError, EstimatesError
from aamc_sdk.interfaces import Training
from aamc_sdk.routing import build_request
from aamc_sdk.types import Dataset, Estimates, Outcomes, Pool, Query, RoutingRequest

ROWS = 300


def make_training(pool: Pool, seed: int = 0, embedding: bool = True, categories: tuple[str, ...] = ("code", "prose")) -> Training:
    """Code is done by the large candidate only, prose by all; the embedding says no more than noise."""
    rng = np.random.default_rng(seed)
    code = rng.random(ROWS) < 0.5
    quality = np.where(code[:, None], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0])[:, : len(pool)]
    outcomes = Outcomes(quality, np.tile([1.0, 2.0, 10.0][: len(pool)], (ROWS, 1)), np.tile([100.0, 200.0, 500.0][: len(pool)], (ROWS, 1)))
    queries = [Query(f"query {seed} {n}") for n in range(ROWS)]
    estimates = Estimates(
        np.full(ROWS, np.nan),
        np.column_stack((code, ~code)).astype(float)[:, : len(categories)],
        categories,
        np.full(ROWS, np.nan),
        rng.normal(size=(ROWS, 6)) if embedding else None,
    )
    request = build_request(queries, pool, np.array([0.9, 0.08, 0.02]), estimates=estimates)
    return Training(
        dataset=Dataset(queries, pool, outcomes), request=request, validation=Dataset(queries, pool, outcomes), validation_request=request
    )


def request_of(training: Training) -> RoutingRequest:
    assert training.request is not None
    return training.request


@pytest.fixture
def trained(make_router: Any, pool: Pool) -> Any:
    return make_router("supervised", train=True, on=make_training(pool), samples=5000)


def is_code(request: RoutingRequest) -> Any:
    return request.estimates.categories[:, 0] > 0.5


def test_it_learns_which_queries_need_the_large_candidate(trained: Any, choose: Any, pool: Pool) -> None:
    request = request_of(make_training(pool, seed=1))
    chosen = np.array(choose(trained, request))
    assert (chosen[is_code(request)] == "large").mean() > 0.98
    assert (chosen[~is_code(request)] == "small").mean() > 0.98


def test_where_quality_does_not_count_everything_goes_to_the_cheapest(trained: Any, choose: Any, pool: Pool) -> None:
    request = request_of(make_training(pool, seed=1)).with_preference(np.array([0.0, 1.0, 0.0]))
    assert set(choose(trained, request)) == {"small"}


def test_training_reports_its_accuracy_on_both_splits(make_router: Any, pool: Pool) -> None:
    training = make_training(pool)
    figures = make_router("supervised", on=training, samples=5000).train(training)
    assert figures["train_accuracy"] > 0.9
    assert figures["validation_accuracy"] > 0.9


def test_the_same_seed_gives_the_same_classifier(make_router: Any, pool: Pool, trained: Any) -> None:
    again = make_router("supervised", train=True, on=make_training(pool), samples=5000)
    request = request_of(make_training(pool, seed=2))
    np.testing.assert_array_equal(again.score(request).utility, trained.score(request).utility)


def test_it_comes_back_as_it_was_saved(make_router: Any, trained: Any, pool: Pool, tmp_path: Path) -> None:
    trained.save(tmp_path)
    fresh = make_router("supervised")
    fresh.load(tmp_path)
    request = request_of(make_training(pool, seed=2))
    np.testing.assert_allclose(fresh.score(request).utility, trained.score(request).utility, rtol=1e-12)  # another memory order


def test_a_checkpoint_of_something_else_is_refused(make_router: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "classifier.npz", other=np.zeros(3))
    with pytest.raises(CheckpointError, match="train again"):
        make_router("supervised").load(tmp_path)


def test_candidates_go_by_name_and_newcomers_come_last(trained: Any, make_pool: Any, pool: Pool) -> None:
    training = make_training(pool, seed=1)
    usual = trained.score(request_of(training)).utility
    changed = make_pool(large=10.0, newcomer=0.1, small=1.0, middle=2.0)
    request = request_of(training)
    moved = trained.score(build_request(request.queries, changed, request.preferences, estimates=request.estimates)).utility
    np.testing.assert_allclose(moved[:, [2, 3, 0]], usual)
    assert (moved[:, 1] < moved[:, [0, 2]].min(axis=1)).all()


def test_untrained_it_says_what_to_do(make_router: Any, make_request: Any) -> None:
    with pytest.raises(EstimatesError, match="train it first"):
        make_router("supervised").score(make_request())


def test_another_embedding_than_in_training_is_refused(trained: Any, pool: Pool) -> None:
    with pytest.raises(EstimatesError, match="width 6 and got none"):
        trained.score(request_of(make_training(pool, embedding=False)))


def test_it_works_without_an_estimator_and_for_a_batch_of_none(make_router: Any, make_request: Any, pool: Pool) -> None:
    training = make_training(pool, embedding=False, categories=())
    router = make_router("supervised", train=True, on=training, samples=1000)
    assert router.score(make_request(rows=0)).utility.shape == (0, 3)
    assert np.isfinite(router.score(make_request()).utility).all()


@pytest.mark.parametrize("size", [1, 2])
def test_few_candidates_are_enough(size: int, make_router: Any, pool: Pool) -> None:
    training = make_training(Pool(pool.candidates[:size]))
    router = make_router("supervised", train=True, on=training, samples=500)
    assert router.score(request_of(training)).utility.shape == (ROWS, size)


def test_of_two_classes_the_better_one_wins(make_router: Any, choose: Any, make_pool: Any) -> None:
    pair = make_pool(weak=1.0, strong=10.0)
    training = make_training(make_pool(small=1.0, middle=2.0, large=10.0))
    assert training.dataset.outcomes is not None
    dataset = Dataset(training.dataset.queries, pair, training.dataset.outcomes.columns([0, 2]))
    source = request_of(training)
    request = build_request(source.queries, pair, source.preferences, estimates=source.estimates)
    router = make_router("supervised", train=True, on=Training(dataset=dataset, request=request), samples=5000)
    chosen = np.array(choose(router, request))
    assert (chosen[is_code(request)] == "strong").mean() > 0.98
    assert (chosen[~is_code(request)] == "weak").mean() > 0.98


def test_without_known_outcomes_there_is_nothing_to_learn(make_router: Any, pool: Pool) -> None:
    training = make_training(pool)
    unlabelled = Training(dataset=Dataset(training.dataset.queries, pool), request=training.request)
    with pytest.raises(DataError, match="learns from outcomes"):
        make_router("supervised").train(unlabelled)


def with_gaps(dataset: Dataset, gaps: Any) -> Dataset:
    """Return a dataset without the outcomes of some cells ``[Q, M]``."""
    assert dataset.outcomes is not None
    columns = (dataset.outcomes.known_quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms)
    return attrs.evolve(dataset, outcomes=Outcomes(*(np.where(gaps, np.nan, values) for values in columns)))


def test_missing_cells_are_left_out_and_the_others_still_teach(make_router: Any, choose: Any, pool: Pool) -> None:
    training = make_training(pool)
    gaps = np.zeros((ROWS, len(pool)), dtype=bool)
    gaps[np.arange(ROWS), np.arange(ROWS) % 2] = True  # no row is complete; the large candidate is always known
    router = make_router("supervised", on=training, samples=5000)
    router.train(attrs.evolve(training, dataset=with_gaps(training.dataset, gaps)))
    request = request_of(make_training(pool, seed=1))
    chosen = np.array(choose(router, request))
    assert (chosen[is_code(request)] == "large").mean() > 0.95
    assert (chosen[~is_code(request)] == "large").mean() < 0.05


def test_a_candidate_that_validation_does_not_know_is_not_what_accuracy_is_about(make_router: Any, pool: Pool) -> None:
    training, nothing = make_training(pool), np.ones((ROWS, len(pool)), dtype=bool)
    assert training.validation is not None
    large = np.broadcast_to(np.array(pool.names) == "large", nothing.shape)
    for gaps, reported in ((large, True), (nothing, False)):
        some = attrs.evolve(training, validation=with_gaps(training.validation, gaps))
        figures = make_router("supervised", on=training, samples=5000).train(some)
        assert ("validation_accuracy" in figures) == reported
        if reported:
            assert figures["validation_accuracy"] > 0.6  # of the small and the medium one, each at its preferences


def test_the_inputs_are_as_documented() -> None:
    got = inputs(np.array([[2.0, -1.0]]), np.array([[0.5, 0.25, 0.25]]))
    ratio = np.log((0.25 + WEIGHT_FLOOR) / (0.5 + WEIGHT_FLOOR))
    np.testing.assert_allclose(got, [[1.0, -0.5, 0.5, 0.25, 0.25, ratio, ratio]])


def test_training_preferences_lie_on_the_simplex_and_half_of_them_without_latency() -> None:
    preferences = sample_preferences(4000, np.random.default_rng(0))
    assert (preferences >= 0).all()
    np.testing.assert_allclose(preferences.sum(axis=1), 1)
    assert (preferences[:, 2] == 0).mean() == pytest.approx(0.5, abs=0.03)
