"""``aamc bench bandit``: its streams, how they are replayed, and what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bench.bandit.benchmark import BanditBenchmark
from aamc_bench.bandit.budgets import PARETO
from aamc_bench.bandit.jobs import FIGURES, measure, replay
from aamc_bench.bandit.replay_data import LABELS, OUTCOMES, ReplayData, make_replay_data
from aamc_bench.bandit.scenarios import NEVER, SCENARIOS, Stream, make_stream
from aamc_bench.bandit.tables import StreamResults, tables_of
from aamc_experiments.settings import read_settings

from aamc_sdk.config import Choice
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import NoOptions, NoProgress, OnlineRouter, Router, Services, Training
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import LinearReward
from aamc_sdk.storage import read_arrays, read_json, write_json
from aamc_sdk.testing import POOL, make_dataset, make_request, make_reward
from aamc_sdk.types import Experience, RoutingRequest, Scores

pytestmark = [pytest.mark.one_python, pytest.mark.usefixtures("in_process")]

BEST = 3
ROWS = 400


@pytest.fixture(scope="module")
def data() -> ReplayData:
    """Four hundred rows of the tiny world, whose last candidate is taken for the best."""
    dataset = make_dataset(ROWS)
    request = make_request(dataset).with_preference(np.array([0.9, 0.1, 0.0]))
    request = attrs.evolve(request, mask=np.ones_like(request.mask), masked_why={})
    request_without_best = attrs.evolve(request, expected=attrs.evolve(request.expected, quality=request.expected.quality / 2))
    services = Services(pool=POOL, reward=make_reward(dataset), make=lambda *_: None)
    blind = Training(dataset=attrs.evolve(dataset, outcomes=None), request=request)
    return ReplayData(
        request=request,
        request_without_best=request_without_best,
        outcomes=dataset.outcomes,
        best=BEST,
        training=blind,
        services=services,
    )


def stream_of(data: ReplayData, scenario: str, number: int = 0, steps: int = ROWS) -> Stream:
    return make_stream(scenario, data, steps, seed=0, number=number)


def test_a_stream_meets_every_row_once_in_an_order_that_follows_from_its_number(data: ReplayData) -> None:
    orders = [[query.text for query in stream_of(data, "stationary", number).request.queries] for number in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(query.text for query in data.request.queries)
    assert len(stream_of(data, "stationary", steps=7).reward) == 7


def test_scenarios_share_the_order_and_what_does_not_concern_them(data: ReplayData) -> None:
    plain = stream_of(data, "stationary")
    for scenario in SCENARIOS:
        stream = stream_of(data, scenario)
        assert [query.text for query in stream.request.queries] == [query.text for query in plain.request.queries]
        assert np.array_equal(stream.reward, plain.reward) == (scenario != "drift")


def test_drift_makes_the_best_model_fail_from_the_middle_on(data: ReplayData) -> None:
    before, after = stream_of(data, "stationary"), stream_of(data, "drift")
    changed = before.outcomes.quality != after.outcomes.quality
    assert not changed[: ROWS // 2].any()
    assert not np.delete(changed, BEST, axis=1).any()
    lost = after.outcomes.quality[ROWS // 2 :, BEST].sum() / before.outcomes.quality[ROWS // 2 :, BEST].sum()
    assert lost == pytest.approx(0.5, abs=0.12)
    assert after.reward == pytest.approx(data.reward(after.outcomes))


def test_the_new_model_is_not_there_before_it_joins_and_nothing_is_known_of_its_outcomes(data: ReplayData) -> None:
    stream = stream_of(data, "new-model")
    assert stream.available[:, BEST].sum() == ROWS - ROWS // 3
    assert stream.best_fixed != BEST
    assert stream.requests[0].pool.names == POOL.names[:BEST]
    assert stream.requests[-1].pool.names == POOL.names
    assert list(stream.expected[0]) == list(POOL.names[:BEST])
    plain = stream_of(data, "stationary")
    assert stream.expected[-1][POOL.names[BEST]] == plain.expected[-1][POOL.names[BEST]] / 2


def test_feedback_is_late_rare_or_wrong_as_the_scenario_says(data: ReplayData) -> None:
    late = stream_of(data, "delayed").feedback_at - np.arange(1, ROWS + 1)
    assert (late.min() >= 0, late.max() < 200, late.mean() > 80) == (True, True, True)
    told = stream_of(data, "sparse").feedback_at
    assert 0 < np.mean(told != NEVER) < 0.1
    assert 0.05 < stream_of(data, "poisoned").inverted.mean() < 0.15
    assert stream_of(data, "restart").restart == ROWS // 2


class Diary(OnlineRouter):
    """Takes the first candidate and notes what it hears; what it has heard survives a save."""

    Config = NoOptions

    def __init__(self, services: Services) -> None:
        super().__init__(NoOptions(), services)
        self.heard: list[tuple[int, str, str, float]] = []
        self.made = 0

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(np.tile(np.arange(len(request.pool), 0.0, -1), (len(request), 1)))

    def learn(self, experience: Experience) -> None:
        self.made += experience.made
        self.heard += [(self.made, feedback.decision_id, feedback.candidate, feedback.quality) for feedback in experience.feedback]

    def save(self, folder: Path) -> None:
        write_json(folder / "diary.json", [self.made, self.heard])

    def load(self, folder: Path) -> None:
        self.made, heard = read_json(folder / "diary.json")
        self.heard = [tuple(entry) for entry in heard]


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_a_router_hears_each_feedback_once_and_not_before_its_time(data: ReplayData, scenario: str) -> None:
    stream, made = stream_of(data, scenario), list[Diary]()

    def make() -> Diary:
        made.append(Diary(data.services))
        return made[-1]

    replay(make, stream, seed=0, name="diary")
    diary = made[-1]
    assert len(made) == (2 if scenario == "restart" else 1)
    assert diary.made == ROWS
    due = {f"diary/{step}": at for step, at in enumerate(stream.feedback_at.tolist()) if NEVER < at < ROWS}
    assert {name: heard_at for heard_at, name, _, _ in diary.heard} == due
    assert len(diary.heard) == len(due)
    for _, name, candidate, quality in diary.heard:
        step = int(name.removeprefix("diary/"))
        truth = stream.outcomes.quality[step, POOL.index(candidate)]
        assert quality == (1 - truth if stream.inverted[step] else truth)


@pytest.mark.parametrize("name", ["linear-thompson", "thompson", "epsilon-greedy"])
def test_a_restart_changes_no_decision(data: ReplayData, name: str) -> None:
    def make() -> Router:
        return get_plugin_manager().make("router", name, data.services)

    streams = [stream_of(data, scenario, steps=120) for scenario in ("stationary", "restart")]
    plain, restarted = (replay(make, stream, 0, name) for stream in streams)
    assert plain.tolist() == restarted.tolist()


SMALL = {"name": "lexical", "folds": 2}


def test_the_estimator_sees_no_row_of_the_streams_and_of_outcomes_what_it_is_allowed(outcomes: str) -> None:
    settings = read_settings({"router": "random", "estimator": SMALL, "dataset": outcomes})
    made = {knowledge: make_replay_data(settings, knowledge, get_plugin_manager(), NoProgress()) for knowledge in (OUTCOMES, LABELS)}
    for data in made.values():
        streamed, trained = ({query.text for query in queries} for queries in (data.request.queries, data.training.dataset.queries))
        assert not streamed & trained
        assert data.training.dataset.outcomes is None
    assert made[LABELS].request.expected.quality is None
    known, request_without_best = made[OUTCOMES].request.expected.quality, made[OUTCOMES].request_without_best.expected.quality
    assert np.isfinite(known).all()
    assert not np.allclose(known, request_without_best)


def test_figures_are_sums_of_the_choices_and_the_best_in_hindsight_is_the_last(outcomes: str, tmp_path: Path) -> None:
    settings = read_settings({"router": "random", "routers": ["random"], "estimator": SMALL, "dataset": outcomes})
    (tmp_path / "job").mkdir()
    found = measure(tmp_path / "job", NoProgress(), settings.to_dict(), LABELS, ["stationary"], streams=2, steps=20)
    kept = read_arrays(tmp_path / "job" / "streams.npz")
    assert found["steps"] == 20
    assert kept["points"].tolist() == list(range(1, 21))
    assert all(kept[name].shape == (1, 2, 2, 20) for name in FIGURES)
    assert (np.diff(kept["regret"], axis=-1) >= 0).all()
    data = make_replay_data(settings, LABELS, get_plugin_manager(), NoProgress())
    stream = make_stream("stationary", data, 20, settings.seed, 1)
    regret = stream.reward.max(axis=1).sum() - stream.reward.sum(axis=0).max()
    assert kept["regret"][0, 1, 1, -1] == pytest.approx(regret)


def results(each: list[Any]) -> StreamResults:
    return StreamResults.of([{"points": np.array([1])} | dict.fromkeys(FIGURES, values) for values in each])


def test_intervals_are_students_over_seeds_of_a_figure_and_of_a_difference() -> None:
    rng = np.random.default_rng(0)
    each = [shift + rng.normal(size=(1, 2, 5, 1)) for shift in (0.0, 10.0, 20.0)]
    (found, _) = results(each).records(0, ["linear-thompson", "best fixed"])
    means = np.array([one.mean(axis=2)[0, :, 0] for one in each])
    for figure, seeds in ((found["regret"], means[:, 0]), (found["over_fixed"], means[:, 0] - means[:, 1])):
        assert figure["value"] == pytest.approx(seeds.mean())
        half = 4.302653 * seeds.std(ddof=1) / np.sqrt(3)  # Student's 97.5% quantile with 2 degrees
        assert figure["ci95"] == pytest.approx([seeds.mean() - half, seeds.mean() + half])


def test_the_streams_of_one_seed_stand_for_seeds_and_one_stream_has_no_interval() -> None:
    streams = np.arange(4.0)
    (found,) = results([streams.reshape(1, 1, 4, 1)]).records(0, ["best fixed"])
    half = 3.182446 * streams.std(ddof=1) / 2
    assert found["regret"]["ci95"] == pytest.approx([1.5 - half, 1.5 + half])
    (alone,) = results([np.ones((1, 1, 1, 1))]).records(0, ["best fixed"])
    assert alone["regret"] == {"value": 1, "ci95": None, "best": False}


def test_the_best_is_clear_only_beyond_its_paired_interval() -> None:
    seeds, names = np.array([0.0, 10.0, 20.0]), ["linear-thompson", "linucb", "uniform", "best fixed"]
    apart, close = (np.stack([seeds, seeds + gap, seeds - 5, seeds - 5])[:, :, None, None] for gap in ([1.0, 1.1, 0.9], [1.0, 3.0, -0.1]))
    bold = [[r["regret"]["best"] for r in results([values[None, :, s] for s in range(3)]).records(0, names)] for values in (apart, close)]
    assert bold == [[True, False, False, False], [False] * 4]


def test_a_seed_with_shorter_streams_cuts_the_others_off() -> None:
    def file(steps: int) -> dict[str, Any]:
        points = np.arange(10, steps + 1, 10)
        return {"points": points} | {name: np.tile(points, (1, 2, 1, 1)).astype(float) for name in FIGURES}

    block = StreamResults.of([file(100), file(60)])
    assert block.points[-1] == 60
    (record, _) = block.records(0, ["linear-thompson", "best fixed"])
    assert record["regret"]["value"] == 60
    assert record["quality"]["value"] == 1


def test_options_name_what_they_do_not_know() -> None:
    with pytest.raises(ConfigError, match="no scenario 'drfit'; did you mean 'drift'"):
        BanditBenchmark().options(scenarios="drfit")
    with pytest.raises(ConfigError, match="no router 'greedy'"):
        BanditBenchmark().options(routers="greedy")
    with pytest.raises(ConfigError, match="no kind of estimates 'all'"):
        BanditBenchmark().options(estimates="all")


def test_options_of_a_router_go_to_its_variants_too() -> None:
    options = BanditBenchmark().options(routers="linear-thompson,linucb,published", assignments=("routers.linear-thompson.discount=0.9",))
    routers = {name: Choice.of(choice, name) for name, choice in options["settings"]["routers"].items()}
    assert routers["linucb"] == Choice("linear-thompson", {"discount": 0.9, "mode": "linucb"})
    assert routers["published"] == Choice("thompson", {"blend": "published"})


def test_without_an_estimator_there_is_one_kind_of_estimates() -> None:
    assert BanditBenchmark().options(estimator="none")["estimates"] == [LABELS]


SHORT = ("--estimates", "labels", "--set", "estimator.folds=2", "--set", "evaluation.resamples=50", "--out", "found", "--json")


def test_the_command_leaves_tables_and_curves(aamc, outcomes: str, tmp_path: Path) -> None:
    size = ("--seeds", "0,1", "--streams", "1", "--steps", "30", "--routers", "linear-thompson,published,uniform")
    status, out, _ = aamc("bench", "bandit", "--dataset", outcomes, *size, "--scenarios", "stationary,new-model", *SHORT)
    assert status == 0
    document = json.loads(out)
    assert document == json.loads((tmp_path / "found" / "results.json").read_text())
    places = {(record["estimates"], record["scenario"], record["router"]) for record in document["records"]}
    assert len(places) == len(document["records"]) == 2 * 4
    for record in document["records"]:
        low, high = record["regret"]["ci95"]
        assert low <= record["regret"]["value"] <= high
        assert (record["over_fixed"]["value"] == 0) or record["router"] != "best fixed"
        assert (record["saved"]["value"] == 0) or record["router"] != "published"
    assert "over best fixed" in (tmp_path / "found" / "regret.md").read_text()
    assert {file.name for file in (tmp_path / "found" / "figures").glob("*.png")} == {"regret-1-labels.png"}


def test_the_notes_explain_the_columns_that_there_are() -> None:
    row: dict[str, Any] = {"dataset": "a", "estimates": "labels", "scenario": "drift", "router": "thompson"}
    budget = {"dataset": "a", "traffic": "drift", "budget": "0.3", "router": "paced (day)"}
    without = tables_of({"datasets": [row], "records": [row], "budgets": [budget], "paced": ["paced (day)"]})
    assert "published" not in without["regret"].note
    assert "ParetoBandit" not in without["budgets"].note
    saved = tables_of({"datasets": [row], "records": [{**row, "saved": None}], "budgets": [budget], "paced": [PARETO]})
    assert "saved vs published" in saved["regret"].note
    assert "ParetoBandit" in saved["budgets"].note


def test_reward_of_a_stream_is_that_of_the_preference(data: ReplayData) -> None:
    stream = stream_of(data, "stationary", steps=5)
    reward: LinearReward = data.services.reward
    vector = reward.vector(stream.outcomes)
    assert stream.reward == pytest.approx(0.9 * vector[..., 0] + 0.1 * vector[..., 1])
