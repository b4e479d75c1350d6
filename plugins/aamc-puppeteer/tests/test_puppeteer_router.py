"""Router ``puppeteer``: the orchestrator's policy chooses who answers."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_puppeteer.router import PuppeteerRouter, PuppeteerRouterConfig

from aamc_sdk import Candidate, Dataset, Outcomes, Pool, Query, Training
from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.serving import make_services
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Floats, PoolState

POOL = Pool(
    [
        Candidate("mathematician", "solves equations and proofs in algebra"),
        Candidate("lawyer", "reads contracts and clauses of law"),
        Candidate("guesser", "guesses"),
    ]
)
QUALITY_ONLY = np.array([1.0, 0.0, 0.0])
SUBJECTS = {"Solve the equation number {} in algebra.": (1.0, 0.0, 0.4), "Read clause {} of the contract, by law.": (0.0, 1.0, 0.4)}
OPTIONS = PuppeteerRouterConfig(updates=120, episodes=32, learning_rate=0.01)


def table(rows: int, first: int = 0) -> Dataset:
    """Return a table in which the mathematician answers all equations, the lawyer all clauses, and the guesser 4 of 10 of both."""
    chosen = [list(SUBJECTS.items())[row % 2] for row in range(rows)]
    quality = np.array([known for _, known in chosen])
    cost, latency = np.full_like(quality, 0.001), np.full_like(quality, np.nan)
    queries = [Query(text.format(first + row)) for row, (text, _) in enumerate(chosen)]
    return Dataset(queries, POOL, Outcomes(quality, cost, latency), source="specialists")


def untrained(options: PuppeteerRouterConfig = OPTIONS, seed: int = 0) -> PuppeteerRouter:
    return PuppeteerRouter(options, make_services(POOL, get_plugin_manager(), ServingSettings(seed=seed)))


def trained(dataset: Dataset, options: PuppeteerRouterConfig = OPTIONS) -> PuppeteerRouter:
    router = untrained(options)
    assert dataset.outcomes is not None
    router.services.reward.fit(dataset.outcomes)
    router.train(Training(dataset=dataset, request=build_request(dataset.queries, POOL, QUALITY_ONLY)))
    return router


def utilities(router: PuppeteerRouter, texts: list[str], pool: Pool = POOL) -> Floats:
    return router.score(build_request([Query(text) for text in texts], pool, QUALITY_ONLY)).utility


@pytest.fixture(scope="module")
def specialist() -> PuppeteerRouter:
    return trained(table(80))


def test_it_conforms() -> None:
    assert_conforms("router", "puppeteer", get_plugin_manager(), {"updates": 20})


def test_it_learns_which_candidate_answers_which_question(specialist: PuppeteerRouter) -> None:
    held_out = table(40, first=1000)
    chosen = utilities(specialist, [query.text for query in held_out.queries]).argmax(axis=1)
    assert np.mean(chosen == np.arange(40) % 2) > 0.9


def test_the_same_seed_gives_the_same_policy(specialist: PuppeteerRouter) -> None:
    asked = ["Solve the equation number 3 in algebra."]
    assert (utilities(trained(table(80)), asked) == utilities(specialist, asked)).all()


def test_a_saved_policy_scores_the_same(specialist: PuppeteerRouter, tmp_path: Path) -> None:
    specialist.save(tmp_path)
    loaded = untrained(seed=1)
    loaded.load(tmp_path)
    asked = ["Read clause 7 of the contract, by law.", "What?"]
    assert (utilities(loaded, asked) == utilities(specialist, asked)).all()


def test_a_candidate_of_another_pool_is_scored_from_its_description(specialist: PuppeteerRouter) -> None:
    pool = Pool([Candidate("newcomer", "reads contracts and clauses of law"), *list(POOL)[::-1]])
    asked = ["Read clause 7 of the contract, by law."]
    found = dict(zip(pool.names, utilities(specialist, asked, pool)[0].tolist(), strict=True))
    assert found["newcomer"] > found["guesser"]
    before = utilities(specialist, asked)
    assert before.argmax() == POOL.index("lawyer")  # the first pool again


def test_unknown_outcomes_teach_nothing() -> None:
    dataset = table(200)
    assert dataset.outcomes is not None
    quality = dataset.outcomes.quality.copy()
    quality[np.arange(200) % 10 < 7, 0] = np.nan  # read as 0, the mathematician would expect .3 of an equation, and the guesser .4
    router = trained(attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=quality)), attrs.evolve(OPTIONS, updates=200))
    assert utilities(router, ["Solve the equation number 7 in algebra."])[0].argmax() == POOL.index("mathematician")


def test_rewards_below_0_do_not_teach_to_choose_nobody() -> None:
    dataset = table(80)
    assert dataset.outcomes is not None
    router = untrained()
    router.services.reward.fit(attrs.evolve(dataset.outcomes, cost_usd=np.tile([0.001, 0.001, 0.002], (80, 1))))
    costly = attrs.evolve(dataset.outcomes, cost_usd=np.full((80, 3), 0.0035))
    request = build_request(dataset.queries, POOL, np.array([0.5, 0.5, 0.0]))
    assert (router.services.reward.scalar(costly, request.preferences) < 0).all()
    router.train(Training(dataset=attrs.evolve(dataset, outcomes=costly), request=request))
    chosen = utilities(router, [query.text for query in table(40, first=1000).queries]).argmax(axis=1)
    assert np.mean(chosen == np.arange(40) % 2) > 0.9


def test_sampling_draws_from_the_policy_over_the_allowed_candidates(specialist: PuppeteerRouter) -> None:
    sampling = trained(table(80), attrs.evolve(OPTIONS, sample=True, updates=5))
    request = build_request([Query("Solve the equation number 3 in algebra.")], POOL, QUALITY_ONLY, state=PoolState(unavailable={"mathematician"}))
    scores = sampling.score(request)
    assert scores.probabilities is not None
    none, lawyer, guesser = scores.probabilities[0]
    assert none == 0
    assert lawyer + guesser == pytest.approx(1.0)
    assert lawyer / guesser == pytest.approx(np.exp(scores.utility[0, 1] - scores.utility[0, 2]))


def test_the_texts_of_served_queries_are_not_kept(specialist: PuppeteerRouter) -> None:
    encoder = specialist._policy.parts()[1]
    before = set(encoder._tasks)
    utilities(specialist, [f"A private question, number {n}" for n in range(5)])
    assert set(encoder._tasks) == before


def test_training_again_starts_anew_whatever_pool_was_scored(specialist: PuppeteerRouter) -> None:
    router = trained(table(80))
    utilities(router, ["What?"], Pool([*POOL, Candidate("newcomer", "guesses too")]))
    dataset = table(80)
    router.train(Training(dataset=dataset, request=build_request(dataset.queries, POOL, QUALITY_ONLY)))
    asked = ["Solve the equation number 3 in algebra."]
    assert (utilities(router, asked) == utilities(specialist, asked)).all()


def test_it_is_refused_untrained_and_without_outcomes(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="aamc train --router puppeteer"):
        utilities(untrained(), ["What?"])
    with pytest.raises(DataError, match="questions has none"):
        untrained().train(Training(dataset=Dataset([Query("What?")], source="questions")))
    dataset = table(4)
    assert dataset.outcomes is not None
    for quality in (None, np.full((4, 3), np.nan)):
        unknown = attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=quality))
        with pytest.raises(DataError, match="specialists has no row with a known reward"):
            untrained().train(Training(dataset=unknown, request=build_request(dataset.queries, POOL, QUALITY_ONLY)))
