from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aamc_sdk import MetaController
from aamc_sdk.errors import ConfigError, DataError, EstimatesError
from aamc_sdk.interfaces import Training
from aamc_sdk.routing import default_pool, pool_to_dict
from aamc_sdk.storage import write_yaml
from aamc_sdk.types import Dataset, Outcomes, Pool, Query


@pytest.mark.parametrize(("name", "expected"), [("llm-only", "LLM-XLarge"), ("slm-only", "SLM-Medium")])
def test_the_default_pools_namesakes_are_taken_untrained(name: str, expected: str, make_router: Any, make_request: Any, choose: Any) -> None:
    assert choose(make_router(name), make_request(default_pool())) == [expected] * 2


def test_llm_only_goes_by_the_price_of_equal_tokens_not_by_what_answers_cost(make_router: Any, make_request: Any, choose: Any) -> None:
    assert choose(make_router("llm-only", train=True), make_request()) == ["large"] * 2


def test_llm_only_breaks_ties_of_price_to_the_better(make_router: Any, make_request: Any, make_pool: Any, choose: Any) -> None:
    equal = make_pool(small=5.0, large=5.0, middle=5.0)
    assert choose(make_router("llm-only", train=True), make_request(equal)) == ["large"] * 2


def test_slm_only_is_the_cheapest_with_enough_of_the_best_quality(make_router: Any, make_request: Any, choose: Any) -> None:
    assert choose(make_router("slm-only", train=True), make_request()) == ["middle"] * 2
    assert choose(make_router("slm-only", train=True, share=0.5), make_request()) == ["small"] * 2
    assert choose(make_router("slm-only", train=True, share=0.95), make_request()) == ["large"] * 2


def test_the_share_is_of_the_best_in_this_pool(make_router: Any, make_request: Any, make_pool: Any, choose: Any) -> None:
    assert choose(make_router("slm-only", train=True), make_request(make_pool(middle=2.0, small=1.0))) == ["middle"] * 2
    assert choose(make_router("slm-only", train=True), make_request(make_pool(newcomer=0.5, small=1.0))) == ["small"] * 2


def test_a_named_model_can_be_chosen(make_router: Any, make_request: Any, choose: Any) -> None:
    assert choose(make_router("llm-only", model="middle"), make_request()) == ["middle"] * 2


@pytest.mark.parametrize(("name", "expected"), [("llm-only", ["middle", "small"]), ("slm-only", ["large", "small"])])
def test_a_masked_choice_is_replaced_by_the_rules_next(name: str, expected: list[str], make_router: Any, make_request: Any, choose: Any) -> None:
    first = "large" if name == "llm-only" else "middle"
    names = ("small", "middle", "large")
    down = np.array([[candidate == first for candidate in names], [candidate != "small" for candidate in names]])
    assert choose(make_router(name, train=True), make_request(unavailable=down)) == expected


def test_llm_only_falls_back_to_prices_in_a_pool_it_never_saw(make_router: Any, make_request: Any, make_pool: Any, choose: Any) -> None:
    assert choose(make_router("llm-only", train=True), make_request(make_pool(a=1.0, b=9.0, c=3.0))) == ["b"] * 2


def test_a_candidate_without_a_price_goes_by_its_measured_cost(make_router: Any, make_request: Any, make_pool: Any, choose: Any) -> None:
    unpriced = make_pool(small=None, large=10.0)
    assert choose(make_router("llm-only", train=True), make_request(unpriced)) == ["small"] * 2
    assert choose(make_router("llm-only"), make_request(unpriced)) == ["large"] * 2


def test_slm_only_without_training_or_its_model_says_what_to_do(make_router: Any, make_request: Any) -> None:
    with pytest.raises(EstimatesError, match="train first"):
        make_router("slm-only").score(make_request())


def test_training_without_outcomes_is_an_error(make_router: Any) -> None:
    with pytest.raises(DataError, match="neither outcomes nor comparisons"):
        make_router("llm-only").train(Training(dataset=Dataset([Query("one")])))


@pytest.mark.parametrize("name", ["llm-only", "slm-only", "best-single", "rule"])
def test_means_come_back_as_they_were_saved(name: str, make_router: Any, tmp_path: Path) -> None:
    router, fresh = make_router(name, train=True), make_router(name)
    router.save(tmp_path)
    fresh.load(tmp_path)
    assert fresh.means.names == router.means.names
    assert fresh.means.tokens == router.means.tokens
    np.testing.assert_array_equal(fresh.means.outcomes, router.means.outcomes)


def test_an_untrained_router_can_be_saved_too(make_router: Any, make_request: Any, choose: Any, tmp_path: Path) -> None:
    make_router("llm-only").save(tmp_path)
    router = make_router("llm-only")
    router.load(tmp_path)
    assert choose(router, make_request()) == ["large"] * 2


def test_means_leave_out_what_is_not_known(make_router: Any, training: Any, pool: Any) -> None:
    outcomes = training.dataset.outcomes
    quality = outcomes.quality.copy()
    quality[0, 0], quality[:, 1] = np.nan, np.nan
    dataset = Dataset(training.dataset.queries, pool, Outcomes(quality, outcomes.cost_usd, outcomes.latency_ms))
    means = make_router("llm-only", train=True, on=Training(dataset=dataset)).means.by_candidate(pool)
    np.testing.assert_allclose(means[:, 0], [0.6, np.nan, 0.9])


def test_slm_only_is_refused_at_the_start_where_each_request_would_fail(pool: Pool) -> None:
    why = r"'slm-only' must be trained first \(the pool has no 'SLM-Medium'; name another small model with the option model\); train it with: "
    with pytest.raises(ConfigError, match=why):
        MetaController.build(router="slm-only", pool=pool)
    MetaController.build(router={"name": "slm-only", "model": "middle"}, pool=pool).close()


def test_a_router_refused_for_its_pool_is_to_be_trained_for_that_pool(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    write_yaml(path, pool_to_dict(pool))
    for given in (path, str(path)):
        with pytest.raises(ConfigError, match=re.escape(f"train it with: aamc run --router slm-only --pool {path}; then")):
            MetaController.build(router="slm-only", pool=given)
