"""The errors of expected lengths, by hand."""

import attrs
import numpy as np
import pytest
from aamc_experiments.evaluation import length_errors

from aamc_sdk import Dataset, ModelSpec, Outcomes, Pool, Prices, Query
from aamc_sdk.routing import build_request
from aamc_sdk.types import AnswerLengths, Latency

POOL = Pool([ModelSpec("small", prices=Prices(0, 1), latency=Latency(service_ms=200.0)), ModelSpec("large", prices=Prices(0, 10))])
QUERIES = [Query(text) for text in "abc"]
TOKENS = np.array([[100.0, np.nan], [200.0, np.nan], [300.0, np.nan]])
ROWS = Dataset(QUERIES, pool=POOL, outcomes=Outcomes(np.ones((3, 2)), TOKENS / 1e6, TOKENS, output_tokens=TOKENS))
EXPECTED = AnswerLengths(np.array([[110.0, 1.0], [200.0, 1.0], [280.0, 1.0]]), np.array([200.0, 1.0]))


def test_errors_are_those_computed_by_hand():
    request = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]), lengths=EXPECTED)
    (name, found), *others = length_errors(request, ROWS).items()
    assert (name, others) == ("small", [])
    assert found["n"] == 3
    assert found["mean_tokens"] == 200
    assert found["expected_tokens"] == pytest.approx(590 / 3)
    assert found["mae_tokens"] == 10
    assert found["mae_tokens_of_mean"] == pytest.approx(200 / 3)
    assert found["mae_cost_usd"] == pytest.approx(10e-6)
    assert found["mae_latency_ms"] == pytest.approx(10)
    assert found["mae_tokens_ci95"] == [0, 20]  # one resample in 27 has the same question three times


def test_one_row_has_no_interval():
    one = np.arange(1)
    request = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]), lengths=EXPECTED)
    assert length_errors(request.take(one), ROWS.take(one))["small"]["mae_tokens_ci95"] is None


def test_rows_of_one_question_say_no_more_than_one_of_them():
    often = np.repeat(np.arange(3), 30)
    request = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]), lengths=EXPECTED).take(often)
    assert length_errors(request, ROWS.take(often))["small"]["mae_tokens_ci95"] == [0, 20]
    assert length_errors(request.take(often[:30]), ROWS.take(often[:30]))["small"]["mae_tokens_ci95"] is None


def test_unknown_latencies_have_no_errors():
    request = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]), lengths=EXPECTED)
    unknown = attrs.evolve(ROWS, outcomes=attrs.evolve(ROWS.outcomes, latency_ms=np.full((3, 2), np.nan)))
    assert length_errors(request, unknown)["small"]["mae_latency_ms"] is None


def test_without_lengths_there_are_no_errors():
    request = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]))
    assert length_errors(request, ROWS) is None
    expected = build_request(QUERIES, POOL, np.array([1.0, 0.0, 0.0]), lengths=EXPECTED)
    assert length_errors(expected, attrs.evolve(ROWS, outcomes=None)) is None
    assert length_errors(expected, attrs.evolve(ROWS, outcomes=Outcomes(None, TOKENS, TOKENS))) is None
