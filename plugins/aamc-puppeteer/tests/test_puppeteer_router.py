"""Router ``puppeteer``: the orchestrator's policy chooses who answers."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_puppeteer.router import PuppeteerRouter, PuppeteerRouterConfig

from aamc_sdk import Candidate, Dataset, Outcomes, Pool, Query, Training
from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.serving import DefaultSettings, make_services
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Floats

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
    return PuppeteerRouter(options, make_services(POOL, get_plugin_manager(), DefaultSettings(seed=seed)))


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
    dataset = table(80)
    assert dataset.outcomes is not None
    quality = dataset.outcomes.quality.copy()
    quality[:, 0] = np.nan  # the mathematician was never asked
    router = trained(attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=quality)))
    asked = "Read clause 7 of the contract, by law."
    assert utilities(router, [asked])[0].argmax() == POOL.index("lawyer")


def test_sampling_draws_from_the_policy_over_the_allowed_candidates(specialist: PuppeteerRouter) -> None:
    sampling = trained(table(80), attrs.evolve(OPTIONS, sample=True, updates=5))
    request = build_request([Query("Solve the equation number 3 in algebra.")], POOL, QUALITY_ONLY)
    scores = sampling.score(request)
    assert scores.probabilities is not None
    assert scores.probabilities.sum() == pytest.approx(1.0)
    assert (np.diff(scores.utility[0][np.argsort(scores.probabilities[0])]) >= 0).all()


def test_it_is_refused_untrained_and_without_outcomes() -> None:
    with pytest.raises(PluginError, match="aamc train --router puppeteer"):
        utilities(untrained(), ["What?"])
    with pytest.raises(DataError, match="questions has none"):
        untrained().train(Training(dataset=Dataset([Query("What?")], source="questions")))
