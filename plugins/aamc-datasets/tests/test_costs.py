"""What answers are taken to cost."""

import numpy as np
import pytest
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import ModelSpec, Pool, Prices
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import expected_cost

POOL = Pool([ModelSpec("small", "Quick.", prices=Prices(1.0, 2.0)), ModelSpec("large")])


def test_a_price_of_the_options_replaces_the_files_and_leaves_the_rest() -> None:
    pool = CostOptions(prices={"small": {"input": 3, "output": 4.5}}).priced(POOL, "data")
    assert pool == Pool([ModelSpec("small", "Quick.", prices=Prices(3.0, 4.5)), ModelSpec("large")])


@pytest.mark.parametrize(
    ("prices", "error", "message"),
    [
        ({"smal": {"input": 1, "output": 1}}, DataError, r"prices name 'smal', and data has no such candidate; did you mean 'small'\? \(it has"),
        ({"small": 3}, ConfigError, "the price of small: options must be keys and values, not 3"),
        ({"small": {"input": 1}}, ConfigError, "the price of small: .*output"),
        ({"small": {"input": 1, "output": "2"}}, ConfigError, "output must be a number, not '2'"),
        ({"small": {"input": 1, "output": -2}}, ConfigError, "price output must be USD from 0 to 1e\\+12, not -2"),
        ({"small": {"input": 1, "ouput": 2}}, ConfigError, "has no option 'ouput'; did you mean 'output'"),
    ],
)
def test_prices_that_are_none_are_refused(prices: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CostOptions(prices=prices).priced(POOL, "data")


@pytest.mark.parametrize("option", [{"prices": 3}, {"prices": ["small"]}, {"output_tokens": -1}, {"characters_per_token": 0.0}])
def test_options_that_make_no_sense_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        configure(CostOptions, option)


@pytest.mark.parametrize(("per_token", "output"), [(4.0, 256), (5.0, 256), (4.0, 0), (3.0, 100)])
def test_a_cost_is_what_a_request_would_expect(per_token: float, output: int) -> None:
    options = CostOptions(characters_per_token=per_token, output_tokens=output)
    pool, queries = Pool([POOL.candidates[0]]), [options.query("x" * 40)]
    outcomes, note = options.outcomes(queries, pool, np.ones((1, 1)))
    np.testing.assert_allclose([[(-(-40 // per_token) * 1.0 + output * 2.0) / 1e6]], outcomes.cost_usd)
    np.testing.assert_array_equal(expected_cost(queries, pool), outcomes.cost_usd)
    assert f"{per_token:g} characters" in note
    assert f"{output} output tokens" in note


@pytest.mark.parametrize("per_token", [4.0, 3.0])
def test_characters_of_several_bytes_are_characters(per_token: float) -> None:
    assert CostOptions(characters_per_token=per_token).query("\u65e5" * 120).expected_prompt_tokens == 120 / per_token


def test_a_measured_cell_without_its_cost_is_unknown() -> None:
    options, nan = CostOptions(), np.nan
    quality, measured = np.array([[1.0, 0.5], [nan, 0.5]]), np.array([[0.1, nan], [0.2, 0.3]])
    outcomes, note = options.outcomes([options.query("a"), options.query("b")], POOL, quality, measured)
    np.testing.assert_array_equal([[1.0, nan], [nan, 0.5]], outcomes.quality)
    np.testing.assert_array_equal([[0.1, nan], [nan, 0.3]], outcomes.cost_usd)
    assert note == ""
