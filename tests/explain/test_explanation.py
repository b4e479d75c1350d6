"""Explanations: hand-computed numbers, wording, and flips that hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk.errors import EstimatesError, UnknownCandidateError
from aamc_sdk.explain import Explanation, explain
from aamc_sdk.explain.explainer import recorded_request
from aamc_sdk.explain.explanation import in_words
from aamc_sdk.interfaces import Requirements, Router
from aamc_sdk.routing import LinearReward, build_request, decide
from aamc_sdk.testing import POOL as KIT_POOL
from aamc_sdk.testing import estimates_of, make_dataset
from aamc_sdk.types import (
    Decision,
    Estimates,
    Floats,
    Latency,
    ModelSpec,
    Outcomes,
    Pool,
    PoolState,
    Preference,
    Prices,
    Query,
    Record,
    Records,
    RoutingRequest,
    Scores,
)

POOL = Pool(
    ModelSpec(name, prices=Prices(price, price), latency=Latency(network, 0))
    for name, price, network in (("small", 1, 100), ("middle", 2, 400), ("large", 5, 500))
)
QUERY = Query("What?", prompt_tokens=500_000, output_tokens=500_000)  # so costs are 1, 2 and 5 USD
ESTIMATES = Estimates(np.array([0.25]), np.array([[0.2, 0.8]]), ("chat", "code"), np.array([0.05]))
REWARD = LinearReward()
REWARD.fit(Outcomes(None, np.array([[1.0, 2.0, 5.0]]), np.array([[100.0, 400.0, 500.0]])))


class Greedy(Router):
    """Takes the maximum expected reward."""

    requires = Requirements(cheap_rescoring=True)

    def __init__(self) -> None:
        self.calls = 0

    def score(self, request: RoutingRequest) -> Scores:
        self.calls += 1
        return Scores(REWARD.scalar(request.expected, request.preferences))


class Fixed(Router):
    """Has fixed scores under every preference."""

    requires = Requirements(cheap_rescoring=True)
    uses_preference = False

    def __init__(self, utility: Sequence[float], probabilities: Sequence[float] | None = None) -> None:
        self.utility, self.probabilities = utility, probabilities

    def score(self, request: RoutingRequest) -> Scores:
        rows = len(request)
        return Scores(np.tile(self.utility, (rows, 1)), None if self.probabilities is None else np.tile(self.probabilities, (rows, 1)))


def decided(router: Router, preference: Preference, quality: Sequence[float] | None = (0.5, 0.8, 0.9), down: Sequence[bool] | None = None) -> Record:
    qualities = None if quality is None else np.array([quality])
    state = None if down is None else PoolState(unavailable=[name for name, is_down in zip(POOL.names, down, strict=True) if is_down])
    request = build_request([QUERY], POOL, preference.array, estimates=ESTIMATES, quality=qualities, state=state)
    scores = router.score(request)
    return Records(decide(scores, request, ["d"], router="r", sample=scores.probabilities is not None, seed=0), request)[0]


def winner(router: Router, record: Record, preference: Preference) -> str:
    request = recorded_request(record, POOL).with_preference(preference.array)
    return decide(router.score(request), request, ["d"], router="r", sample=False, seed=0)[0].candidate


def explained(preference: Preference, **options: object) -> Explanation:
    return explain(decided(Greedy(), preference, **options), Greedy(), REWARD, POOL)  # type: ignore[arg-type]  # decided's own


def test_figures_are_those_of_the_reward() -> None:
    found = explained(Preference(0.5, 0.3, 0.2))
    # cheapness 1, 3/4, 0; quickness 1, 1/4, 0
    utilities = [0.5 * 0.5 + 0.3 + 0.2, 0.5 * 0.8 + 0.3 * 0.75 + 0.2 * 0.25, 0.5 * 0.9]
    assert [view.utility for view in found.candidates] == pytest.approx(utilities)
    assert found.view("middle").contributions == pytest.approx({"quality": 0.4, "cost": 0.225, "latency": 0.05})
    assert [view.cost_usd for view in found.candidates] == pytest.approx([1, 2, 5])
    assert (found.record.decision.candidate, found.runner_up, found.lost_on) == ("small", "middle", "latency")


def test_no_flip_is_searched_by_a_router_that_did_not_decide() -> None:
    record = decided(Fixed([0.5, 0.4, 0.3]), Preference(0.5, 0.3, 0.2))
    found = explain(record, Greedy(), REWARD, POOL)
    assert (found.flip_searched, found.flip_preference) == (False, None)
    assert "would have won" not in found.why
    decision = attrs.evolve(record.decision, utilities={})
    unscored = explain(attrs.evolve(record, decision=decision), Greedy(), REWARD, POOL)
    assert (unscored.flip_searched, unscored.flip_preference) == (False, None)


def test_a_router_that_cannot_score_the_request_did_not_decide() -> None:
    class Demanding(Greedy):
        def score(self, request: RoutingRequest) -> Scores:
            raise EstimatesError("it needs an expected quality")

    found = explain(decided(Fixed([0.5, 0.4, 0.3]), Preference(0.5, 0.3, 0.2)), Demanding(), REWARD, POOL)
    assert not found.flip_searched


def test_a_router_that_fails_as_it_is_asked_again_does_not_prevent_an_explanation(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Greedy):
        def score(self, request: RoutingRequest) -> Scores:
            if self.calls or len(request) > 1:
                raise ValueError("only once")
            return super().score(request)

    found = explain(decided(Greedy(), Preference(0.5, 0.3, 0.2)), Failing(), REWARD, POOL)
    assert not found.flip_searched
    assert "ValueError: only once" in caplog.text


def test_the_flip_is_where_the_two_are_equal() -> None:
    found = explained(Preference(0.5, 0.3, 0.2))
    # they are equal where 0.3 q = 0.25 c + 0.75 l; nearest by moving d from latency to quality:
    # 0.3 (0.5 + d) = 0.25 * 0.3 + 0.75 (0.2 - d), so d = 0.0714
    assert found.flip_preference is not None
    assert found.flip_preference.array == pytest.approx([0.5714, 0.3, 0.1286], abs=0.0015)
    assert winner(Greedy(), found.record, found.flip_preference) == "middle"


weights = st.tuples(*[st.floats(0, 1)] * 3).filter(lambda values: sum(values) > 0.01)
qualities = st.tuples(*[st.floats(0, 1)] * 3)


def test_a_flip_that_is_named_makes_the_runner_up_win() -> None:
    flips = []

    @settings(deadline=None, max_examples=60)
    @given(weights, qualities)
    def check(preference: tuple[float, float, float], quality: tuple[float, float, float]) -> None:
        found = explained(Preference(*preference), quality=quality)
        if found.flip_preference is not None:
            flips.append(found.flip_preference)
            assert winner(Greedy(), found.record, found.flip_preference) == found.runner_up

    check()
    assert flips


def test_there_is_no_flip_where_the_runner_up_is_worse_in_everything() -> None:
    found = explained(Preference(0.6, 0.2, 0.2), quality=(0.9, 0.8, 0.1))
    assert (found.runner_up, found.lost_on, found.flip_preference) == ("middle", "latency", None)
    assert "No preference was found" in found.why


def test_a_router_without_preferences_is_not_searched() -> None:
    router = Fixed([1.0, 2.0, 3.0])
    found = explain(decided(router, Preference()), router, REWARD, POOL)
    assert (found.runner_up, found.flip_preference) == ("middle", None)


def test_few_calls_of_the_router_find_the_flip() -> None:
    router = Greedy()
    record = decided(router, Preference(0.5, 0.3, 0.2))
    router.calls = 0
    explain(record, router, REWARD, POOL)
    assert router.calls <= 1 + 1 + 16 + 1


def test_a_masked_candidate_is_no_runner_up_and_says_why() -> None:
    found = explained(Preference(0.5, 0.3, 0.2), down=[False, True, False])
    assert found.runner_up == "large"
    assert found.view("middle").masked_why == "unavailable"
    assert math.isnan(found.view("middle").utility)
    assert found.why.endswith(" Not allowed: middle (unavailable).")


def test_the_only_candidate_has_no_runner_up() -> None:
    found = explained(Preference(), down=[False, True, True])
    assert (found.record.decision.candidate, found.runner_up, found.lost_on, found.flip_preference) == ("small", None, None, None)
    assert found.why.endswith("No other candidate was allowed. Not allowed: middle and large (unavailable).")
    assert "There is no other candidate." in in_words(attrs.evolve(found, candidates=found.candidates[:1]))


@pytest.mark.parametrize(("floor", "missed"), [(0.9, True), (0.3, False)])
def test_a_quality_floor_that_no_candidate_reaches_is_told(floor: float, missed: bool) -> None:
    found = explained(Preference(0.5, 0.3, 0.2))
    told = in_words(attrs.evolve(found, record=attrs.evolve(found.record, quality_floor=floor)))
    assert (f"It misses the quality floor of {floor:g}, which no allowed candidate reaches." in told) is missed


def test_an_exact_tie_is_called_one_and_nobody_is_ahead() -> None:
    # cheapness 1 and 3/4, quickness 1 and 1/4: 0.5 * 0.4 + 0.5 = 0.5 * 0.65 + 0.5 * 0.75
    found = explained(Preference(0.5, 0.5, 0), quality=(0.4, 0.65, 0.1))
    assert [view.utility for view in found.candidates[:2]] == [pytest.approx(0.7)] * 2
    tied = explain(decided(Fixed([2.0, 2.0, 1.0]), Preference(0.5, 0.5, 0), (0.4, 0.65, 0.1)), Fixed([2.0, 2.0, 1.0]), REWARD, POOL)
    assert (tied.record.decision.candidate, tied.runner_up) == ("small", "middle")
    assert "small has the maximum utility, 2, as does middle; the first of them in the pool is chosen: expected" in tied.why
    assert "middle has the same utility, 2: expected" in tied.why
    assert "Their expected rewards are equal (0.7 against 0.7)." in tied.why
    assert "behind" not in tied.why
    alike = explain(decided(Fixed([2.0, 2.0, 2.0]), Preference()), Fixed([2.0, 2.0, 2.0]), REWARD, POOL)
    assert "small has the maximum utility, 2, as do middle and large; the first" in alike.why


def test_a_draw_that_passed_the_best_by_says_so() -> None:
    router = Fixed([1.0, 3.0, 2.0], [1.0, 0.0, 0.0])
    found = explain(decided(router, Preference()), router, REWARD, POOL)
    assert (found.record.decision.candidate, found.runner_up) == ("small", "middle")
    assert "small was drawn with probability 1" in found.why
    assert "middle has a higher utility, 3" in found.why


def test_an_objective_without_data_is_left_out() -> None:
    reward = LinearReward()
    reward.fit(Outcomes(None, np.array([[1.0, 2.0, 5.0]]), np.full((1, 3), math.nan)))

    class Local(Greedy):
        def score(self, request: RoutingRequest) -> Scores:
            return Scores(reward.scalar(request.expected, request.preferences))

    found = explain(decided(Local(), Preference(0.5, 0.3, 0.2)), Local(), reward, POOL)
    assert found.view("small").contributions == pytest.approx({"quality": 0.5 * 0.625, "cost": 0.375, "latency": 0.0})
    assert found.flip_preference is not None
    assert winner(Local(), found.record, found.flip_preference) == found.runner_up


def test_a_preference_for_an_objective_without_data_leaves_the_expected_rewards_unknown() -> None:
    reward = LinearReward()
    reward.fit(Outcomes(None, np.array([[1.0, 2.0, 5.0]]), np.full((1, 3), math.nan)))
    found = explain(decided(Fixed([3.0, 2.0, 1.0]), Preference(0, 0, 1)), None, reward, POOL)
    assert math.isnan(found.view("small").expected_reward)
    assert "ahead" not in found.why


def test_a_view_of_an_unknown_candidate_is_an_error_that_names_those_of_the_decision() -> None:
    with pytest.raises(UnknownCandidateError, match=r"decision 'd' had no candidate 'smal'; did you mean 'small'"):
        explained(Preference(0.5, 0.3, 0.2)).view("smal")


def test_other_candidates_without_figures_are_not_said_to_be_masked() -> None:
    record = Record.of_step(Decision("d", "small", math.nan, Preference()), Query("?"), POOL.names)
    assert "The log has no figures that compare the other candidates." in explain(record).why


def test_without_the_expected_quality_no_candidate_leads_by_the_reward_of_its_cost() -> None:
    record = decided(Fixed([3.0, 2.0, 1.0]), Preference(0.5, 0.5, 0))
    found = explain(attrs.evolve(record, expected=attrs.evolve(record.expected, quality=None)), None, REWARD, POOL)
    view = found.to_dict()["candidates"][0]
    assert view["expected_reward"] is None
    assert view["contributions"]["cost"] > 0
    assert "ahead" not in found.why


def test_what_is_unknown_contributes_an_unknown_part() -> None:
    record = decided(Fixed([1.0, 2.0, 3.0]), Preference(1, 0, 0))
    alone = explain(record)
    assert alone.to_dict()["candidates"][0]["contributions"] == {"quality": None, "cost": None, "latency": None}
    blind = explain(attrs.evolve(record, expected=attrs.evolve(record.expected, quality=None)), None, REWARD, POOL).to_dict()["candidates"][0]
    assert (blind["expected_reward"], blind["contributions"]) == (None, {"quality": None, "cost": 0.0, "latency": 0.0})


def test_the_routers_own_expectation_counts_where_it_has_one() -> None:
    class Knowing(Greedy):
        def score(self, request: RoutingRequest) -> Scores:
            own: Floats = np.tile([0.9, 0.1, 0.1], (len(request), 1))
            return attrs.evolve(super().score(attrs.evolve(request, expected=attrs.evolve(request.expected, quality=own))), expected_quality=own)

    found = explain(decided(Knowing(), Preference(), quality=None), Knowing(), REWARD, POOL)
    assert [view.quality for view in found.candidates] == [0.9, 0.1, 0.1]


def test_a_candidate_that_has_left_the_pool_is_known_by_name() -> None:
    record = decided(Greedy(), Preference(0.5, 0.3, 0.2))
    found = explain(record, Greedy(), REWARD, POOL.subset(["small"]))
    assert [view.name for view in found.candidates] == ["small", "middle", "large"]


def test_the_document_is_json_of_the_promised_shape() -> None:
    document = explained(Preference(0, 0.6, 0.4), quality=None, down=[True, False, False]).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    promised = {"schema", "id", "candidate", "propensity", "preference", "estimates", "candidates", "runner_up", "flip_preference", "why"}
    assert promised <= set(document)
    assert {"name", "quality", "cost_usd", "latency_ms", "utility", "masked_why"} <= set(document["candidates"][0])
    assert document["estimates"] == {"complexity": 0.25, "categories": {"chat": 0.2, "code": 0.8}, "tool_use": 0.05}
    assert (document["candidates"][0]["quality"], document["candidates"][0]["masked_why"]) == (None, "unavailable")


def test_the_words_tell_an_estimator_that_describes_nothing_from_none() -> None:
    record = decided(Greedy(), Preference(0.5, 0.3, 0.2))
    for fingerprint, words in (
        ("length-1", "The estimator gave no complexity, category or need for tools. "),
        ("", "No estimator described the request. "),
    ):
        silent = attrs.evolve(record, estimates=attrs.evolve(Estimates.unknown(1), fingerprint=fingerprint))
        assert explain(silent, Greedy(), REWARD, POOL).why.startswith(words)


def test_the_words_say_what_was_seen_weighed_and_lost() -> None:
    assert explained(Preference(0.5, 0.3, 0.2)).why == (
        "The estimator saw complexity 0.25 of 1, category code (80% sure) and a 5% chance that tools are needed. "
        "The preference weighed quality 0.5, cost 0.3 and latency 0.2. "
        "small has the maximum utility, 0.75: expected quality 0.500, cost $1 and latency 100 ms. "
        "The runner-up was middle, with the utility 0.675: expected quality 0.800, cost $2 and latency 400 ms. "
        "middle loses most on latency: 0.15. Its total expected reward is 0.675, against 0.75. "
        "middle would have won at the preference 0.572,0.3,0.128."
    )


def test_an_explanation_scores_nothing_again() -> None:
    class Costly(Fixed):
        requires = Requirements(text=True)
        uses_preference = True

    router = Costly([1.0, 2.0, 3.0])
    record = decided(router, Preference())
    router.score = None  # type: ignore[method-assign,assignment]  # any call would fail
    found = explain(record, router, REWARD, POOL)
    assert [view.utility for view in found.candidates] == [1.0, 2.0, 3.0]
    assert (found.runner_up, found.flip_preference, found.flip_searched) == ("middle", None, False)
    assert "preference was found" not in found.why


def test_an_explanation_tells_what_was_decided_even_if_the_router_has_learned_since() -> None:
    router = Fixed([1.0, 2.0, 3.0])
    record = decided(router, Preference())
    router.utility = [9.0, 0.0, 0.0]
    found = explain(record, router, REWARD, POOL)
    assert "large has the maximum utility, 3:" in found.why


def test_utility_and_expected_reward_are_distinguished_and_no_lead_is_claimed_that_the_figures_contradict() -> None:
    found = explain(decided(Fixed([3.0, 2.0, 1.0]), Preference(1, 0, 0)), Fixed([3.0, 2.0, 1.0]), REWARD, POOL)
    small, middle = found.view("small"), found.view("middle")
    assert (small.utility, small.expected_reward, middle.expected_reward) == (3.0, pytest.approx(0.5), pytest.approx(0.8))
    assert sum(small.contributions.values()) == pytest.approx(small.expected_reward)
    assert "By expected reward alone middle is ahead (small 0.5 against 0.8); the router's own utility decided." in found.why
    assert "behind" not in found.why
    assert {"utility", "expected_reward"} <= set(found.to_dict()["candidates"][0])


def test_no_lead_is_claimed_where_both_figures_read_the_same() -> None:
    record = decided(Fixed([3.0, 2.0, 1.0]), Preference(1, 0, 0), quality=(0.5, 0.500001, 0.1))
    assert "Their expected rewards are equal (0.5 against 0.5)." in explain(record, None, REWARD, POOL).why


def test_a_draw_is_not_explained_by_a_utility_that_is_not_higher_than_the_runner_up_s() -> None:
    for utility, sentence in (
        ((1.0, 2.0, 0.0), "By expected reward, too, middle is ahead"),
        ((2.0, 2.0, 0.0), "By expected reward alone middle is ahead"),
    ):
        router = Fixed(utility, [1.0, 0.0, 0.0])
        found = explain(decided(router, Preference(1, 0, 0)), router, REWARD, POOL)
        assert "small was drawn with probability 1" in found.why
        assert f"{sentence} (small 0.5 against 0.8)." in found.why


def test_a_decision_without_recorded_utilities_says_so() -> None:
    record = decided(Greedy(), Preference(0.5, 0.3, 0.2))
    old = attrs.evolve(record, decision=attrs.evolve(record.decision, utilities={}))
    found = explain(old, Greedy(), REWARD, POOL)
    assert found.runner_up == "middle"
    assert "small was chosen" in found.why
    assert "no utilities were recorded" in found.why
    record = decided(Fixed([3.0, 2.0, 1.0]), Preference(1, 0, 0))
    old = attrs.evolve(record, decision=attrs.evolve(record.decision, utilities={}))
    assert "is ahead" in explain(old, Fixed([3.0, 2.0, 1.0]), REWARD, POOL).why
    assert "decided" not in explain(old, Fixed([3.0, 2.0, 1.0]), REWARD, POOL).why


def test_a_recorded_request_comes_back_as_the_router_saw_it():
    dataset = make_dataset(6)
    states = [{name: float(n + m) for m, name in enumerate(KIT_POOL.names)} for n in range(3)]
    state = PoolState(unavailable=frozenset({"LLM-Code"}), wait_ms=states[0], in_flight=states[1], pressure=states[2])
    asked = build_request(
        dataset.queries,
        KIT_POOL,
        np.tile([0.5, 0.25, 0.25], (6, 1)),
        estimates=estimates_of(dataset),
        quality=np.linspace(0, 1, 24).reshape(6, 4),
        state=state,
        preference_given=False,
    )
    asked = attrs.evolve(asked, budget_usd=3.0, quality_floor=0.4)
    decisions = decide(Scores(np.zeros(asked.mask.shape)), asked, list("abcdef"), router="", sample=False, seed=0)
    elsewhere = ("hindsight", "embed", "masked_why")
    for row, record in enumerate(Records(decisions, asked)):
        again, request = recorded_request(record, KIT_POOL), asked.take(slice(row, row + 1))
        found, seen = (attrs.asdict(each, filter=lambda field, value: field.name not in elsewhere) for each in (again, request))
        assert all(value is not None for value in seen.values())
        np.testing.assert_equal(found, seen)
        assert [again.reasons(0, m) for m in range(4)] == [request.reasons(0, m) for m in range(4)]
