"""The budgets of ``aamc bench bandit``: the traffic, the linear program, ParetoBandit, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bench.bandit.benchmark import BanditBenchmark
from aamc_bench.bandit.budgets import DAY_S, MIDNIGHT, PARETO, PER_DAY, PER_REQUEST, TRAFFIC, best_of, choices_of, figures_of, make_budget_stream
from aamc_bench.bandit.replay_data import ReplayData
from scipy.optimize import linprog

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Services, Training
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import POOL, make_dataset, make_request, make_reward
from aamc_sdk.types import Outcomes

pytestmark = [pytest.mark.one_python, pytest.mark.usefixtures("in_process")]
ROWS = 240


@pytest.fixture(scope="module")
def data() -> ReplayData:
    """Rows of the tiny world, whose routers train on the same ones without outcomes."""
    dataset = make_dataset(ROWS)
    request = make_request(dataset)
    request = attrs.evolve(request, mask=np.ones_like(request.mask), masked_why={})
    plugins = get_plugin_manager()
    services = Services(pool=POOL, reward=make_reward(dataset), make=lambda kind, name, options: plugins.make(kind, name, services, options))
    training = Training(dataset=attrs.evolve(dataset, outcomes=None), request=request)
    return ReplayData(request, request, dataset.outcomes, 3, training, services, dataset.outcomes)


def test_requests_come_within_a_day_and_reports_after_them(data: ReplayData) -> None:
    for traffic in TRAFFIC:
        stream = make_budget_stream(traffic, data, ROWS, 0.3, seed=0, number=0)
        assert (np.diff(stream.times) >= 0).all()
        assert MIDNIGHT <= stream.times[0] <= stream.times[-1] <= MIDNIGHT + DAY_S
        assert (stream.feedback_at > np.arange(ROWS)).all()
        assert stream.request.preferences.tolist() == [[1, 0, 0]] * ROWS


def test_bursts_are_bursts_and_drift_changes_the_best_candidate_from_the_middle_on(data: ReplayData) -> None:
    plain, drift, bursty = (make_budget_stream(traffic, data, ROWS, 0.3, seed=0, number=0) for traffic in TRAFFIC)
    gaps = [np.diff(stream.times).std() / np.diff(stream.times).mean() for stream in (plain, bursty)]
    assert gaps[1] > 1.3 * gaps[0]
    dearer = drift.outcomes.cost_usd / plain.outcomes.cost_usd
    np.testing.assert_allclose(dearer[ROWS // 2 :, best_of(data)], 1.5)
    assert (np.delete(dearer, best_of(data), axis=1) == 1).all()


@pytest.mark.parametrize(
    ("quality", "cost", "budget", "expected"),
    [
        ([[0, 1, 1]], [[1, 2, 10]], 1, 0),
        ([[0, 1, 1]], [[1, 2, 10]], 1.5, 0.5),  # half of a step to the second candidate
        ([[0, 0.5, 0.6], [0, 0.3, 1]], [[1, 2, 6], [1, 3, 5]], 4, 0.5 + 0.25),  # 0.5 for 1, then a quarter of 1 for 4
        ([[0, 1]], [[1, 2]], 0.5, 0),
        ([[0, 1]], [[0, 0]], 0, 1),
    ],
    ids=["nothing left", "a share", "the better slope first", "too little", "free"],
)
def test_the_reference_is_the_best_quality_within_the_budget(data: ReplayData, quality: Any, cost: Any, budget: float, expected: float) -> None:
    stream = make_budget_stream("stationary", data, ROWS, 0.2, seed=0, number=0)
    outcomes = Outcomes(np.array(quality, dtype=float), np.array(cost, dtype=float), np.full(np.shape(cost), np.nan))
    assert attrs.evolve(stream, outcomes=outcomes, budget_usd=budget).best_quality == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5])
def test_the_reference_is_the_value_of_the_linear_program(data: ReplayData, share: float) -> None:
    rng, stream = np.random.default_rng(0), make_budget_stream("stationary", data, ROWS, 0.2, seed=0, number=0)
    quality, cost = rng.random((50, 5)), rng.choice([0.001, 0.002, 0.0021, 0.3, 2.0], size=(50, 5)) * rng.uniform(0.9, 1.1, (50, 5))
    budget = cost.min(axis=1).sum() + share * (cost.max(axis=1) - cost.min(axis=1)).sum()
    found = linprog(-quality.ravel(), cost.reshape(1, -1), budget, np.kron(np.eye(50), np.ones((1, 5))), np.ones(50))
    outcomes = Outcomes(quality, cost, np.full((50, 5), np.nan))
    assert attrs.evolve(stream, outcomes=outcomes, budget_usd=budget).best_quality == pytest.approx(-found.fun)


@pytest.mark.parametrize("traffic", TRAFFIC)
def test_paced_spends_hardly_more_than_the_budget_with_no_more_regret_than_pareto_bandit(data: ReplayData, traffic: str) -> None:
    stream, plugins = make_budget_stream(traffic, data, ROWS, 0.4, seed=0, number=0), get_plugin_manager()
    data = attrs.evolve(data, known_outcomes=None)  # paced has none either
    regret, over = zip(
        *(figures_of(stream, choices_of(name, stream, data, plugins, 0, 0))[:2] for name in (PER_DAY, PER_REQUEST, PARETO)), strict=True
    )
    assert max(over[:2]) <= 0.02  # a strong call is half a percent of so short a day, and up to 20 are not reported yet
    assert regret[0] <= regret[2] + 0.01


def test_pareto_bandit_knows_the_outcomes_of_training_rows_from_its_first_choice(data: ReplayData) -> None:
    stream, plugins = make_budget_stream("stationary", data, ROWS, 1.0, seed=0, number=0), get_plugin_manager()
    informed, cold = (choices_of(PARETO, stream, each, plugins, 0, 0)[:20] for each in (data, attrs.evolve(data, known_outcomes=None)))
    quality = [stream.outcomes.known_quality[np.arange(20), chosen].mean() for chosen in (informed, cold)]
    assert quality[0] > quality[1] + 0.1


def test_options_name_what_they_do_not_know() -> None:
    with pytest.raises(ConfigError, match="no traffic 'burst'; did you mean 'bursty'"):
        BanditBenchmark().options(traffic="burst")
    assert BanditBenchmark().options(traffic="none")["traffic"] == []


def test_a_budget_without_any_room_is_refused_at_once(aamc) -> None:
    status, _, err = aamc("bench", "bandit", "--budgets", "0.3,0")
    assert status == 2
    assert "'0.3,0' must be numbers from 0 to 1 but not 0" in err


def test_the_command_has_a_record_for_each_traffic_budget_and_router(aamc, outcomes: str, tmp_path: Path) -> None:
    short = ("--seeds", "0,1", "--streams", "1", "--steps", "30", "--routers", "uniform", "--scenarios", "stationary", "--estimates", "labels")
    budgets = ("--traffic", "stationary,bursty", "--budgets", "0.3", "--set", "estimator.folds=2", "--set", "evaluation.resamples=50")
    status, out, _ = aamc("bench", "bandit", "--dataset", outcomes, *short, *budgets, "--out", "found", "--json")
    assert status == 0
    document = json.loads(out)
    assert {(record["traffic"], record["router"]) for record in document["budgets"]} == {
        (traffic, router) for traffic in ("stationary", "bursty") for router in document["paced"]
    }
    assert PARETO in document["paced"]
    for record in document["budgets"]:
        low, high = record["overspend"]["ci95"]
        assert low <= record["overspend"]["value"] <= high
    assert "over budget %" in (tmp_path / "found" / "budgets.md").read_text()
