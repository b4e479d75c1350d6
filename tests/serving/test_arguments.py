"""Arguments of callers: read in any accepted form, or refused with a message that says how to give them."""

from decimal import Decimal
from typing import get_type_hints

import attrs
import numpy as np
import pytest

from aamc_sdk import Attempt, Completion, Feedback, MetaController, Preference, Query
from aamc_sdk.errors import AamcError, DataError, PreferenceError
from aamc_sdk.serving import AttemptKeywords, FeedbackKeywords
from aamc_sdk.serving.arguments import names_of, queries_of, weights_of

DEFAULT, CHEAP = Preference(), Preference(0.2, 0.8, 0)
NAMED = {"cheap": CHEAP}


@pytest.fixture
def controller():
    with MetaController.build(router="random") as made:
        yield made


@pytest.mark.parametrize("batch", [["a", Query("b")], ("a", "b"), np.array(["a", "b"]), (text for text in "ab")])
def test_a_batch_is_anything_to_go_through(batch):
    assert [query.text for query in queries_of(batch)] == ["a", "b"]


@pytest.mark.parametrize("batch", ["", "one text", Query("one"), None, 5])
def test_one_query_is_no_batch(controller, batch):
    with pytest.raises(DataError, match=r"a batch must be a list of queries, not .*; use route for a single query"):
        controller.route_batch(batch)


@pytest.mark.parametrize("names", ["tools", ["tools"], {"tools"}, iter(["tools"])])
def test_one_name_may_stand_alone(names):
    assert names_of(names, "needs") == {"tools"}


@pytest.mark.parametrize("names", [5, [3], [None], b"tools"])
def test_what_is_no_name_is_refused(controller, names):
    with pytest.raises(DataError, match="needs must be a list of names such as"):
        controller.route("hello", needs=names)
    with pytest.raises(DataError, match="unavailable must be a list of names such as"):
        controller.route("hello", unavailable=names)


def test_one_candidate_that_is_down_may_stand_alone(controller):
    down = controller.pool.names[0]
    assert down not in {decision.candidate for decision in controller.route_batch(["hello"] * 100, unavailable=down)}


@pytest.mark.parametrize("given", ["cheap", "0.2,0.8,0", CHEAP, [0.2, 0.8, 0], (1, 4, 0), np.array([0.2, 0.8, 0])])
def test_a_preference_has_many_forms(given):
    assert weights_of(given, 2, DEFAULT, NAMED) == pytest.approx(CHEAP.array)


@pytest.mark.parametrize(
    "given",
    [["cheap", None], [CHEAP, DEFAULT], [[0.2, 0.8, 0], DEFAULT], ("0.2,0.8,0", "0.9,0.08,0.02"), np.array([CHEAP.array, DEFAULT.array])],
)
def test_each_request_may_have_its_own(given):
    assert weights_of(given, 2, DEFAULT, NAMED) == pytest.approx(np.array([CHEAP.array, DEFAULT.array]))


@pytest.mark.parametrize("given", [("0.2", "0.8", "0"), tuple(map(Decimal, ("0.2", "0.8", "0"))), {"quality": 1, "cost": 4}])
def test_the_preference_of_one_request_is_three_weights_of_any_type_or_weights_by_name(given):
    assert weights_of(given, 1, DEFAULT, NAMED) == pytest.approx(CHEAP.array)


def test_decimals_are_weights_for_many_requests_too():
    assert weights_of([Decimal("0.2"), Decimal("0.8"), Decimal(0)], 2, DEFAULT, NAMED) == pytest.approx(CHEAP.array)


@pytest.mark.parametrize("given", [("0.9", "0.1"), [CHEAP, CHEAP], np.ones((2, 3)), np.ones((3, 3))])
def test_one_request_has_one_preference(given):
    with pytest.raises(PreferenceError, match=r"a preference must be three numbers \(quality, cost, latency\), not"):
        weights_of(given, 1, DEFAULT, NAMED)


def test_there_are_as_many_preferences_as_requests():
    with pytest.raises(PreferenceError, match="3 requests need one preference or 3 preferences, not 2"):
        weights_of([CHEAP, CHEAP], 3, DEFAULT, NAMED)


def test_a_batch_with_preferences_decides_each_by_its_own(controller):
    together = controller.route_batch(["hello"] * 3, [Preference(1, 0, 0), "0,1,0", None])
    assert [decision.preference for decision in together] == [Preference(1, 0, 0), Preference(0, 1, 0), DEFAULT]


@pytest.mark.parametrize("given", [{"budget_usd": 10**400}, {"budget_usd": "1"}, {"preference": [[1, 2]]}, {"preference": {}}])
def test_a_value_that_is_no_number_or_preference_is_refused(controller, given):
    with pytest.raises(AamcError, match=r"must be a number of at least 0, in USD|a preference must be|must have a positive, finite sum"):
        controller.route("hello", **given)


def test_a_count_of_tokens_has_a_maximum():
    with pytest.raises(DataError, match=r"prompt_tokens must be a whole number from 0 to 1,000,000,000,000, not 1000"):
        Query("text", prompt_tokens=10**400)


def test_the_declared_keywords_are_the_fields_of_attempts_and_feedback():
    figures = {"cost_usd", "latency_ms", "output_tokens"}
    for keywords, cls, added in ((AttemptKeywords, Attempt, set()), (FeedbackKeywords, Feedback, figures)):
        assert keywords.__annotations__.keys() == {field.name for field in attrs.fields(cls)} - {"decision_id"} | added


def test_the_id_of_a_completion_can_be_passed_on_to_feedback_and_explanations_by_typed_programs():
    for method in (MetaController.feedback, MetaController.attempt, MetaController.explain):
        assert get_type_hints(method)["decision_id"] == get_type_hints(Completion)["decision_id"]
