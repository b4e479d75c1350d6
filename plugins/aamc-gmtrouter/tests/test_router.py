"""The router: leaks, service, learning, forgetting and saved state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_experiments.personal_evaluation import PersonalMeasurement
from aamc_gmtrouter import router as gmtrouter
from aamc_gmtrouter.history import described
from aamc_gmtrouter.options import GMTRouterConfig
from aamc_gmtrouter.router import GMTRouter
from aamc_gmtrouter.saved_state import NAMES
from aamc_gmtrouter.taste import SLOPE, PreferenceModel
from taste_world import TasteWorld, VectorEstimator, WorldSettings, WorldTrial

from aamc_sdk import Dataset, Decision, Experience, Feedback, MetaController, ModelSpec, Outcomes, Pool, Preference, Query, Training, Turn
from aamc_sdk.errors import CheckpointError, ConfigError, DataError, PluginError
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.serving import ServedComponents, make_services, restore, state_of
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.types import Estimates, Floats, Prices

QUALITY = np.array([1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[WorldTrial, bytes]:
    world = TasteWorld.drawn(0, WorldSettings(users=24, comparisons=16))
    trial = WorldTrial(world, tmp_path_factory.mktemp("world"), GMTRouterConfig(model="preference"))
    return trial, state_of(trial.router)


@pytest.fixture
def trial(trained: tuple[WorldTrial, bytes]) -> WorldTrial:
    trial, state = trained
    restore(trial.router, state)
    return trial


@pytest.fixture
def controller(trial: WorldTrial) -> Iterator[MetaController]:
    parts = ServedComponents(
        services=attrs.evolve(trial.services, models=make_services(trial.pool, get_plugin_manager()).models),
        router=trial.router,
        store=open_store("memory:", get_plugin_manager()),
        estimator=trial.estimator,
        preference=Preference(1.0, 0.0, 0.0),
        preference_given=True,
    )
    with MetaController(parts) as made:
        yield made


def scores(trial: WorldTrial, *queries: Query, pool: Pool | None = None) -> Floats:
    return trial.router.score(build_request(queries, pool or trial.pool, QUALITY, estimator=trial.estimator)).utility


def support(trial: WorldTrial, user: int, turns: int, name: str = "new") -> Experience:
    """Return the first turns of a user of the world, under another name."""
    experience = trial.dataset([user]).experience
    assert experience is not None
    rows = np.arange(2 * turns)
    taken = experience.take(rows)
    return attrs.evolve(taken, queries=[attrs.evolve(query, user=name) for query in taken.queries], estimates=trial.estimator.estimate(taken.queries))


def test_scores_are_bit_identical_when_later_ratings_are_altered_or_removed(trial: WorldTrial) -> None:
    state, user = state_of(trial.router), trial.world.unseen_users[0]
    asked = Query("query 3 12", user="new")
    trial.router.learn(support(trial, user, 5))
    before = scores(trial, asked)
    later = support(trial, user, 9)
    altered = attrs.evolve(later, entries=later.feedback[:5])
    restore(trial.router, state)
    trial.router.learn(altered)
    assert (scores(trial, asked) == before).all()
    trial.router.learn(attrs.evolve(support(trial, trial.world.unseen_users[1], 9, "other")))
    assert (scores(trial, asked, Query("query 1 1", user="other"))[:1] == before).all()  # other users, and the rest of the batch


def test_a_new_user_starts_from_the_common_prior_and_three_ratings_move_it(trial: WorldTrial) -> None:
    asked = "query 3 12"
    nobody, new = scores(trial, Query(asked)), scores(trial, Query(asked, user="new"))
    assert (nobody == new).all()
    moved = []
    for turns in (1, 3):
        trial.router.learn(support(trial, trial.world.unseen_users[0], turns))
        moved.append(np.abs(scores(trial, Query(asked, user="new")) - nobody).max())
    assert 0 < moved[0] < moved[1]


def test_the_noted_turns_add_up_to_the_change_of_the_lead(trial: WorldTrial) -> None:
    trial.router.learn(support(trial, trial.world.unseen_users[0], 3))
    found = trial.router.score(build_request([Query("query 3 12", user="new"), Query("query 3 12")], trial.pool, QUALITY, estimator=trial.estimator))
    first, second = np.argsort(-found.utility[0])[:2]
    lead, common = found.utility[:, first] - found.utility[:, second]
    assert sum(found.notes[0]["past_turns"].values()) == pytest.approx(lead - common, abs=2e-4)  # three rounded numbers


def test_the_first_model_and_the_first_user_are_nobody_special(trial: WorldTrial) -> None:
    trial.router.learn(support(trial, trial.world.unseen_users[0], 5))
    asked, turned = Query("query 3 12", user="new"), Pool(reversed(list(trial.pool)))
    assert scores(trial, asked, pool=turned)[0, ::-1] == pytest.approx(scores(trial, asked)[0], abs=1e-12)


def test_a_new_model_joins_by_its_description(trial: WorldTrial) -> None:
    trial.router.learn(support(trial, trial.world.unseen_users[0], 10))
    wide = Pool([*trial.pool, ModelSpec("twin", "trait 2"), ModelSpec("unknown", "no such text")])
    found = scores(trial, Query("query 3 12", user="new"), pool=wide)[0]
    assert abs(found[8] - found[2]) < abs(found - found[2]).max() / 2


def test_the_tenth_rating_of_a_new_user_changes_their_next_decision(controller: MetaController) -> None:
    assert controller.learner is not None
    chosen = []
    for _ in range(11):
        decision = controller.route("query 3 12", user="new")
        chosen.append(decision.candidate)
        controller.feedback(decision.id, quality=0.0)
        controller.learner.flush()
    assert chosen[10] != chosen[9]
    why = controller.explain(decision.id).why
    assert "past turns of the user moved the utility most" in why


def test_a_forgotten_user_is_gone_with_what_they_taught(controller: MetaController, trial: WorldTrial) -> None:
    assert controller.learner is not None
    before = scores(trial, Query("query 3 12", user="ann"))
    decision = controller.route("query 3 12", user="ann")
    controller.feedback(decision.id, quality=0.0)
    controller.learner.flush()
    assert (scores(trial, Query("query 3 12", user="ann")) != before).any()
    controller.store.forget("ann")
    controller.learner.flush()
    assert (scores(trial, Query("query 3 12", user="ann")) == before).all()
    assert b"ann" not in state_of(trial.router)


def test_only_a_leading_system_turn_describes_the_user() -> None:
    asked, system = Turn("user", "query"), Turn("system", "a developer")
    contexts = [described(Query("q", turns=turns))[0] for turns in ([system, asked], [asked, system], [])]
    assert contexts == ["a developer", "", ""]


def test_the_state_holds_no_context_of_requests(trial: WorldTrial) -> None:
    ann, ben = (Query("query 3 12", user=user, turns=[Turn("system", f"the secret of {user}")]) for user in ("ann", "ben"))
    scores(trial, ann, ben)
    decision, feedback = Decision("d", "model-1", 1.0, Preference()), Feedback(decision_id="d", quality=1.0)
    trial.router.learn(Experience(1, [ann], trial.estimator.estimate([ann]), [decision], [feedback]))
    scores(trial, ann, ben)
    assert b"secret" not in state_of(trial.router)


def test_the_context_of_a_user_of_the_training_goes_with_them(tmp_path: Path) -> None:
    world = TasteWorld.drawn(0, WorldSettings(users=24, comparisons=16, profiles=True))
    trial = WorldTrial(world, tmp_path, GMTRouterConfig(model="preference"))
    (user, history), *_ = trial.router._users.items()
    assert history.context.encode() in state_of(trial.router)
    log = open_store("memory:", get_plugin_manager())
    log.forget(user)
    trial.router.prepare_replay(log)
    assert history.context.encode() not in state_of(trial.router)


def test_a_replay_in_one_batch_gives_the_live_state(trial: WorldTrial) -> None:
    state, whole = state_of(trial.router), support(trial, trial.world.unseen_users[0], 5)
    first, *_, last = whole.feedback
    again = attrs.evolve(first, id="another", source="another", over=None, quality=0.0)
    entries = [*whole.feedback, attrs.evolve(last, over=None, quality=0.5, revision=1), again]
    saved = []
    for batches in ([entries], [[entry] for entry in entries]):
        restore(trial.router, state)
        trial.router.config = attrs.evolve(trial.router.config, history=3)
        for batch in batches:
            trial.router.learn(attrs.evolve(whole, entries=batch))
        saved.append(state_of(trial.router))
    assert saved[0] == saved[1]


def test_a_later_revision_replaces_a_rating(trial: WorldTrial) -> None:
    decision = Decision("d", "model-1", 1.0, Preference())
    first = Feedback(decision_id="d", quality=1.0)
    query = Query("query 1 1", user="ann")

    def experience(feedback: Feedback) -> Experience:
        return Experience(1, [query], trial.estimator.estimate([query]), [decision], [feedback])

    before = scores(trial, query)
    trial.router.learn(experience(first))
    trial.router.learn(experience(attrs.evolve(first, quality=0.5, revision=1)))  # neutral: as if never rated
    assert (scores(trial, query) == before).all()


def test_rated_turns_of_a_request_without_a_user_count(trial: WorldTrial) -> None:
    turns = [Turn("user", "query 1 1"), Turn("assistant", "no", model="model-4", rating=0.0)]
    plain, rated = scores(trial, Query("query 3 12")), scores(trial, Query("query 3 12", turns=turns))
    assert rated[0, 4] - plain[0, 4] < (rated - plain)[0].mean()


def test_saved_state_and_changes_give_the_same_scores(trial: WorldTrial) -> None:
    copy = GMTRouter(trial.router.config, trial.services)
    restore(copy, state_of(trial.router))
    trial.router.delta()
    trial.router.learn(support(trial, trial.world.unseen_users[0], 4))
    delta = trial.router.delta()
    assert delta is not None
    copy.apply_delta(delta)
    request = build_request([Query("query 3 12", user="new")], trial.pool, QUALITY, estimator=trial.estimator)
    assert (copy.score(request).utility == trial.router.score(request).utility).all()
    assert state_of(copy) == state_of(trial.router)


def test_a_log_without_texts_teaches_by_its_kept_embeddings(trial: WorldTrial) -> None:
    full = support(trial, trial.world.unseen_users[0], 4)
    trial.router.learn(full)
    with_text = scores(trial, Query("query 3 12", user="new"))
    silent = attrs.evolve(full, queries=[attrs.evolve(query, text="", user="silent") for query in full.queries])
    trial.router.learn(silent)
    assert (scores(trial, Query("query 3 12", user="silent")) == with_text).all()


def test_a_log_without_texts_is_measured_by_its_kept_embeddings(trial: WorldTrial) -> None:
    told = trial.dataset(trial.world.unseen_users)
    assert told.experience is not None
    silent = [attrs.evolve(query, text="") for query in told.queries]
    logged = attrs.evolve(told.experience, queries=silent, estimates=trial.estimator.estimate(told.queries))
    measured = [
        PersonalMeasurement(routers={"own": trial.router}, dataset=dataset, pool=trial.pool, estimator=trial.estimator).write_metrics(None)["routers"]
        for dataset in (told, attrs.evolve(told, queries=silent, experience=logged))
    ]
    assert measured[0] == measured[1]


def test_hashed_words_warn_once_about_a_log_without_texts(trial: WorldTrial, caplog: pytest.LogCaptureFixture) -> None:
    plugins = get_plugin_manager()
    silent, full = open_store("memory:", plugins), open_store("memory:?store_text=true", plugins)
    trial.router.prepare_replay(silent)
    assert not caplog.messages  # its estimator's embeddings are logged
    router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, plugins))
    router.train(Training(dataset=specialists(20)))
    router.prepare_replay(full)
    assert not caplog.messages
    for _ in range(2):
        router.prepare_replay(silent)
    assert [message for message in caplog.messages if "store_text=true" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_log_without_texts_teaches_nothing_by_the_embeddings_of_another_estimator(trial: WorldTrial, caplog: pytest.LogCaptureFixture) -> None:
    dataset = trial.dataset(trial.world.training_users)
    assert dataset.experience is not None
    silent = [attrs.evolve(query, text="") for query in dataset.queries]
    others = attrs.evolve(Estimates.unknown(len(silent)), embedding=np.ones((len(silent), 3)), fingerprint="another")
    logged = attrs.evolve(dataset, queries=silent, experience=attrs.evolve(dataset.experience, queries=silent, estimates=others))
    found = trial.router.train(Training(dataset=logged, request=build_request(silent, trial.pool, QUALITY, estimator=trial.estimator)))
    assert found["users"] == len(trial.world.training_users)
    assert "has no texts, and no embeddings of the router's estimator" in caplog.text
    assert all(judged.query is None for history in trial.router._users.values() for judged in history.judgements)


@pytest.mark.parametrize("text", ["", "query 3 12"])
def test_feedback_with_an_embedding_of_another_estimator_counts_by_its_text(trial: WorldTrial, text: str) -> None:
    judged = support(trial, trial.world.unseen_users[0], 3)
    queries = [attrs.evolve(query, text=text) for query in judged.queries]
    others = attrs.evolve(judged.estimates, embedding=np.ones_like(judged.estimates.embedding), fingerprint="another")
    scores(trial, Query("query 1 1", user="new"))
    restore(trial.router, state_of(trial.router))  # it has kept whose embeddings it knows
    trial.router.learn(attrs.evolve(judged, queries=queries, estimates=others))
    (history,) = (each for key, each in trial.router._users.items() if "new" in key)
    own = trial.router._model.query(trial.estimator.embed([text])[0]) if text else None
    assert [judgement.query is None for judgement in history.judgements] == [own is None] * 3
    assert own is None or all((judgement.query == own).all() for judgement in history.judgements)


def test_data_that_cannot_be_used_is_an_error(trial: WorldTrial) -> None:
    with pytest.raises(PluginError, match="not trained"):
        GMTRouter(GMTRouterConfig(), trial.services).score(build_request([Query("a")], trial.pool, QUALITY))
    few = trial.dataset(trial.world.training_users)
    small = GMTRouter(GMTRouterConfig(), attrs.evolve(trial.services, pool=Pool([ModelSpec("model-0")])))
    with pytest.raises(DataError, match="names the models model-1"):
        small.train(Training(dataset=few))
    with pytest.raises(DataError, match="neither a rated answer of a user nor outcomes that differ"):
        trial.router.train(Training(dataset=attrs.evolve(few, experience=Experience(0, [], Estimates.unknown(0), []))))
    with pytest.raises(ConfigError, match="multiple of heads"):
        GMTRouterConfig(hidden=30)


def test_feedback_learned_before_the_first_request_after_a_restart_counts_with_the_users_context(tmp_path: Path) -> None:
    world = TasteWorld.drawn(0, WorldSettings(users=24, comparisons=16, profiles=True))
    trial = WorldTrial(world, tmp_path, GMTRouterConfig(model="preference"))
    user, state = world.unseen_users[0], state_of(trial.router)
    judged = support(trial, user, 3)
    asked = attrs.evolve(judged.queries[0], text="query 3 12")
    scores(trial, Query("query 1 1"))
    trial.router.learn(judged)
    expected = scores(trial, asked)
    trial.router = GMTRouter(trial.router.config, trial.services)
    restore(trial.router, state)
    trial.router.learn(judged)
    assert (scores(trial, asked) == expected).all()


def test_a_users_vector_is_kept_where_a_request_repeats_a_part_of_their_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=24, comparisons=16, profiles=True)), tmp_path, GMTRouterConfig(model="preference"))
    asked, computed, counted = trial.dataset([0]).queries[0], gmtrouter._computed, []
    monkeypatch.setattr(gmtrouter, "_computed", lambda *given: counted.append(given) or computed(*given))
    for part in (asked.turns, asked.turns[:1], asked.turns[1:], ()):  # context and preferred models
        scores(trial, attrs.evolve(asked, turns=part))
    assert len(counted) == 1


def test_an_applications_system_prompt_does_not_replace_what_is_known_of_the_user(tmp_path: Path) -> None:
    trial = WorldTrial(TasteWorld.drawn(0, WorldSettings(users=24, comparisons=16, profiles=True)), tmp_path, GMTRouterConfig(model="preference"))
    known = trial.dataset([trial.world.training_users[0]]).queries[0]
    own = attrs.evolve(known, text="query 3 12", turns=())
    prompted = attrs.evolve(own, turns=[Turn("system", f"profile {trial.world.training_users[1]}")])
    assert (scores(trial, prompted) == scores(trial, own)).all()
    decision, feedback = Decision("d", "model-1", 1.0, Preference()), Feedback(decision_id="d", quality=1.0)
    context = trial.router._users[str(own.user)].context
    trial.router.learn(Experience(1, [prompted], trial.estimator.estimate([prompted]), [decision], [feedback]))
    assert trial.router._users[str(own.user)].context == context != ""


def test_vectors_are_kept_for_each_system_prompt_of_new_users(trial: WorldTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    computed, counted = gmtrouter._computed, []
    monkeypatch.setattr(gmtrouter, "_computed", lambda *given: counted.append(given) or computed(*given))
    for text in ("Be brief.", "Be thorough.", "Be brief.", "Be thorough."):
        scores(trial, *(Query("query 3 12", user=user, turns=[Turn("system", text)]) for user in ("ann", "ben")))
    assert len(counted) == 2


def test_context_reveals_taste_only_if_it_is_the_users_own(trial: WorldTrial) -> None:
    world, dataset = trial.world, trial.dataset(trial.world.training_users)
    vectors = {f"taste {u}": taste for u, taste in enumerate(world.tastes)}
    estimator = VectorEstimator({**world.embeddings(), **vectors}, trial.services)

    def about(query: Query, user: int) -> Query:
        return attrs.evolve(query, turns=[Turn("system", f"taste {user}")])

    queries = [about(query, int(str(query.user).removeprefix("user-"))) for query in dataset.queries]
    assert dataset.experience is not None
    told = attrs.evolve(dataset, queries=queries, experience=attrs.evolve(dataset.experience, queries=queries))
    trial.router.train(Training(dataset=told, request=build_request(queries, trial.pool, QUALITY, estimator=estimator)))
    users = world.unseen_users

    def right(context_of: Callable[[int], int]) -> float:
        asked = [about(Query(f"query {u} {n}", user=f"user-{u}"), context_of(u)) for u in users for n in range(16)]
        request = build_request(asked, trial.pool, QUALITY, estimator=estimator)
        found = trial.router.score(request).utility.reshape(len(users), 16, -1)
        pairs, won = world.pairs[users], np.where(world.first_won[users], 1, -1)
        margin = np.take_along_axis(found, pairs, axis=2)
        return float(((margin[..., 0] - margin[..., 1]) * won > 0).mean())

    assert right(lambda user: user) > 0.6
    assert right(world.opposite) < 0.4


def test_taste_decides_where_costs_are_unknown_and_gives_way_to_large_differences_of_cost(trial: WorldTrial) -> None:
    trial.router.learn(support(trial, trial.world.unseen_users[0], 10))
    query = Query("query 3 12", user="new")
    alone = scores(trial, query)[0]
    unpriced = trial.router.score(build_request([query], trial.pool, Preference().array, estimator=trial.estimator)).utility[0]
    assert (unpriced.argsort() == alone.argsort()).all()
    prices = {candidate.name: 0.0 if m == alone.argmin() else 100.0 for m, candidate in enumerate(trial.pool)}
    priced = Pool(ModelSpec(each.name, each.description, prices=Prices(prices[each.name], prices[each.name])) for each in trial.pool)
    reward = LinearReward()
    reward.fit(build_request([query], priced, QUALITY).expected)
    router = GMTRouter(trial.router.config, attrs.evolve(trial.services, reward=reward))
    restore(router, state_of(trial.router))
    cheap = router.score(build_request([query], priced, np.array([0.01, 0.99, 0.0]), estimator=trial.estimator)).utility[0]
    assert cheap.argmax() == alone.argmin()


def test_propensities_are_those_of_a_choice_without_a_draw(controller: MetaController) -> None:
    assert math.isclose(controller.route("query 3 12", user="new").propensity, 1.0)


def specialists(rows: int, first: int = 0) -> Dataset:
    """Return outcomes without users: one model answers the questions about cats, another those about law, and the third none of them."""
    texts, quality = ("Which food does cat {} like?", "Is clause {} of the law valid?"), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    outcomes = Outcomes(np.array([quality[row % 2] for row in range(rows)]), np.full((rows, 3), 0.001), np.full((rows, 3), np.nan))
    return Dataset([Query(texts[row % 2].format(first + row)) for row in range(rows)], SPECIALISTS, outcomes, source="specialists")


SPECIALISTS = Pool([ModelSpec("cat", "knows all about cats and their food"), ModelSpec("law", "knows the law"), ModelSpec("none", "knows nothing")])


def test_a_table_of_outcomes_without_users_teaches_what_all_users_have_in_common() -> None:
    router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
    router.train(Training(dataset=specialists(80), validation=specialists(20, first=500)))
    held_out = specialists(20, first=1000)
    router.services.reward.fit(held_out.outcomes)
    request = build_request(held_out.queries, SPECIALISTS, QUALITY)
    assert (router.score(request).utility.argmax(axis=1) == np.arange(20) % 2).all()
    assert router.score(request).notes[0]["judged_turns"] == 0  # no row became a user


def test_rows_of_a_user_in_a_table_of_outcomes_are_turns_of_that_user() -> None:
    rows, service = opinions(300), make_services(SPECIALISTS, get_plugin_manager())
    router = GMTRouter(GMTRouterConfig(model="preference"), service)
    found = router.train(Training(dataset=rows, validation=opinions(60, first=300)))
    assert (found["users"], found["judgements"]) == (20, 300)
    asked = opinions(20, first=360)
    service.reward.fit(asked.outcomes)
    request = build_request(asked.queries, SPECIALISTS, QUALITY)
    preferred = router.score(request).utility[:, 0] - router.score(request).utility[:, 1]
    assert preferred == pytest.approx(np.where(np.arange(20) % 2, -1.0, 1.0), abs=0.2)  # the difference of qualities
    assert router.score(request).notes[0]["judged_turns"] == 15


def opinions(rows: int, first: int = 0) -> Dataset:
    """Return outcomes for twenty users: each answer to any question pleases every second user."""
    users = [f"user {(first + row) % 20}" for row in range(rows)]
    quality = np.array([[n % 2 == 0, n % 2 == 1, np.nan] for n in range(first, first + rows)], dtype=float)
    outcomes = Outcomes(quality, np.full((rows, 3), 0.001), np.full((rows, 3), np.nan))
    return Dataset([Query("Which one?", user=user) for user in users], SPECIALISTS, outcomes, source="opinions")


def test_held_out_users_are_never_those_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(GMTRouter, "_trained_network", lambda self, model, users, held_out, training: seen.append((users, held_out)) or (None, {}))
    router = GMTRouter(GMTRouterConfig(), make_services(SPECIALISTS, get_plugin_manager()))
    both = attrs.evolve(opinions(60, first=200), queries=[Query("Question", user=f"user {row % 25}") for row in range(60)])
    router.train(Training(dataset=opinions(200), validation=both))
    ((users, held_out),) = seen
    assert (len(users), len(held_out)) == (20, 5)


def test_measured_qualities_set_the_weight_of_preferences_against_cost() -> None:
    slopes = []
    for best in (1.0, 0.5):
        train, validation = (
            attrs.evolve(rows, outcomes=attrs.evolve(rows.outcomes, quality=rows.outcomes.quality * best))
            for rows in (specialists(80), specialists(20, first=500))
        )
        router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
        slopes.append(router.train(Training(dataset=train, validation=validation))["slope"])
    assert slopes[0] == pytest.approx(2 * slopes[1])  # the comparisons are the same, and so are the utilities
    assert restored(router).slope == pytest.approx(slopes[1])


def restored(router: GMTRouter) -> PreferenceModel:
    """Return the model of a saved and loaded copy."""
    copy = GMTRouter(router.config, router.services)
    restore(copy, state_of(router))
    return copy._trained()


def test_a_state_without_a_key_is_one_of_another_version(tmp_path: Path) -> None:
    router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
    router.train(Training(dataset=specialists(80), validation=specialists(20, first=500)))
    router.save(tmp_path)
    document = read_json(tmp_path / NAMES)
    del document["estimator"]
    write_json(tmp_path / NAMES, document)
    with pytest.raises(CheckpointError, match="without 'estimator'; another version made it: train again"):
        router.load(tmp_path)


def test_a_long_table_sorted_by_subject_teaches_all_of_it() -> None:
    rows, router = specialists(4200), GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
    router.train(Training(dataset=rows.take(np.argsort(np.arange(4200) % 2, kind="stable")), validation=specialists(20, first=9000)))
    held_out = specialists(20, first=10_000)
    router.services.reward.fit(held_out.outcomes)
    assert (router.score(build_request(held_out.queries, SPECIALISTS, QUALITY)).utility.argmax(axis=1) == np.arange(20) % 2).all()


def test_preferences_that_do_not_predict_quality_keep_the_usual_weight(caplog: pytest.LogCaptureFixture) -> None:
    opposite = specialists(20, first=500)
    opposite = attrs.evolve(opposite, outcomes=attrs.evolve(opposite.outcomes, quality=1.0 - opposite.outcomes.quality))
    router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
    assert router.train(Training(dataset=specialists(80), validation=opposite))["slope"] == SLOPE
    assert "do not predict quality" in caplog.text


def test_outcomes_that_never_differ_teach_nothing_and_are_refused() -> None:
    equal = specialists(4)
    equal = attrs.evolve(equal, outcomes=attrs.evolve(equal.outcomes, quality=np.ones((4, 3))))
    router = GMTRouter(GMTRouterConfig(model="preference"), make_services(SPECIALISTS, get_plugin_manager()))
    with pytest.raises(DataError, match="specialists has neither"):
        router.train(Training(dataset=equal))
