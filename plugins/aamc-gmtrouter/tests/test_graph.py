"""The user graph and the graph network."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from aamc_gmtrouter.embedding import Reduction
from aamc_gmtrouter.graph.network import GraphNetwork, ServedNetwork, parameters_of
from aamc_gmtrouter.graph.training import GraphTraining, PredictionBatch
from aamc_gmtrouter.graph.user_graph import EDGES, user_graph
from aamc_gmtrouter.history import UserHistory, UserJudgement
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.router import GMTRouter
from aamc_gmtrouter.taste import PreferenceModel
from aamc_gmtrouter.taste.population import Population
from taste_world import TasteWorld, WorldSettings, WorldTrial

from aamc_sdk import Dataset, Services, Training
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.serving import restore, state_of
from aamc_sdk.types import Candidate, Pool, Query

TRAITS = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0])}
MODEL = PreferenceModel(Reduction(np.zeros((3, 2)), np.ones(3), np.eye(2)), list(TRAITS), Population.empty(2, 2), TRAITS)


def history(*turns: tuple[str, str, str]) -> UserHistory:
    """Return comparisons, given as turn, session and better model."""
    return UserHistory(
        tuple(UserJudgement(turn, turn, session, better, "b" if better == "a" else "a", 1.0, np.ones(2)) for turn, session, better in turns)
    )


def test_sessions_and_queries_lead_only_to_later_ones_of_the_same_user() -> None:
    graph = user_graph([history(("t1", "s", "a"), ("t2", "s", "b"), ("t3", "r", "a")), history(("t4", "s", "a"))], MODEL, GMTRouterConfig())
    assert graph.edges[("session", "next", "session")].T.tolist() == [[0, 1]]
    assert graph.edges[("query", "next", "query")].T.tolist() == [[0, 1], [1, 2]]
    assert {name: len(found) for name, found in graph.features.items()} == {"user": 2, "session": 3, "query": 4, "response": 8, "model": 4}
    assert graph.last_session.tolist() == [1, 2]
    assert list(graph.edges) == list(EDGES)


def test_responses_carry_the_rating_and_users_and_sessions_nothing() -> None:
    graph = user_graph([history(("t1", "s", "a"))], MODEL, GMTRouterConfig())
    assert graph.features["response"].tolist() == [[1, 1, 0], [-1, 0, -1]]
    assert not graph.features["user"].any()
    assert not graph.features["session"].any()


def test_a_prediction_sees_the_turns_before_it_alone() -> None:
    population = attrs.evolve(Population.empty(2, 2), kernel=np.array([1.0, 0.1]))
    model, config = PreferenceModel(MODEL.reduction, MODEL.names, population, TRAITS), GMTRouterConfig()
    before = history(("t1", "s", "a"), ("t2", "s", "a"))
    later = (*history(("t3", "s", "b")).judgements, UserJudgement("t4", "t4", "r", "a", None, -1.0, np.full(2, 2.0)))
    known = attrs.evolve(before, judgements=(*before.judgements, *later))
    batch = PredictionBatch.of_histories(model, [history(("t0", "s", "b")), known], lambda turns: turns // 2, config)
    assert batch is not None
    graph = user_graph([history(), before], model, config)
    assert {kind: edges.tolist() for kind, edges in batch.graph.edges.items()} == {kind: edges.tolist() for kind, edges in graph.edges.items()}
    assert {kind: found.tolist() for kind, found in batch.graph.features.items()} == {kind: found.tolist() for kind, found in graph.features.items()}
    assert batch.user.tolist() == [0, 1, 1]
    assert batch.candidates.tolist() == [[[0, 1], [1, 0]], [[0, 1], [1, 0]], [[0, 0], [1, 0]]]  # the average model is better than a bad answer
    assert batch.query.tolist() == [[1, 1], [1, 1], [2, 2]]
    nobody, user = model.user_vector(history()), model.user_vector(before)
    margins = [model.margin(nobody, history(("t0", "s", "b")).judgements[0]), *(model.margin(user, each) for each in later)]
    assert batch.margin.tolist() == margins
    assert margins[1] < -0.1  # the turns before say otherwise


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (4, 3), (100, 15)])
def test_a_step_predicts_at_most_as_many_pairs_as_the_option_says(count: int, expected: int) -> None:
    users = [history(*((f"t{n}", "s", "a") for n in range(5)))] * 3
    batch = PredictionBatch.of_histories(MODEL, users, lambda turns: 0, GMTRouterConfig(prediction_count=count))
    assert batch is not None
    assert [len(batch.user), *(len(each) for each in (batch.margin, batch.candidates, batch.query))] == [expected] * 4


def test_the_graph_holds_the_latest_turns_alone() -> None:
    graph = user_graph([history(*((f"t{n}", f"s{n}", "a") for n in range(9)))], MODEL, GMTRouterConfig(record_per_user=3, multi_turn=False))
    assert len(graph.features["query"]) == 3
    assert not graph.edges[("session", "next", "session")].size


def test_a_users_state_does_not_depend_on_other_users() -> None:
    network = GraphNetwork(GMTRouterConfig(), 2).eval()
    mine, other = history(("t1", "s", "a"), ("t2", "s", "b")), history(("t3", "s", "b"))
    together = network.users(user_graph([mine, other], MODEL, GMTRouterConfig()))[0].detach().numpy()
    alone = network.users(user_graph([mine], MODEL, GMTRouterConfig()))[0].detach().numpy()
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_user_without_a_turn_has_the_same_state_alone_and_beside_others() -> None:
    network = GraphNetwork(GMTRouterConfig(), 2).eval()
    alone, together = (network.users(user_graph(each, MODEL, GMTRouterConfig()))[0] for each in ([history()], [history(), history(("t", "s", "a"))]))
    np.testing.assert_allclose(alone.detach().numpy(), together.detach().numpy(), atol=1e-6)


def test_a_context_is_the_users_feature_and_preferred_models_are_edges() -> None:
    model = PreferenceModel(MODEL.reduction, MODEL.names, MODEL.population, TRAITS)
    model.set_contexts({"a developer": np.array([3.0, 4.0])})
    known = attrs.evolve(history(("t", "s", "a")), context="a developer", preferred=("b",))
    graph = user_graph([history(), known], model, GMTRouterConfig())
    assert graph.features["user"].tolist() == [[0, 0], [3, 4]]
    assert graph.edges["user", "prefers", "model"].T.tolist() == [[1, 0]]
    assert graph.features["model"].tolist() == [[0, 1], [1, 0]]  # b is the node of its own answer too


def test_an_untrained_network_adds_nothing() -> None:
    config = GMTRouterConfig()
    served = ServedNetwork(config, 2, parameters_of(GraphNetwork(config, 2)))
    assert served.scores(served.user_state(history(("t1", "s", "a")), MODEL), np.ones(2), np.eye(2)).tolist() == [0.0, 0.0]


def test_training_lowers_the_loss_where_the_preference_model_is_weak(tmp_path: Path) -> None:
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=24, comparisons=12)), tmp_path, GMTRouterConfig(model="preference"))
    model = trial.router._trained()
    model.population.kernel[:] = 1e-6  # a model that learns nothing from ratings, so that the network has to
    users = list(trial.router._users.values())
    config = GMTRouterConfig(steps=60, learning_rate=3e-3, evaluate_every=20)
    found = GraphTraining(config, model, users, users, trial.services, Training(dataset=trial.dataset([0]))).run()
    assert found.used
    assert found.figures["graph_gain"] > 0.01


@pytest.mark.parametrize(("validations", "used"), [(1, True), (10, False)])
def test_the_gain_has_to_be_larger_where_the_best_of_more_validations_is_taken(validations: int, used: bool) -> None:
    users = [history(("t1", "s", "a"), ("t2", "s", "b"))] * 20
    services = Services(pool=Pool([Candidate("a"), Candidate("b")]), reward=LinearReward(), make=lambda *_: None, device="cpu")
    config = GMTRouterConfig(steps=20 * validations, evaluate_every=20)
    training = GraphTraining(config, MODEL, users, users, services, Training(dataset=Dataset([])))
    gain = np.tile((-1.0, 1.0), 10)
    training._first_losses, training._best_losses = gain + 2.2 * gain.std(ddof=1) / 20**0.5, np.zeros(20)
    figures = training._trained().figures
    assert figures["graph_gain"] == pytest.approx(2.2 * figures["graph_gain_error"])
    assert figures["graph_used"] == used


@pytest.mark.parametrize("count", [1, 20])
def test_without_held_out_users_the_last_step_serves(tmp_path: Path, count: int) -> None:
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=4, comparisons=12)), tmp_path, GMTRouterConfig(model="preference"))
    user = list(trial.router._users.values())[:1]
    config = GMTRouterConfig(model="graph", steps=count, evaluate_every=1)
    found = GraphTraining(config, trial.router._trained(), user, [], trial.services, Training(dataset=trial.dataset([0]))).run()
    assert found.used
    assert len(found.figures["curve"]) == 1 + count
    assert found.best["output.weight"].any()
    assert all((found.best[name] == found.last[name]).all() for name in found.last)


@pytest.mark.parametrize(("patience", "last"), [(1, 1), (0, 4)])
def test_a_network_that_training_does_not_improve_is_warned_of(tmp_path: Path, patience: int, last: int, caplog: pytest.LogCaptureFixture) -> None:
    options = GMTRouterConfig(model="graph", steps=4, evaluate_every=1, learning_rate=1.0, patience=patience)
    trial = WorldTrial(TasteWorld.drawn(1, WorldSettings(users=16, comparisons=8)), tmp_path, options)
    assert trial.metrics["curve"][-1]["step"] == last
    assert ["no validation of the graph network" in message for message in caplog.messages] == [True]
    query = build_request([Query("query 1 1", user="user-0")], trial.pool, np.array([1.0, 0.0, 0.0]), estimator=trial.estimator)
    assert np.ptp(trial.router.score(query).utility) == 0


def test_a_router_with_the_network_alone_saves_both_checkpoints_and_scores_the_same(tmp_path: Path) -> None:
    options = GMTRouterConfig(model="graph", steps=2, evaluate_every=1)
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=16, comparisons=8)), tmp_path, options)
    copy = GMTRouter(trial.router.config, trial.services)
    restore(copy, state_of(trial.router))
    folder = tmp_path / "saved"
    folder.mkdir()
    trial.router.save(folder)
    assert {"best.npz", "last.npz"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(CheckpointError, match=r"best.npz does not fit: attention.in_proj_bias should have shape \(24,\) and has \(96,\)"):
        GMTRouter(attrs.evolve(trial.router.config, hidden=8), trial.services).load(folder)
    asked = [Query("query 1 1", user=user) for user in ("user-0", "nobody")]
    request = build_request(asked, trial.pool, np.array([1.0, 0.0, 0.0]), estimator=trial.estimator)
    found = trial.router.score(request)
    assert (copy.score(request).utility == found.utility).all()
    assert [sorted(notes) for notes in found.notes] == [["judged_turns", "past_turns", "why"], ["judged_turns"]]


def test_the_networks_share_of_a_turn_is_what_the_utility_lacks_without_it(tmp_path: Path) -> None:
    options = GMTRouterConfig(model="graph", steps=1, evaluate_every=1)
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=16, comparisons=8)), tmp_path, options)
    torch.nn.init.ones_(trial.router._network._network.output.weight)  # as it starts at zero, and one step moves nobody
    request = build_request([Query("query 1 1", user="user-0")], trial.pool, np.array([1.0, 0.0, 0.0]), estimator=trial.estimator)
    found = trial.router.score(request)
    first, second = np.argsort(-found.utility[0])[:2]
    turn, share = next(iter(found.notes[0]["past_turns"].items()))
    whole = trial.router._users["user-0"]
    trial.router._users["user-0"] = attrs.evolve(whole, judgements=tuple(each for each in whole.judgements if each.turn != turn))
    without = trial.router.score(request)
    lost = (found.utility - without.utility)[0]
    assert abs(share) > 0.001
    assert lost[first] - lost[second] == pytest.approx(share, abs=1e-4)
