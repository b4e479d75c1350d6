import attrs
import numpy as np
import pytest

from aamc_sdk.errors import NoCandidateError
from aamc_sdk.testing import POOL, estimates_of, make_dataset, make_request
from aamc_sdk.types import Estimates, Outcomes

DATASET = make_dataset(6)


def test_unknown_estimates_are_nan_and_name_no_category():
    unknown = Estimates.unknown(3)
    assert len(unknown) == 3
    assert np.isnan(unknown.complexity).all()
    assert unknown.categories.shape == (3, 0)
    assert unknown.embedding is None


def test_taking_rows_keeps_every_part_of_the_estimates_together():
    estimates = estimates_of(DATASET)
    taken = estimates.take([4, 1])
    assert taken.complexity.tolist() == estimates.complexity[[4, 1]].tolist()
    assert taken.categories.tolist() == estimates.categories[[4, 1]].tolist()
    assert taken.embedding.tolist() == estimates.embedding[[4, 1]].tolist()
    assert taken.fingerprint == estimates.fingerprint


def test_categories_are_aligned_by_name_and_unheard_ones_are_zero():
    estimates = Estimates(np.zeros(1), np.array([[0.3, 0.7]]), ("code", "math"), np.zeros(1))
    assert estimates.aligned(("math", "art", "code")).tolist() == [[0.7, 0.0, 0.3]]
    assert estimates.aligned(("code", "math")) is estimates.categories
    assert estimates.aligned(()).shape == (1, 0)


def test_stacked_estimates_say_of_each_row_what_they_said_alone():
    parts = [
        Estimates(np.zeros(1), np.ones((1, 1)), ("code",), np.zeros(1), np.array([[1.0, 2.0]]), "old"),
        Estimates(np.ones(1), np.ones((1, 1)), ("math",), np.zeros(1), np.array([[3.0]]), "new"),
        Estimates.unknown(1),
    ]
    stacked = Estimates.stack(parts)
    assert stacked.category_names == ("code", "math")
    assert stacked.categories.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert np.array_equal(stacked.embedding, [[1, 2], [3, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert stacked.fingerprint == ""
    assert Estimates.stack(parts[2:]).embedding is None
    assert Estimates.stack(parts[1:]).fingerprint == "new"


def test_outcomes_without_quality_have_nan():
    outcomes = Outcomes(None, np.ones((2, 3)), np.ones((2, 3)))
    assert np.isnan(outcomes.known_quality).all()
    assert outcomes.take([0]).quality is None


def test_outcomes_are_taken_by_row_and_by_candidate():
    table = np.arange(6.0).reshape(2, 3)
    outcomes = Outcomes(table, table, table)
    assert outcomes.take([1]).cost_usd.tolist() == [[3, 4, 5]]
    assert outcomes.columns([2, 0]).quality.tolist() == [[2, 0], [5, 3]]


def test_a_requests_rows_may_be_taken_more_than_once():
    request = make_request(DATASET, hindsight=True)
    taken = request.take(np.array([3, 3, 0]))
    assert [DATASET.queries[3], DATASET.queries[3], DATASET.queries[0]] == list(taken.queries)
    assert taken.hindsight.cost_usd[1].tolist() == request.hindsight.cost_usd[3].tolist()
    for why, where in request.masked_why.items():
        assert taken.masked_why[why][0].tolist() == where[3].tolist()


@pytest.mark.parametrize("cells", [1, 7, 1000])
def test_a_request_in_stretches_is_the_request(cells):
    request = make_request(DATASET)
    parts = list(request.batches(cells))
    assert all(part.mask.size <= max(cells, len(POOL)) for part in parts)
    assert [query for part in parts for query in part.queries] == list(DATASET.queries)
    assert np.concatenate([part.expected.cost_usd for part in parts]).tolist() == request.expected.cost_usd.tolist()
    assert np.concatenate([part.mask for part in parts]).tolist() == request.mask.tolist()


def test_one_preference_is_given_to_every_row():
    request = make_request(DATASET).with_preference(np.array([0.0, 1.0, 0.0]))
    assert request.preferences.tolist() == [[0.0, 1.0, 0.0]] * 6


def test_reasons_say_why_a_candidate_is_masked():
    request = make_request(DATASET)
    row = next(row for row, query in enumerate(DATASET.queries) if query.needs)
    assert request.reasons(row, POOL.index("SLM-Tiny")) == "lacks tools"
    assert request.reasons(row, POOL.index("LLM-XLarge")) == ""


def test_a_row_without_a_candidate_is_an_error_that_names_every_reason():
    request = make_request(DATASET)
    mask = request.mask.copy()
    mask[2] = False
    nobody = attrs.evolve(request, mask=mask, masked_why={"unavailable": ~mask})
    with pytest.raises(NoCandidateError, match=r"query 2 \(SLM-Tiny: unavailable; SLM-Medium: unavailable"):
        nobody.check_mask()
    with pytest.raises(NoCandidateError, match=r"^no candidate is allowed \(SLM-Tiny: unavailable; "):
        nobody.take(slice(2, 3)).check_mask()
    request.check_mask()


def test_means_are_of_the_known_cells():
    outcomes = Outcomes(np.array([[1.0, np.nan], [0.0, np.nan]]), np.array([[1.0, 2.0], [3.0, np.nan]]), np.full((2, 2), np.nan))
    np.testing.assert_array_equal(outcomes.means, [[0.5, 2.0, np.nan], [np.nan, 2.0, np.nan]])


@pytest.mark.parametrize(
    ("latency", "complete"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], [True, True]),
        ([[1.0, 2.0], [np.nan, 4.0]], [True, False]),
        ([[1.0, np.nan], [3.0, np.nan]], [True, True]),
        ([[np.nan, np.nan], [np.nan, np.nan]], [True, True]),
    ],
)
def test_a_missing_latency_counts_only_where_latency_is_known_of_every_candidate(latency, complete):
    ones = np.ones((2, 2))
    assert Outcomes(ones, ones, np.array(latency)).complete.tolist() == complete
    assert not Outcomes(None, ones, ones).complete.any()


def test_the_first_allowed_candidate_serves_in_place_of_one_that_is_not_allowed():
    cells = np.arange(6.0).reshape(2, 3)
    outcomes = Outcomes(cells / 10, cells, cells + 1)
    substituted = outcomes.with_substitutes(np.array([[False, True, False], [False, False, False]]))
    np.testing.assert_array_equal(substituted.cost_usd, [[1, 1, 1], [3, 4, 5]])  # nobody could serve the second row
    np.testing.assert_array_equal(substituted.latency_ms, [[2, 2, 2], [4, 5, 6]])
    assert outcomes.with_substitutes(np.ones((2, 3), dtype=bool)) is outcomes


def test_a_row_is_complete_if_its_allowed_cells_are_known():
    cells = np.array([[np.nan, 1.0], [np.nan, 1.0], [1.0, 1.0], [np.nan, 1.0]])
    allowed = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], dtype=bool)
    assert Outcomes(cells, np.ones((4, 2)), np.ones((4, 2))).complete_among(allowed).tolist() == [True, False, True, False]
