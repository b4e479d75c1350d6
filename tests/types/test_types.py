import copy
import math
import pickle

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk import Candidate, Decision, Feedback, Latency, ModelSpec, Pool, Preference, Prices, Query
from aamc_sdk.errors import AamcError, DataError, PoolError, PreferenceError
from aamc_sdk.explain.explanation import CandidateView
from aamc_sdk.interfaces import Chunk, Completion
from aamc_sdk.types import Attempt, Endpoint, PoolState, Turn, without_latency

WEIGHTS = st.floats(min_value=0, max_value=1e12)


def test_a_query_estimates_its_tokens_at_four_bytes_each():
    assert Query("12345").expected_prompt_tokens == 2
    assert Query("\u65e5" * 400).expected_prompt_tokens == 300
    assert Query("\u65e5" * 400, turns=(Turn("user", "\u0646" * 40),)).expected_prompt_tokens == 320
    assert Query("\u65e5" * 400, turns=(Turn("user", "\u0646" * 40),)).expected_cached_tokens == 20
    assert Query("").expected_prompt_tokens == 0
    assert Query("12345", prompt_tokens=70).expected_prompt_tokens == 70


def test_a_query_assumes_256_output_tokens():
    assert Query("").expected_output_tokens == 256
    assert Query("", output_tokens=0).expected_output_tokens == 0


def test_a_candidate_keeps_its_parameters_and_options_when_the_caller_changes_theirs():
    parameters, options = {"reasoning_effort": "low"}, {"model": "small"}
    low = ModelSpec("low", endpoint=Endpoint("openai", options), parameters=parameters)
    parameters["reasoning_effort"], options["model"] = "high", "large"
    assert (low.parameters, low.endpoint.options) == ({"reasoning_effort": "low"}, {"model": "small"})


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["list"]])
def test_a_querys_text_must_be_a_string(text):
    with pytest.raises(DataError, match="must be a string"):
        Query(text)


@pytest.mark.parametrize("turns", [Turn("user", "hi"), "hi", 3, [{"role": "user", "content": "hi"}]])
def test_a_querys_turns_must_be_a_list_of_turns(turns):
    with pytest.raises(DataError, match=r"a query's turns must be a list of aamc_sdk\.Turn, not"):
        Query("", turns=turns)


@pytest.mark.parametrize("name", ["user", "session", "cached_on"])
def test_what_is_known_with_a_query_is_a_valid_string_or_none(name):
    assert getattr(Query("", **{name: None}), name) is None
    with pytest.raises(DataError, match=f"a query's {name} must be a string, not int"):
        Query("", **{name: 7})
    with pytest.raises(DataError, match=f"a query's {name} must be valid Unicode"):
        Query("", **{name: "\ud800"})
    with pytest.raises(DataError, match=f"a query's {name} must not be empty"):
        Query("", **{name: ""})
    with pytest.raises(DataError, match=f"a query's {name} must not contain a NUL character"):
        Query("", **{name: "ann\0"})


@pytest.mark.parametrize("name", ["", 5, None, b"id", "req\0one", "\ud800"])
def test_decisions_and_attempts_are_named_by_ids_that_every_log_can_keep(name):
    with pytest.raises(DataError, match="a decision's id must"):
        Decision(name, "small", 1.0, Preference())
    with pytest.raises(DataError, match="an attempt's decision_id must"):
        Attempt(name, 0, "small")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", -1),
        ("candidate", 7),
        ("cost_usd", "1"),
        ("cost_usd", -0.1),
        ("latency_ms", math.inf),
        ("output_tokens", 2.5),
        ("error", 500),
    ],
)
def test_an_attempt_refuses_what_is_no_figure(field, value):
    with pytest.raises(DataError, match=field):
        Attempt(**{"decision_id": "d", "n": 0, "candidate": "", field: value})


def test_an_attempts_figures_may_be_unknown():
    assert math.isnan(Attempt("d", 0, "").cost_usd)
    assert Attempt("d", 0, "", cost_usd=np.float32(0.5), latency_ms=3).cost_usd == 0.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("candidate", ""),
        ("propensity", 1.5),
        ("propensity", "1"),
        ("preference", None),
        ("time", "yesterday"),
        ("time", math.nan),
        ("time", -5),
    ],
)
def test_a_decision_refuses_what_cannot_be(field, value):
    with pytest.raises(DataError, match=f"a decision's {field} must"):
        Decision(**{"id": "d", "candidate": "small", "propensity": math.nan, "preference": Preference(), field: value})


@pytest.mark.parametrize("tokens", [-1, 2.5, True, "7"])
def test_token_counts_must_be_whole_numbers(tokens):
    with pytest.raises(DataError, match="prompt_tokens must be a whole number"):
        Query("", prompt_tokens=tokens)


def test_a_text_is_no_set_of_needs():
    with pytest.raises(AamcError, match="tools"):
        Query("", needs="tools")
    with pytest.raises(AamcError, match="code"):
        Candidate("a", abilities="code")
    assert Query("", needs=["tools", "tools"]).needs == frozenset({"tools"})


@pytest.mark.parametrize("price", [-0.1, math.nan, math.inf, "1", True, None])
def test_prices_must_be_finite_and_not_negative(price):
    with pytest.raises(PoolError, match="price output"):
        Prices(1.0, price)


@pytest.mark.parametrize("figure", [-1.0, math.nan, math.inf, "1"])
def test_latencies_must_be_finite_and_not_negative(figure):
    with pytest.raises(PoolError, match="service_ms"):
        Latency(0.0, figure)


def test_total_latency_is_network_and_service():
    assert Latency(20.0, 300.0).total_ms == 320.0


def test_a_context_window_has_at_least_a_token():
    with pytest.raises(PoolError, match="context window of 'a'"):
        ModelSpec("a", context_window=0)


def test_a_pool_of_none_is_refused_and_a_pool_of_one_is_not():
    with pytest.raises(PoolError, match="at least one candidate"):
        Pool([])
    assert len(Pool([Candidate("only")])) == 1


def test_a_pool_refuses_a_name_twice():
    with pytest.raises(PoolError, match="twice in the pool: a"):
        Pool([Candidate("a"), Candidate("b"), Candidate("a")])


@pytest.mark.parametrize("name", ["", None, 3, "small\0"])
def test_a_candidate_needs_a_name(name):
    with pytest.raises(PoolError, match="a candidate's name must"):
        ModelSpec(name)


def test_a_pool_is_made_of_candidates():
    with pytest.raises(PoolError, match=r"entries must be candidates such as .* not 'small'"):
        Pool(["small"])


def test_a_pool_finds_candidates_by_name_and_offers_the_nearest():
    pool = Pool([Candidate("SLM-Medium"), Candidate("LLM-XLarge")])
    assert pool.index("LLM-XLarge") == 1
    assert pool.subset(["LLM-XLarge"]).names == ("LLM-XLarge",)
    with pytest.raises(PoolError, match="did you mean 'LLM-XLarge'"):
        pool.index("LLM-Xlarge")


def test_pools_with_the_same_candidates_in_the_same_order_are_equal():
    one, two = Candidate("one"), Candidate("two")
    assert Pool([one, two]) == Pool(iter([one, two]))
    assert Pool([one, two]) != Pool([two, one])
    assert hash(Pool([one])) == hash(Pool([one]))


@given(WEIGHTS, WEIGHTS, WEIGHTS)
def test_a_preference_sums_to_one_and_keeps_its_proportions(quality, cost, latency):
    if quality + cost + latency == 0:
        return
    preference = Preference(quality, cost, latency)
    assert preference.array.sum() == pytest.approx(1)
    assert preference.quality * cost == pytest.approx(preference.cost * quality)
    assert Preference(*preference.array.tolist()) == preference


def test_without_latency_the_other_weights_are_rescaled():
    kept = without_latency(np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(kept, [[2 / 3, 1 / 3, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(without_latency(Preference(0.5, 0.25, 0.25).array), kept[0])


@pytest.mark.parametrize("preferences", [Preference(0, 0, 1).array, np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])])
def test_without_latency_a_preference_for_latency_alone_is_refused(preferences):
    with pytest.raises(PreferenceError, match=r"weighs only latency \(0,0,1\), which this data does not have; give quality or cost a weight$"):
        without_latency(preferences)


def test_the_default_preference():
    assert str(Preference()) == "0.9,0.08,0.02"
    assert Preference.of(None) == Preference()


@pytest.mark.parametrize(
    "weights", [(0, 0, 0), (-1, 1, 1), (math.nan, 1, 1), (math.inf, 1, 1), (1e308, 1e308, 1e308), (10**400, 1, 1), ("x", 1, 1), (None, 1, 1)]
)
def test_bad_weights_are_refused(weights):
    with pytest.raises(PreferenceError):
        Preference(*weights)


@pytest.mark.parametrize("text", ["", "1", "1,2", "1,2,3,4", "a,b,c", "1;2;3", "0,0,0", "1,,1", "nan,1,1"])
def test_a_bad_text_is_no_preference(text):
    with pytest.raises(PreferenceError):
        Preference.parse(text)


@pytest.mark.parametrize(
    "given_as",
    [
        "0.7,0.2,0.1",
        " 7, 2, 1 ",
        (0.7, 0.2, 0.1),
        [7, 2, 1],
        np.array([0.7, 0.2, 0.1]),
        Preference(7, 2, 1),
        {"latency": 1, "quality": 7, "cost": 2},
    ],
)
def test_a_preference_comes_in_any_usual_form(given_as):
    assert Preference.of(given_as).array == pytest.approx([0.7, 0.2, 0.1])


@pytest.mark.parametrize("value", [3, (1, 2), np.ones(4)])
def test_other_forms_are_no_preference(value):
    with pytest.raises(PreferenceError, match="three numbers"):
        Preference.of(value)


def test_weights_that_are_not_named_are_0_and_unknown_ones_are_refused():
    assert Preference.of({"quality": 3, "cost": 1}) == Preference(0.75, 0.25, 0)
    with pytest.raises(PreferenceError, match="has no weight 'latncy'; did you mean 'latency'"):
        Preference.of({"quality": 0.9, "latncy": 0.1})


def test_feedback_has_an_id_for_each_decision_and_source():
    assert Feedback(decision_id="d", quality=1).id == "d/explicit"
    assert Feedback(decision_id="d", quality=1, source="judge").id == "d/judge"
    assert Feedback(decision_id="d", quality=1, id="mine").id == "mine"


def test_feedback_is_implicit_by_its_source():
    sources = ("explicit", "implicit", "implicit-retry", "judge")
    assert [Feedback(decision_id="d", quality=1, source=source).implicit for source in sources] == [False, True, True, False]


@pytest.mark.parametrize("quality", [math.nan, -0.1, 2, True, "1"])
def test_feedbacks_quality_lies_in_zero_to_one(quality):
    with pytest.raises(AamcError, match="quality must be a number from 0 to 1"):
        Feedback(decision_id="d", quality=quality)


def test_feedback_is_a_quality_or_a_comparison():
    assert Feedback(decision_id="d", over="b", candidate="a").quality is None
    for wrong in ({}, {"quality": 1.0, "over": "b"}):
        with pytest.raises(AamcError, match="either a quality or the candidate"):
            Feedback(decision_id="d", **wrong)


def test_nobody_beats_himself():
    with pytest.raises(AamcError, match="cannot beat itself"):
        Feedback(decision_id="d", candidate="a", over="a")


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, 1e308, "1", True])
def test_feedbacks_weight_is_bounded_and_not_negative(weight):
    with pytest.raises(AamcError, match=r"weight must be a number from 0 to 1,000,000"):
        Feedback(decision_id="d", quality=1, weight=weight)


@pytest.mark.parametrize("time", [-1.0, math.nan, math.inf, "now", None, True])
def test_feedbacks_time_is_seconds(time):
    with pytest.raises(AamcError, match="time must be seconds since the epoch"):
        Feedback(decision_id="d", quality=1, time=time)


@pytest.mark.parametrize("name", ["source", "id", "candidate", "over"])
@pytest.mark.parametrize("value", [5, "", "half a pair \ud83d", "NUL \0"])
def test_feedbacks_names_are_texts_that_every_log_can_keep(name, value):
    judged = {"over": value} if name == "over" else {"quality": 1, name: value}
    with pytest.raises(AamcError, match=f"a feedback's {name} must"):
        Feedback(decision_id="d", **judged)


@pytest.mark.parametrize("name", ["source", "id"])
def test_feedback_has_a_source_and_an_id(name):
    with pytest.raises(AamcError, match=f"a feedback's {name} must be a string"):
        Feedback(decision_id="d", quality=1, **{name: None})


def test_feedbacks_tie_is_true_or_false():
    with pytest.raises(AamcError, match="tie must be true or false"):
        Feedback(decision_id="d", over="b", tie="no")


@pytest.mark.parametrize("names", ["tools", 5, [3], None])
def test_needs_and_abilities_are_collections_of_names(names):
    for make in (lambda: Query("text", needs=names), lambda: Candidate("a", "", names)):
        with pytest.raises(DataError, match="abilities and needs must be lists of names"):
            make()


def test_unavailable_candidates_are_a_collection_of_names():
    with pytest.raises(DataError, match=r"^unavailable must be a list of candidates' names, not 'small'"):
        PoolState(unavailable="small")


def test_what_programs_send_to_each_other_can_be_pickled():
    pool = Pool([ModelSpec("a", prices=Prices(1, 2), latency=Latency(1, 2))])
    for thing in (pool, Preference(1, 2, 3), Query("text", needs={"tools"}), Feedback(decision_id="d", quality=1)):
        assert thing == pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("copied", [lambda value: value, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize(
    "value",
    [
        Attempt("d"),
        Decision("d", "small", math.nan, Preference()),
        Chunk(content="Hi"),
        Completion(message={"content": "Hi"}),
        CandidateView("small", math.nan, math.nan, math.nan, math.nan, math.nan, {}, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_with_unknown_figures_are_equal(value, copied):
    assert value == copied(attrs.evolve(value))
    unknown = next(field.name for field in attrs.fields(type(value)) if getattr(value, field.name) != getattr(value, field.name))
    assert value != attrs.evolve(value, **{unknown: 0.5})


@pytest.mark.parametrize(
    "value",
    [
        Attempt("d"),
        Decision("d", "small", math.nan, Preference(), {"small": 1.0}, notes={"why": "cheap"}, utilities={"small": 0.5}),
        Completion(message={"content": "Hi"}),
        CandidateView("small", math.nan, math.nan, math.nan, math.nan, math.nan, {"quality": 0.5}, None),
        PoolState(wait_ms={"small": 1.0}, in_flight={"small": 1.0}, pressure={"small": 1.0}, remaining={"small": 1.0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equal_values_have_one_place_in_a_set(value):
    assert len({value, copy.deepcopy(value)}) == 1


@pytest.mark.parametrize("copied", [lambda pool: pickle.loads(pickle.dumps(pool)), copy.deepcopy, copy.copy])
def test_a_copied_pools_arrays_cannot_be_written_to_either(copied):
    pool = Pool([ModelSpec("a", prices=Prices(1, 2), latency=Latency(1, 2))])
    assert pool.arrays.latency_ms.tolist() == [3]
    for array in (copied(pool).arrays.latency_ms, copied(pool).arrays.all_allowed):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("decision_id", [None, "", 5])
def test_feedback_without_a_decision_is_refused(decision_id):
    with pytest.raises(AamcError, match="decision_id must be the id that route returned"):
        Feedback(decision_id=decision_id, quality=1.0)


@pytest.mark.parametrize("field", ["prices", "latency"])
def test_a_models_figures_are_checked(field: str) -> None:
    with pytest.raises(PoolError, match=rf"the {field} of 'a' must be aamc_sdk\..*, not 3"):
        ModelSpec("a", **{field: 3})


def test_one_judgement_never_decides_an_average_by_its_weight():
    assert Feedback(decision_id="d", quality=1.0, weight=1_000_000.0).average_weight == 3.0
    assert Feedback(decision_id="d", quality=1.0, weight=2.0, confidence=0.5).average_weight == 1.0


@pytest.mark.parametrize("value", [1e13, 1e308, math.inf, -1.0])
def test_times_and_costs_whose_sums_could_overflow_are_refused(value: float) -> None:
    for make in (
        lambda: Latency(network_ms=value),
        lambda: Latency(service_ms=value),
        lambda: Prices(value, 1),
        lambda: PoolState(wait_ms={"small": value}),
        lambda: Attempt("d", 1, "small", latency_ms=value),
        lambda: Attempt("d", 1, "small", cost_usd=value),
    ):
        with pytest.raises((DataError, PoolError), match=r"from 0 to 1e\+12"):
            make()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hi", "Hi"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "Hi, "}, {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "you"}], "Hi, you"),
    ],
)
def test_the_text_of_an_answer_in_parts_is_that_of_its_parts(content, text) -> None:
    assert Completion(message={"role": "assistant", "content": content}).text == text
