import re

import attrs
import numpy as np
import pytest

from aamc_sdk import Candidate, Estimator, Latency, ModelSpec, Pool, PoolState, Preference, Prices, Query, Turn
from aamc_sdk.errors import NoCandidateError, PluginError, PoolError
from aamc_sdk.routing import build_request, expected_cost, out_of_fold, token_counts
from aamc_sdk.types import AnswerLengths, Estimates

SMALL = ModelSpec("small", prices=Prices(1.0, 2.0, cached_input=0.1), latency=Latency(10, 90), context_window=1000)
LARGE = ModelSpec("large", abilities={"tools", "vision"}, prices=Prices(10.0, 40.0), latency=Latency(20, 480))
AGENT = Candidate("agent", "An agent without figures.")
POOL = Pool([SMALL, LARGE, AGENT])
PREFERENCE = np.array([0.9, 0.08, 0.02])


def test_token_counts_have_a_row_a_query():
    assert token_counts([Query("x" * 8), Query("", prompt_tokens=5, output_tokens=7)]).tolist() == [[2, 256], [5, 7]]
    assert token_counts([]).shape == (0, 2)


def test_cost_is_price_times_tokens_by_hand():
    cost = expected_cost([Query("", prompt_tokens=1000, output_tokens=500)], POOL)
    assert cost[0, 0] == pytest.approx((1000 * 1 + 500 * 2) / 1e6)
    assert cost[0, 1] == pytest.approx((1000 * 10 + 500 * 40) / 1e6)
    assert np.isnan(cost[0, 2])


def test_the_holder_of_the_prompt_cache_reads_at_its_cached_price():
    query = Query("", prompt_tokens=1000, output_tokens=0, cached_on="small")
    assert expected_cost([query], POOL)[0, 0] == pytest.approx(1000 * 0.1 / 1e6)
    without_cached_price = Query("", prompt_tokens=1000, output_tokens=0, cached_on="large")
    assert expected_cost([without_cached_price], POOL)[0, 1] == pytest.approx(1000 * 10 / 1e6)
    somewhere_else = Query("", prompt_tokens=1000, output_tokens=0, cached_on="gone")
    assert expected_cost([somewhere_else], POOL)[0, 0] == pytest.approx(1000 / 1e6)


@pytest.mark.parametrize(
    ("query", "cached"),
    [
        (Query("x" * 400, turns=[Turn("user", "y" * 40), Turn("assistant", "z" * 40, model="small")]), 20),
        (Query("x" * 400, prompt_tokens=1000), 900),
        (Query("x" * 400, prompt_tokens=50), 0),
        (Query("x" * 400, prompt_tokens=1000, cached_tokens=30), 30),
        (Query("x" * 400, prompt_tokens=1000, cached_tokens=3000), 1000),
    ],
    ids=["turns", "counted prompt", "text longer than the prompt", "counted", "at most the prompt"],
)
def test_a_new_text_is_not_in_the_prompt_cache(query: Query, cached: int) -> None:
    saved = expected_cost([query], POOL) - expected_cost([attrs.evolve(query, cached_on="small")], POOL)
    assert saved[0, 0] == pytest.approx(cached * 0.9 / 1e6)


def test_latency_is_that_of_an_unloaded_candidate():
    latency_ms = build_request([Query("")] * 2, POOL, Preference().array).expected.latency_ms
    assert latency_ms[:, :2].tolist() == [[100, 500], [100, 500]]
    assert np.isnan(latency_ms[:, 2]).all()


def arrays_of(values, name=""):
    """Return the arrays among the fields of an object, and of objects in it, by name."""
    if isinstance(values, np.ndarray):
        return {name: values}
    fields = values if isinstance(values, dict) else attrs.asdict(values, recurse=False) if attrs.has(type(values)) else {}
    return {each: array for key, value in fields.items() for each, array in arrays_of(value, f"{name}.{key}").items()}


class Describing(Estimator):
    def estimate(self, queries):
        known = np.full(len(queries), 0.5)
        return Estimates(known, np.ones((len(queries), 1)), ("all",), known.copy(), np.ones((len(queries), 4)))

    def quality(self, estimates, pool):
        return np.full((len(estimates), len(pool)), 0.5)

    def answer_lengths(self, estimates, pool):
        return AnswerLengths(np.full((len(estimates), len(pool)), 9.0), np.full(len(pool), 9.0))


STATE = PoolState(wait_ms={"small": 50.0}, in_flight={"small": 2}, pressure={"large": 1.0}, unavailable={"small"})


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("arguments", [{}, {"estimator": Describing(None, None), "state": STATE, "budget_usd": 1.0}])
def test_no_array_of_a_request_can_be_written_to(rows, arguments):
    request = build_request([Query("")] * rows, POOL, PREFERENCE, **arguments)
    arrays = arrays_of(request)
    assert len(arrays) >= 8
    assert [name for name, array in arrays.items() if array.flags.writeable] == []
    assert isinstance(request.queries, tuple)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_request_keeps_its_preferences_when_the_callers_array_changes(rows):
    mine = np.array([0.9, 0.1, 0.0])
    request = build_request([Query("")] * rows, POOL, mine)
    mine[:] = 0
    assert request.preferences.tolist() == [[0.9, 0.1, 0.0]] * rows


def test_waiting_adds_to_expected_latency():
    state = PoolState(wait_ms={"small": 50.0}, in_flight={"small": 2})
    request = build_request([Query("")], POOL, PREFERENCE, state=state)
    assert request.expected.latency_ms[0, :2].tolist() == [150, 500]
    assert request.wait_ms.tolist() == [[50.0, 0.0, 0.0]]
    assert request.in_flight.tolist() == [[2.0, 0.0, 0.0]]


def test_a_state_of_an_unknown_candidate_is_refused():
    with pytest.raises(PoolError, match="no candidate 'smal'; did you mean 'small'"):
        build_request([Query("")], POOL, PREFERENCE, state=PoolState(wait_ms={"smal": 50.0}))


def test_nothing_is_masked_in_a_plain_request():
    request = build_request([Query("hello")], POOL, PREFERENCE)
    assert request.mask.all()
    assert request.masked_why == {}
    assert request.expected.quality is None
    assert np.isnan(request.estimates.complexity).all()


@pytest.mark.parametrize(
    ("query", "options", "allowed", "why"),
    [
        (Query("", prompt_tokens=900, output_tokens=101), {}, [False, True, True], "context window"),
        (Query("", prompt_tokens=900, output_tokens=100), {}, [True, True, True], None),
        (Query("", prompt_tokens=9000, window_tokens=1000), {}, [True, True, True], None),
        (Query("", prompt_tokens=1, window_tokens=1001), {}, [False, True, True], "context window"),
        (Query("", needs={"tools"}), {}, [False, True, False], "lacks tools"),
        (Query("", needs={"audio"}), {}, [False, False, False], "lacks audio"),
        (Query(""), {"state": PoolState(unavailable=["large"])}, [True, False, True], "unavailable"),
        (Query(""), {"state": PoolState(remaining={"large": 0, "small": 3})}, [True, False, True], "rate limit"),
    ],
)
def test_masks_say_what_is_not_allowed_and_why(query, options, allowed, why):
    request = build_request([query], POOL, PREFERENCE, **options)
    assert request.mask.tolist() == [allowed]
    assert list(request.masked_why) == ([] if why is None else [why])
    if why is not None:
        assert request.masked_why[why].tolist() == [[not each for each in allowed]]


def test_the_error_names_the_needs_that_nobody_meets_and_what_the_candidates_have():
    request = build_request([Query(""), Query("", needs={"tool", "tools"})], POOL, PREFERENCE)
    assert request.reasons(1, POOL.index("small")) == "lacks tool, lacks tools"
    why = "no candidate has the ability 'tool'; did you mean 'tools'? (the pool's abilities: tools, vision)"
    with pytest.raises(NoCandidateError, match=re.escape(why)):
        request.check_mask()


def test_over_budget_is_said_of_known_costs_only():
    request = build_request([Query("", prompt_tokens=1000, output_tokens=0)], POOL, PREFERENCE, budget_usd=0.005)
    assert [request.reasons(0, m) for m in range(3)] == ["", "over budget", "unknown cost, which fits no budget"]


@pytest.mark.parametrize("means", [None, np.array([[0.5, np.nan, 1.0]] * 2), np.array([[0.5, 0.1, 1.0], [np.nan, np.nan, np.nan]])])
def test_a_candidate_of_unknown_cost_fits_no_budget(means):
    pool = Pool([ModelSpec("priced", prices=Prices(1.0, 1.0)), ModelSpec("unheard-of")])
    request = build_request([Query("x")], pool, PREFERENCE, candidate_means=means, budget_usd=1e9)
    assert request.mask.tolist() == [[True, False]]
    assert request.reasons(0, 1) == "unknown cost, which fits no budget"


def test_a_cost_that_was_measured_in_training_is_known():
    pool = Pool([ModelSpec("a"), ModelSpec("b")])
    means = np.array([[0.5, 0.1, 1.0], [0.5, 0.3, 1.0]])
    request = build_request([Query("x")], pool, PREFERENCE, candidate_means=means, budget_usd=0.2)
    assert request.mask.tolist() == [[True, False]]
    assert request.reasons(0, 1) == "over budget"


def test_preferences_are_one_for_all_or_one_each():
    queries = [Query("a"), Query("b")]
    assert build_request(queries, POOL, PREFERENCE).preferences.tolist() == [PREFERENCE.tolist()] * 2
    each = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert build_request(queries, POOL, each).preferences.tolist() == each.tolist()


def test_what_is_estimated_is_passed_on():
    estimates, quality = Estimates.unknown(1), np.array([[0.1, 0.2, 0.3]])
    request = build_request([Query("a")], POOL, PREFERENCE, estimates=estimates, quality=quality)
    assert request.estimates is estimates
    assert request.expected.quality is quality


def test_an_estimator_provides_what_is_not_given():
    class Means(Estimator):
        def estimate(self, queries):
            return Estimates.unknown(len(queries))

        def quality(self, estimates, pool):
            return np.full((len(estimates), len(pool)), 0.25)

        def answer_lengths(self, estimates, pool):
            return AnswerLengths(np.full((len(estimates), len(pool)), 100.0), np.full(len(pool), 100.0))

    queries, estimator = [Query("")] * 2, Means(None, None)
    request = build_request(queries, POOL, PREFERENCE, estimator=estimator)
    assert request.expected.quality.tolist() == [[0.25] * 3] * 2
    assert request.expected.output_tokens.tolist() == [[100] * 3] * 2
    held_out = np.full((2, 3), 0.5)
    request = build_request(queries, POOL, PREFERENCE, quality=held_out, estimator=estimator)
    assert request.expected.quality is held_out
    assert request.expected.output_tokens.tolist() == [[100] * 3] * 2
    known = Estimates.unknown(2)
    assert build_request(queries, POOL, PREFERENCE, estimates=known, estimator=estimator).estimates is known


class Mistaken(Estimator):
    def __init__(self, returned):
        self.returned = returned

    def estimate(self, queries):
        return self.returned["estimates"]

    def quality(self, estimates, pool):
        return self.returned["quality"]

    def answer_lengths(self, estimates, pool):
        return self.returned.get("lengths")

    def out_of_fold(self):
        return self.returned["quality"]

    def out_of_fold_lengths(self, pool):
        return self.returned.get("lengths")


KNOWN = Estimates.unknown(2)
QUALITY_SHAPE = "must return floats of shape (2, 3) (queries, candidates)"


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ({}, "KeyError: 'estimates'"),
        ({"estimates": {"complexity": 0.5}}, "estimate must return the aamc_sdk.Estimates of 2 queries, not {'complexity': 0.5}"),
        (
            {"estimates": np.zeros((2, 9))},
            "estimate must return the aamc_sdk.Estimates of 2 queries, not an array of shape (2, 9) and type float64",
        ),
        ({"estimates": Estimates.unknown(3)}, "estimate must return the aamc_sdk.Estimates of 2 queries, not those of 3"),
        (
            {"estimates": attrs.evolve(KNOWN, complexity=np.zeros((2, 1)))},
            "estimate must return complexity of shape (2,), not an array of shape (2, 1) and type float64",
        ),
        (
            {"estimates": attrs.evolve(KNOWN, tool_use=[0.5, 0.5])},
            "estimate must return tool_use of shape (2,), not [0.5, 0.5]",
        ),
        (
            {"estimates": attrs.evolve(KNOWN, embedding=np.zeros(2))},
            "estimate must return an embedding of shape (2, D), not an array of shape (2,) and type float64",
        ),
        (
            {"estimates": attrs.evolve(KNOWN, complexity=np.array([0.5, 7.0]))},
            "complexity of estimate must be values from 0 to 1, or NaN if unknown, not 7.0",
        ),
        ({"estimates": KNOWN, "quality": np.zeros(3)}, f"quality {QUALITY_SHAPE}, not an array of shape (3,) and type float64"),
        ({"estimates": KNOWN, "quality": [0.5]}, f"quality {QUALITY_SHAPE}, not [0.5]"),
        ({"estimates": KNOWN, "quality": np.full((2, 3), 40.0)}, "quality must return values from 0 to 1, or NaN if unknown, not 40.0"),
    ],
)
def test_an_estimator_that_fails_is_named_and_not_the_router_that_reads_it(returned, problem):
    with pytest.raises(PluginError, match=f"^Mistaken failed: .*{re.escape(problem)}$"):
        build_request([Query("")] * 2, POOL, PREFERENCE, estimator=Mistaken(returned))


SHAPES = (
    "must return tokens of shape (2, 3) (queries, candidates), mean_tokens of shape (3,), and fixed_latency of that shape or one number, not shapes"
)


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ({}, "KeyError: 'quality'"),
        ({"quality": np.zeros((2, 4))}, f"out_of_fold {QUALITY_SHAPE}, not an array of shape (2, 4) and type float64"),
        ({"quality": np.zeros((5, 3))}, f"out_of_fold {QUALITY_SHAPE}, not an array of shape (5, 3) and type float64"),
        ({"quality": np.full((2, 3), np.inf)}, "out_of_fold must return values from 0 to 1, or NaN if unknown, not inf"),
        (
            {"quality": None, "lengths": np.ones((2, 3))},
            "out_of_fold_lengths must return aamc_sdk.types.AnswerLengths, not an array of shape (2, 3) and type float64",
        ),
        ({"quality": None, "lengths": AnswerLengths(np.ones((2, 4)), np.ones(3))}, f"out_of_fold_lengths {SHAPES} (2, 4), (3,) and ()"),
    ],
)
def test_what_an_estimator_expected_of_its_training_rows_is_checked_before_it_is_used(returned, problem):
    with pytest.raises(PluginError, match=f"^Mistaken failed: .*{re.escape(problem)}$"):
        out_of_fold(Mistaken(returned), 2, POOL)


def test_wrong_lengths_of_answers_name_the_estimator():
    wrong = Mistaken({"estimates": KNOWN, "quality": None, "lengths": AnswerLengths(np.ones((2, 3)), np.ones(2))})
    with pytest.raises(PluginError, match=re.escape(f"Mistaken failed: ValueError: answer_lengths {SHAPES} (2, 3), (2,) and ()")):
        build_request([Query("")] * 2, POOL, PREFERENCE, estimator=wrong)


def test_an_estimator_may_expect_nothing_of_a_candidate():
    quality = np.array([[0.0, 1.0, np.nan]] * 2)
    request = build_request([Query("")] * 2, POOL, PREFERENCE, estimator=Mistaken({"estimates": KNOWN, "quality": quality}))
    assert np.array_equal(request.expected.quality, quality, equal_nan=True)


def test_an_empty_batch_makes_an_empty_request():
    request = build_request([], POOL, PREFERENCE)
    assert len(request) == 0
    assert request.mask.shape == (0, 3)


def test_what_prices_do_not_say_is_expected_as_in_training_and_else_as_the_worst():
    pool = Pool([ModelSpec("priced", prices=Prices(1.0, 1.0)), ModelSpec("measured"), ModelSpec("unheard-of")])
    means = np.array([[0.5, 9.0, 100.0], [0.5, 3.0, 300.0], [np.nan, np.nan, np.nan]])
    expected = build_request([Query("x", prompt_tokens=1_000_000, output_tokens=0)], pool, PREFERENCE, candidate_means=means).expected
    assert expected.cost_usd.tolist() == [[1.0, 3.0, 3.0]]
    assert expected.latency_ms.tolist() == [[100.0, 300.0, 300.0]]


def test_what_nobody_knows_stays_unknown():
    pool = Pool([ModelSpec("a"), ModelSpec("b")])
    expected = build_request([Query("x")], pool, PREFERENCE, candidate_means=np.full((2, 3), np.nan)).expected
    assert np.isnan(expected.cost_usd).all()
    assert np.isnan(expected.latency_ms).all()


def test_learned_lengths_change_cost_latency_and_mask():
    pool = Pool([SMALL, LARGE])
    lengths = AnswerLengths(np.array([[10.0, 512.0], [2000.0, 256.0]]), np.array([100.0, 256.0]))
    request = build_request([Query("", prompt_tokens=100)] * 2, pool, PREFERENCE, lengths=lengths)
    assert request.expected.output_tokens.tolist() == lengths.tokens.tolist()
    assert request.expected.cost_usd == pytest.approx(np.array([[120, 1000 + 512 * 40], [4100, 1000 + 256 * 40]]) / 1e6)
    assert request.expected.latency_ms == pytest.approx(np.array([[10 + 90 * 0.1, 20 + 480 * 2], [10 + 90 * 20, 20 + 480]]))
    assert request.mask.tolist() == [[True, True], [False, True]]  # small reads and writes at most 1,000 tokens
    affordable = build_request([Query("", prompt_tokens=100)] * 2, pool, PREFERENCE, lengths=lengths, budget_usd=0.001)
    assert affordable.mask.tolist() == [[True, False], [False, False]]


def test_an_unknown_length_is_256_tokens():
    lengths = AnswerLengths(np.array([[np.nan, 512.0]]), np.array([np.nan, 256.0]))
    expected, plain = (build_request([Query("hello")], Pool([SMALL, LARGE]), PREFERENCE, lengths=known).expected for known in (lengths, None))
    assert expected.output_tokens.tolist() == [[256.0, 512.0]]
    assert expected.cost_usd[0, 0] == plain.cost_usd[0, 0]
    assert expected.latency_ms[0, 0] == plain.latency_ms[0, 0]


def test_stated_tokens_have_priority_over_learned_ones():
    lengths = AnswerLengths(np.full((1, 2), 100.0), np.full(2, 50.0))
    expected = build_request([Query("", prompt_tokens=0, output_tokens=25)], Pool([SMALL, LARGE]), PREFERENCE, lengths=lengths).expected
    assert expected.output_tokens.tolist() == [[25.0, 25.0]]
    assert expected.cost_usd == pytest.approx(np.array([[50, 1000]]) / 1e6)
    assert expected.latency_ms == pytest.approx(np.array([[10 + 45, 20 + 240]]))


def test_service_time_grows_with_stated_tokens_from_256():
    short, long = build_request([Query("", output_tokens=128), Query("")], Pool([SMALL]), PREFERENCE).expected.latency_ms
    assert [short.item(), long.item()] == [55, 100]


def test_mean_costs_and_latencies_in_place_of_prices_grow_with_the_length():
    means = np.array([[0.5, 0.02, 300.0]])
    lengths = AnswerLengths(np.array([[50.0], [300.0]]), np.array([100.0]))
    expected = build_request([Query("a"), Query("b")], Pool([ModelSpec("unpriced")]), PREFERENCE, candidate_means=means, lengths=lengths).expected
    assert expected.cost_usd == pytest.approx(np.array([[0.01], [0.06]]))
    assert expected.latency_ms == pytest.approx(np.array([[150.0], [900.0]]))
    steady = attrs.evolve(lengths, fixed_latency=np.array([0.2]))
    expected = build_request([Query("a"), Query("b")], Pool([ModelSpec("unpriced")]), PREFERENCE, candidate_means=means, lengths=steady).expected
    assert expected.latency_ms == pytest.approx(np.array([[60 + 120.0], [60 + 720.0]]))
