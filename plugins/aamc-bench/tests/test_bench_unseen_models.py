from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_bench.samples import Sample
from aamc_bench.unseen_models.benchmark import EXPECTED, ROUTING, UnseenModelsBenchmark
from aamc_bench.unseen_models.jobs import (
    DESCRIBED,
    FULL,
    WITHOUT,
    NewcomerExperiment,
    choose_newcomers,
    completed,
    measure,
    of_others,
    sample_of,
    with_few_outcomes,
)
from aamc_experiments.settings import Settings, read_settings
from aamc_experiments.setup import ExperimentSetup, make_setup

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Dataset, Outcomes

pytestmark = pytest.mark.usefixtures("in_process")

NEW = "middle"
"""The newcomer of the tests' stage."""


@pytest.fixture(scope="module")
def settings(outcomes) -> Settings:
    options = {"router": "greedy", "routers": ["greedy", "knn", "oracle"], "estimator": "lexical", "dataset": outcomes}
    return read_settings({**options, "evaluation": {"resamples": 20}})


@pytest.fixture(scope="module")
def setup(settings) -> ExperimentSetup:
    return make_setup(settings, get_plugin_manager())


def stage_of(settings: Settings, setup: ExperimentSetup) -> NewcomerExperiment:
    return NewcomerExperiment(settings, get_plugin_manager(), NoProgress(), setup, [NEW], Path("nothing is left out"))


def test_newcomers_follow_from_the_seed_and_leave_two_others() -> None:
    drawn = [tuple(choose_newcomers(POOL, 2, seed)) for seed in range(20)]
    assert drawn == [tuple(choose_newcomers(POOL, 2, seed)) for seed in range(20)]
    assert set().union(*drawn) == set(POOL.names)
    assert all(len(set(names)) == 2 for names in drawn)
    with pytest.raises(DataError, match="takes 3 away and needs 2 others"):
        choose_newcomers(POOL, 3, seed=0)


def test_so_many_cells_of_each_newcomer_are_left_and_lesser_counts_are_among_them() -> None:
    dataset, new = make_dataset(60), ["SLM-Medium", "LLM-Code"]
    columns, others = [POOL.index(name) for name in new], [POOL.index("SLM-Tiny"), POOL.index("LLM-XLarge")]
    few, more = (with_few_outcomes(dataset, new, count, seed=4).outcomes for count in (5, 20))
    for values, whole in ((more.known_quality, dataset.outcomes.known_quality), (more.cost_usd, dataset.outcomes.cost_usd)):
        assert np.isfinite(values[:, columns]).sum(axis=0).tolist() == [20, 20]
        assert (values[:, others] == whole[:, others]).all()
    known = np.isfinite(few.known_quality[:, columns])
    assert known.sum(axis=0).tolist() == [5, 5]
    assert (few.known_quality[:, columns][known] == more.known_quality[:, columns][known]).all()
    assert (known[:, 0] != known[:, 1]).any()


def test_more_outcomes_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match="SLM-Tiny has 60 outcomes in the training rows and not 61"):
        with_few_outcomes(make_dataset(60), ["SLM-Tiny"], 61, seed=0)


def test_only_missing_cells_are_completed_by_what_is_expected() -> None:
    dataset = with_few_outcomes(make_dataset(30), ["SLM-Tiny"], 10, seed=0)
    request = make_request(dataset)
    whole, column = completed(dataset, request).outcomes, POOL.index("SLM-Tiny")
    missing = np.isnan(dataset.outcomes.known_quality)
    assert missing.sum() == 20
    assert (whole.known_quality[missing] == request.expected.known_quality[missing]).all()
    assert (whole.known_quality[~missing] == dataset.outcomes.known_quality[~missing]).all()
    assert (whole.latency_ms[missing[:, column], column] == request.expected.latency_ms[missing[:, column], column]).all()


def test_each_level_knows_what_its_name_says(settings, setup) -> None:
    stage = stage_of(settings, setup)
    known = {level: stage.known(level) for level in (DESCRIBED, "10", FULL)}
    assert known[DESCRIBED]["train"].pool.names == ("small", "large")
    new = [known["10"][split].outcomes.known_quality[:, known["10"][split].pool.index(NEW)] for split in ("train", "validation")]
    assert [np.isfinite(column).sum() for column in new] == [10, 0]
    assert known[FULL]["train"] is setup.splits["train"]


def _failing(dataset: Dataset) -> Dataset:
    """Return the rows with a newcomer that never succeeds."""
    quality = dataset.outcomes.known_quality.copy()
    quality[:, dataset.pool.index(NEW)] = 0.0
    return attrs.evolve(dataset, outcomes=Outcomes(quality, dataset.outcomes.cost_usd, dataset.outcomes.latency_ms))


@pytest.mark.parametrize(("level", "sees"), [(DESCRIBED, False), (FULL, True)])
def test_by_description_alone_training_sees_no_outcome_of_a_newcomer(settings, setup, level, sees) -> None:
    changed = attrs.evolve(setup, splits={**setup.splits, "train": _failing(setup.splits["train"])})
    first, second = (_expectations(stage_of(settings, one), level) for one in (setup, changed))
    assert np.isfinite(first).all()
    assert (first == second).all() != sees


def _expectations(stage: NewcomerExperiment, level: str) -> np.ndarray:
    return stage.compare(*stage.train(level), level, available=True).expected_quality[:2]  # greedy's and knn's


def test_a_newcomer_that_is_not_available_is_never_chosen(settings, setup) -> None:
    stage = stage_of(settings, setup)
    trained = stage.train(DESCRIBED)
    shares = {}
    for available in (False, True):
        comparison = stage.compare(*trained, DESCRIBED, available=available)
        shares[available] = sample_of(comparison, setup, settings, [NEW], available=available).figures["new_share"][:, 0]
    assert (shares[False] == 0).all()
    assert shares[True][2] > 0  # the oracle knows better


def test_without_newcomers_the_frontier_begins_at_the_cheapest_of_the_others(settings, setup) -> None:
    cheapest = "small"
    stage = attrs.evolve(stage_of(settings, setup), newcomers=[cheapest])
    comparison = stage.compare(*stage.train(DESCRIBED), DESCRIBED, available=False)
    others, before = of_others(comparison, [cheapest]), comparison.realised(0)
    assert others.candidates.tolist() == ["middle", "large"]
    assert np.array_equal(others.realised(0).cost_usd, before.cost_usd)
    assert np.array_equal(others.realised(0).known_quality, before.known_quality)
    changed = attrs.evolve(comparison, quality=np.where(comparison.candidates == cheapest, 1.0 - comparison.quality, comparison.quality))
    aiq, same = (sample_of(one, setup, settings, [cheapest], available=False).figures["aiq"] for one in (comparison, changed))
    assert np.array_equal(aiq, same)  # what the absent candidate would have done counts for nothing


def test_errors_of_what_is_expected_are_those_of_the_newcomers_alone(settings, setup) -> None:
    stage = stage_of(settings, setup)
    comparison = stage.compare(*stage.train(FULL), FULL, available=True)
    column = comparison.candidates.tolist().index(NEW)
    comparison.expected_quality[0, :, column] = 0.75
    quality = comparison.quality[:, column]  # 0 or 1
    figures = sample_of(comparison, setup, settings, [NEW], available=True).figures
    wrong = (quality == 0).mean()
    assert figures["new_mae"][0, 0] == pytest.approx(0.75 * wrong + 0.25 * (1 - wrong))
    assert figures["new_brier"][0, 0] == pytest.approx(0.75**2 * wrong + 0.25**2 * (1 - wrong))


def test_each_dataset_seed_and_level_is_a_job() -> None:
    options = UnseenModelsBenchmark().options(routers="greedy", estimator="lexical", seeds=[0, 1], outcomes=[20, 5])
    assert list(UnseenModelsBenchmark().variants(options)) == [DESCRIBED, "5", "20", FULL]
    jobs = UnseenModelsBenchmark().jobs(options)
    assert len({job.key for job in jobs}) == len(jobs) == 8
    assert {job.arguments["settings"]["seed"] for job in jobs} == {0, 1}


def test_a_seed_counts_only_where_all_its_levels_are_done(tmp_path) -> None:
    options = UnseenModelsBenchmark().options(routers="greedy", estimator="lexical", seeds=[0, 1], outcomes=[5])
    document = _document(options, tmp_path, lambda seed, level: (seed, level) != (1, "5"))
    assert [choice["seed"] for choice in document["datasets"][0]["seeds"]] == [0]
    assert [record["known"] for record in document["records"]] == [WITHOUT, DESCRIBED, "5", FULL]


def test_a_level_that_no_seed_has_leaves_the_others_in_the_table(tmp_path) -> None:
    options = UnseenModelsBenchmark().options(routers="greedy", estimator="lexical", seeds=[0, 1], outcomes=[5, 900])
    document = _document(options, tmp_path, lambda seed, level: level != "900")
    assert [choice["seed"] for choice in document["datasets"][0]["seeds"]] == [0, 1]
    assert [record["known"] for record in document["records"]] == [WITHOUT, DESCRIBED, "5", FULL]
    assert _document(options, tmp_path, lambda seed, level: level != DESCRIBED)["records"] == []


def _document(options, folder: Path, succeeds) -> dict:
    """Return the document of jobs that each measured one router on two rows, as far as they succeeded."""
    results = {}
    for job in UnseenModelsBenchmark().jobs(options):
        seed, level = job.arguments["settings"]["seed"], job.arguments["level"]
        if succeeds(seed, level):
            results[job.key] = [{"newcomers": ["a"], "queries": 2}]
            for measured in (WITHOUT, DESCRIBED) if level == DESCRIBED else (level,):
                figures = {metric: np.full((1, 11), 0.5) for metric in ROUTING + EXPECTED}
                sample = Sample(np.array(["greedy"]), figures, np.zeros((1, 2)), np.array([f"{seed}a", f"{seed}b"]))
                sample.save(folder / "jobs" / job.key / f"{measured}.npz")
    return UnseenModelsBenchmark().document(options, results, folder)


@pytest.mark.one_python
def test_the_command_pairs_every_level_with_routing_without_newcomers(aamc, outcomes) -> None:
    arguments = ("--dataset", outcomes, "--routers", "greedy,ridge,oracle", "--estimator", "lexical", "--seeds", "1", "--outcomes", "8")
    status, out, err = aamc("bench", "unseen-models", *arguments, "--set", "evaluation.resamples=50", "--out", "there", "--json")
    assert status == 0, err
    document = json.loads(out)
    rows = {(row["known"], row["router"]): row for row in document["records"]}
    assert list(dict.fromkeys(row["known"] for row in document["records"])) == [WITHOUT, DESCRIBED, "8", FULL]
    for (known, router), row in rows.items():
        if known != WITHOUT:
            assert row["gain"]["value"] == pytest.approx(row["mean_reward"]["value"] - rows[WITHOUT, router]["mean_reward"]["value"])
        assert ("new_brier" in row) == (known != WITHOUT and router != "oracle")
    assert rows[WITHOUT, "greedy"]["new_share"]["value"] == 0
    assert len(document["datasets"][0]["seeds"][0]["newcomers"]) == 1
    assert Path("there/figures/unseen-models.png").stat().st_size > 0
    status, out, _ = aamc("bench", "unseen-models", "--resume", "there")
    assert status == 0
    assert "Routing with unseen candidates" in out


def test_two_candidates_are_too_few(settings, tmp_path) -> None:
    rows = [{"query": f"question {n}", "outcomes": {name: {"quality": 1.0, "cost_usd": 1.0} for name in "ab"}} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    two = {**settings.to_dict(), "dataset": f"outcomes:{tmp_path / 'rows.jsonl'}"}
    with pytest.raises(DataError, match="the data has 2 candidates"):
        measure(tmp_path, NoProgress(), two, 1, DESCRIBED)
