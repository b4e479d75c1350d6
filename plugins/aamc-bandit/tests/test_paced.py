"""``paced``: budgets and a service level in service, delayed costs, restarts and replicas, and wrong options."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from aamc_bandit import plugin
from aamc_bandit.pacing.resources import LATE_SHARE, Cost, LateCalls
from aamc_bandit.pacing.router import Paced
from aamc_bandit.thompson.router import Thompson
from aamc_baselines import plugin as baselines

from aamc_sdk import Component, MetaController, Router, Scores, builtin, hookimpl
from aamc_sdk.errors import CheckpointError, ConfigError, LimitError, NoCandidateError, UnknownComponentError
from aamc_sdk.log import RowStore, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import choice_probabilities, expected_cost
from aamc_sdk.serving import state_of
from aamc_sdk.serving.arguments import RouteArguments
from aamc_sdk.storage import save_component
from aamc_sdk.testing import POOL, Subject, assert_conforms, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Experience, Latency, ModelSpec, Pool, Preference, Prices, Query

CHEAP, MIDDLE, STRONG = "cheap", "middle", "strong"
DAY = 86400.0


def candidate(name: str, price: float, latency_ms: float = 500.0) -> ModelSpec:
    return ModelSpec(name, prices=Prices(input=price, output=price), latency=Latency(network_ms=latency_ms / 2, service_ms=latency_ms / 2))


POOL_OF_THREE = Pool([candidate(CHEAP, 1.0, 300.0), candidate(MIDDLE, 5.0, 700.0), candidate(STRONG, 20.0, 1500.0)])
POOL_OF_TWO = Pool([candidate(CHEAP, 1.0, 300.0), candidate(STRONG, 20.0, 1500.0)])
QUERY = Query("question", prompt_tokens=500, output_tokens=500)
COSTS = dict(zip(POOL_OF_THREE.names, expected_cost([QUERY], POOL_OF_THREE)[0].tolist(), strict=True))


class Gain(Router):
    """Gives the strong candidate the gain that the question names."""

    def score(self, request):
        strong = np.array(request.pool.names) == STRONG
        return Scores(np.array([float(query.text) for query in request.queries])[:, None] * strong)


class GainPlugin:
    @hookimpl
    def aamc_routers(self):
        return [Component("gain", f"{__name__}:Gain", "The gain that the question names.")]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins({"core": builtin, "bandit": plugin, "baselines": baselines, "gain": GainPlugin()}, discover=False)


class Clock:
    """A clock that tests set; decisions get its time."""

    def __init__(self, now: float = 20000 * DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


def served(plugins: Plugins, options: dict[str, Any], store: str = "memory:", pool: Pool = POOL_OF_THREE) -> MetaController:
    options = {"router": {"name": "llm-only", "model": STRONG}, **options}
    return MetaController.build(router={"name": "paced", **options}, pool=pool, store=store, plugins=plugins)


def drive(controller: MetaController, clock: Clock, requests: int, seconds: float, ratio: float = 1.0, tenant: str | None = None) -> list[Decision]:
    """Route requests at equal intervals, with the same draws in every run, and report calls that cost ``ratio`` of what was expected."""
    assert controller.learner is not None
    decisions = []
    for _ in range(requests):
        decisions.append(controller.route(QUERY, tenant=tenant, decision_id=f"{tenant} at {clock.now}"))
        controller.attempt(decisions[-1].id, cost_usd=ratio * COSTS[decisions[-1].candidate], latency_ms=100.0)
        controller.learner.flush()
        clock.now += seconds
    return decisions


def spent(decisions: list[Decision]) -> float:
    return round(sum(COSTS[decision.candidate] for decision in decisions), 9)  # the error of a sum depends on the version of Python


@pytest.mark.parametrize("options", [{}, {"router": "thompson"}, {"router": "random", "usd_per_1k": 3.0}, {"router": "greedy", "p95_ms": 9000.0}])
def test_it_conforms(plugins, options):
    assert_conforms("router", "paced", plugins, options)


def test_a_tenant_with_larger_requests_than_others_spends_its_day_evenly(plugins, clock):
    large = Query("document", prompt_tokens=20_000, output_tokens=500, tenant="large")
    costs = dict(zip(POOL_OF_TWO.names, expected_cost([large], POOL_OF_TWO)[0].tolist(), strict=True))
    options = {"usd_per_day": 100 * (0.7 * costs[CHEAP] + 0.3 * costs[STRONG]), "requests_per_day": 100.0}
    chosen = []
    with served(plugins, options, pool=POOL_OF_TWO) as controller:
        for _ in range(100):
            chosen.append(controller.route(large, decision_id=f"large at {clock.now}").candidate)
            controller.learner.flush()
            drive(controller, clock, 5, DAY / 500, tenant="small")
    halves = [sum(name == STRONG for name in half) for half in (chosen[:50], chosen[50:])]
    assert sum(halves) > 20
    assert halves[1] > 5


def test_nothing_of_a_forgotten_tenant_is_kept(plugins, clock):
    with served(plugins, {"usd_per_day": 1.0}) as controller:
        drive(controller, clock, 20, 60.0, tenant="acme")
        drive(controller, clock, 20, 60.0, tenant="globex")
        controller.store.forget(None, "acme")
        controller.router.prepare_replay(controller.store)
        kept = json.dumps(controller.router.ledger.to_dict())
    assert ("acme" in kept, "globex" in kept, kept.count("utilities")) == (False, True, 40)


def test_the_day_is_paced_and_its_budget_never_exceeded(plugins, clock):
    budget = 400 * (0.75 * COSTS[CHEAP] + 0.25 * COSTS[STRONG])
    with served(plugins, {"usd_per_day": budget, "requests_per_day": 400.0}) as controller:
        decisions = drive(controller, clock, 400, DAY / 400)
    assert 0.97 * budget <= spent(decisions) <= round(budget, 9)
    halves = spent(decisions[:200]), spent(decisions[200:])
    assert halves[0] == pytest.approx(budget / 2, rel=0.25)


def test_after_a_wrong_clock_is_put_back_the_day_is_still_charged(plugins, clock):
    budget = 400 * (0.75 * COSTS[CHEAP] + 0.25 * COSTS[STRONG])
    with served(plugins, {"usd_per_day": budget, "requests_per_day": 400.0}) as controller:
        decisions = drive(controller, clock, 20, DAY / 400)
        clock.now += 2 * DAY
        drive(controller, clock, 1, 1.0)
        clock.now -= 2 * DAY
        decisions += drive(controller, clock, 379, DAY / 400)
    assert 0.95 * budget <= spent(decisions) <= round(budget, 9)


def test_replicas_whose_clocks_differ_keep_the_tokens_of_each_minute(plugins, clock):
    tokens: Counter[int] = Counter()
    start = clock.now
    with served(plugins, {"tokens_per_minute": 5000.0}) as controller:
        assert controller.learner is not None
        for second in range(180):
            clock.now = start + second + 90 * (second % 2)
            with contextlib.suppress(LimitError):
                decision = controller.route(QUERY)
                controller.attempt(decision.id, prompt_tokens=500, output_tokens=500)
                controller.learner.flush()
                tokens[int(clock.now // 60)] += 1000
    assert set(tokens.values()) == {5000}


def test_without_a_limit_that_binds_the_wrapped_router_decides(plugins, clock):
    with served(plugins, {"usd_per_day": 1000.0}) as controller:
        assert {decision.candidate for decision in drive(controller, clock, 20, 60.0)} == {STRONG}


def test_a_mean_is_never_exceeded(plugins, clock):
    limit = 2 * COSTS[CHEAP]
    with served(plugins, {"usd_per_1k": 1000 * limit}) as controller:
        costs = [COSTS[decision.candidate] for decision in drive(controller, clock, 300, 1.0)]
    mean = np.cumsum(costs) / np.arange(1, 301)
    assert (mean[1:] <= limit * (1 + 1e-9)).all() or mean[0] > limit
    assert 0.9 * limit <= mean[-1] <= limit


def test_a_tight_mean_is_spent_on_the_requests_that_gain_most(plugins, clock):
    gains = np.random.default_rng(0).random(1000)
    limit = 0.9 * COSTS[CHEAP] + 0.1 * COSTS[STRONG]
    with served(plugins, {"router": "gain", "usd_per_1k": 1000 * limit}, pool=POOL_OF_TWO) as controller:
        assert controller.learner is not None
        strong = []
        for row, gain in enumerate(gains):
            decision = controller.route(attrs.evolve(QUERY, text=str(gain)), decision_id=str(row))
            controller.learner.flush()
            strong.append(decision.candidate == STRONG)
    assert 80 <= sum(strong) <= 100
    assert gains[strong].sum() > 0.9 * np.sort(gains)[-sum(strong) :].sum()


def test_each_tenant_has_its_own_budget(plugins, clock):
    budget = 10 * COSTS[STRONG]
    with served(plugins, {"usd_per_day": budget}) as controller:
        drive(controller, clock, 100, 1.0, tenant="a")
        with pytest.raises(LimitError, match="tenant 'a' may use"):
            drive(controller, clock, 200, 1.0, tenant="a")
        assert drive(controller, clock, 1, 1.0, tenant="b")[0].candidate == STRONG


def test_a_spent_budget_refuses_or_takes_the_cheapest_until_the_next_day(plugins, clock):
    budget = 1.5 * COSTS[CHEAP]
    with served(plugins, {"usd_per_day": budget}) as controller:
        drive(controller, clock, 1, 1.0)
        waits = "after the expected use of requests in progress, .* try again when they have ended, wait for the next day"
        with pytest.raises(LimitError, match=waits):
            controller.route(QUERY)
        clock.now += DAY
        drive(controller, clock, 1, 1.0)
    with served(plugins, {"usd_per_day": budget, "over_budget": "cheapest"}) as controller:
        assert {decision.candidate for decision in drive(controller, clock, 20, 1.0)} == {CHEAP}


def test_calls_correct_the_charge_late_twice_and_never(plugins, clock):
    with served(plugins, {"usd_per_day": 1.0}) as controller:
        router = controller.router
        assert isinstance(router, Paced)
        assert controller.learner is not None
        late, never, fallback, refused = (controller.route(QUERY) for _ in range(4))
        controller.learner.flush()
        used = lambda: 1.0 - router.ledger.accounts("")["usd_per_day"].allowance(clock.now)  # noqa: E731
        assert used() == pytest.approx(sum(COSTS[each.candidate] for each in (late, never, fallback, refused)))
        controller.attempt(fallback.id, n=0, error="down")
        controller.attempt(fallback.id, n=1, candidate=CHEAP, cost_usd=0.002)
        clock.now += 3600
        controller.attempt(late.id, cost_usd=0.123)
        controller.attempt(refused.id, error="bad parameter", status="refused")
        controller.learner.flush()
        assert used() == pytest.approx(0.123 + COSTS[never.candidate] + 0.002)


def test_a_price_that_rose_is_learned(plugins, clock):
    limit = 2 * COSTS[CHEAP]
    with served(plugins, {"usd_per_1k": 1000 * limit}) as controller:
        decisions = drive(controller, clock, 400, 1.0, ratio=1.6)
    assert 1.6 * spent(decisions[100:]) / 300 == pytest.approx(limit, rel=0.1)


@pytest.mark.parametrize("over_budget", ["refuse", "cheapest"])
def test_a_wrong_cost_report_spoils_only_its_own_day(plugins, clock, over_budget):
    budget = 300 * COSTS[CHEAP] + 25 * COSTS[STRONG]
    options = {"usd_per_day": budget, "requests_per_day": 400.0, "over_budget": over_budget}
    with served(plugins, options, pool=POOL_OF_TWO) as controller:
        drive(controller, clock, 20, DAY / 400)
        wrong = drive(controller, clock, 1, 1.0, ratio=5.0 / COSTS[CHEAP])
        assert wrong[0].candidate == CHEAP
        clock.now = 20001 * DAY
        decisions = drive(controller, clock, 400, DAY / 400)
    assert 0.95 * budget <= spent(decisions) <= budget


def test_a_candidate_that_wrong_reports_priced_out_is_tried_again():
    cost, figures, chosen = Cost("usd_per_1k", 1.0), np.array([[0.001, 0.002]]), []
    for n in range(3000):
        name = [CHEAP, STRONG][int(cost.use(figures, [CHEAP, STRONG])[0].argmin())]
        figure = 0.001 if name == CHEAP else 0.002
        cost.learn(name, figure, Attempt("d", candidate=name, cost_usd=5.0 if n < 3 else figure))
        chosen.append(name)
    assert STRONG in chosen[:10]
    assert set(chosen[-500:]) == {CHEAP}


def test_a_candidate_that_was_slow_for_a_while_is_expected_in_time_again():
    late, figures = LateCalls("p95_ms", 1000.0), np.array([[400.0]])
    call = lambda name, ms: late.learn(name, 400.0, Attempt("d", candidate=name, latency_ms=ms))  # noqa: E731
    expected = [late.use(figures, [CHEAP])[0, 0]]
    for _ in range(20):
        call(CHEAP, 5000.0)
    expected.append(late.use(figures, [CHEAP])[0, 0])
    for _ in range(5000):
        call(STRONG, 400.0)
    expected.append(late.use(figures, [CHEAP])[0, 0])
    assert expected[0] < LATE_SHARE < expected[1]
    assert expected[2] < LATE_SHARE


def test_wrong_token_reports_do_not_refuse_requests_for_good(plugins, clock):
    with served(plugins, {"tokens_per_minute": 5000.0, "router": "random"}, pool=Pool([candidate(CHEAP, 1.0)])) as controller:
        assert controller.learner is not None
        for tokens in (50_000, 50_000, 50_000, 500, 500):
            decision = controller.route(QUERY)
            controller.attempt(decision.id, prompt_tokens=500, output_tokens=tokens)
            controller.learner.flush()
            clock.now += 60


def test_a_persistent_ratio_is_learned_and_a_single_outlier_hardly_changes_it():
    cost = Cost("usd_per_1k", 1.0)
    report = lambda usd: cost.learn("small", 0.01, Attempt("d", candidate="small", cost_usd=usd))  # noqa: E731
    for _ in range(300):
        report(0.2)
    assert cost.use(np.array([[0.01]]), ["small"])[0, 0] == pytest.approx(0.2, rel=0.06)
    report(500.0)
    assert cost.use(np.array([[0.01]]), ["small"])[0, 0] < 0.22


def test_a_restart_and_a_replay_continue_from_the_same_state(plugins, clock, tmp_path):
    options, store, other = {"usd_per_day": 300 * COSTS[MIDDLE]}, f"sqlite:{tmp_path / 'log.db'}", f"sqlite:{tmp_path / 'other.db'}"
    with served(plugins, options, store) as controller:
        drive(controller, clock, 150, 60.0, ratio=3.0, tenant="a")
        request = controller._decider.request(RouteArguments([attrs.evolve(QUERY, tenant="a")]))
        state, scores = state_of(controller.router), controller.router.score(request)
    with contextlib.closing(open_store(store, plugins)) as log, contextlib.closing(open_store(other, plugins)) as unlearned:
        assert isinstance(log, RowStore)
        assert isinstance(unlearned, RowStore)
        unlearned.add([(row,) for row in log.batch(0, 10**6).rows])  # without the state that was saved
    for url in (store, other):
        with served(plugins, options, url) as controller:
            assert controller.learner is not None
            controller.learner.flush()
            assert state_of(controller.router) == state
            np.testing.assert_array_equal(controller.router.score(request).probabilities, scores.probabilities)


@pytest.mark.parametrize(("before", "after"), [({}, {"p95_ms": 3000.0}), ({"p95_ms": 3000.0}, {}), ({"p95_ms": 3000.0}, {"usd_per_1k": 50.0})])
def test_a_limit_that_is_added_or_left_out_at_a_restart_keeps_what_the_others_used(plugins, clock, tmp_path, before, after):
    day, store = {"usd_per_day": 1.0}, f"sqlite:{tmp_path / 'log.db'}"
    with served(plugins, {**day, **before}, store) as controller:
        decisions = [controller.route(QUERY) for _ in range(10)]  # without a reported call
    with served(plugins, {**day, **after}, store) as controller:
        assert isinstance(controller.router, Paced)
        assert controller.router.ledger.accounts("")["usd_per_day"].allowance(clock.now) == pytest.approx(1.0 - spent(decisions))


def test_deltas_make_a_replica_equal_to_the_bit(plugins, clock):
    leader, replica = (Subject("router", "paced", plugins, {"router": "thompson", "usd_per_1k": 2.0, "p95_ms": 900.0}).make() for _ in range(2))
    replica.apply_delta(leader.delta())
    request, rng = make_request(make_dataset(40)), np.random.default_rng(0)
    for row in range(len(request)):
        one = request.take(np.array([row]))
        scores = leader.score(one)
        chosen = rng.choice(len(POOL), p=choice_probabilities(scores, one, True)[0])
        decision = Decision(str(row), POOL.names[chosen], 1.0, Preference(), notes=scores.notes[0], time=clock())
        call = Attempt(decision.id, n=0, candidate=decision.candidate, cost_usd=0.01, latency_ms=900.0)
        leader.learn(Experience(row, one.queries, one.estimates, (decision,), (call,), made=1))
        if row % 7 == 0:
            replica.apply_delta(leader.delta())
    replica.apply_delta(leader.delta())
    assert state_of(leader) == state_of(replica)
    np.testing.assert_array_equal(leader.score(request).probabilities, replica.score(request).probabilities)


def test_around_a_router_without_snapshots_it_has_none(plugins, monkeypatch):
    options = {"router": "thompson", "usd_per_1k": 2.0}
    assert Subject("router", "paced", plugins, options).make().snapshots
    monkeypatch.setattr(Thompson, "snapshots", False)
    assert not Subject("router", "paced", plugins, options).make().snapshots


def test_around_a_router_without_deltas_none_are_gathered(plugins, clock, monkeypatch):
    monkeypatch.setattr(Thompson, "delta", lambda thompson: None)
    paced = Subject("router", "paced", plugins, {"router": "thompson", "usd_per_1k": 2.0}).make()
    assert paced.delta() is None
    request = make_request(make_dataset(4))
    for row, notes in enumerate(paced.score(request).notes):
        decision = Decision(str(row), POOL.names[0], 1.0, Preference(), notes=notes, time=clock())
        one = request.take(np.array([row]))
        paced.learn(Experience(row, one.queries, one.estimates, (decision,), made=1))
    assert paced.ledger.delta()["rows"] == []
    assert len(paced.ledger.recent.to_dict()["rows"]) == 4


def test_propensities_are_those_of_the_draw(plugins, clock):
    options = {"usd_per_1k": 1000 * 4 * COSTS[CHEAP]}
    with served(plugins, options) as controller:
        drive(controller, clock, 200, 1.0)
        decisions = [controller.route(QUERY, decision_id=f"d{n}") for n in range(20)]
    assert all(decision.propensity == pytest.approx(decision.probabilities[decision.candidate]) for decision in decisions)
    assert all(sum(decision.probabilities.values()) == pytest.approx(1.0) for decision in decisions)


def test_a_service_level_is_kept_though_the_strong_candidate_turns_slow(plugins, clock):
    rng = np.random.default_rng(0)
    late = []
    with served(plugins, {"p95_ms": 2500.0}) as controller:
        for _ in range(1000):
            decision = controller.route(QUERY, decision_id=f"at {clock.now}")
            slow = decision.candidate == STRONG and rng.random() < 0.5
            controller.attempt(decision.id, latency_ms=5000.0 if slow else 400.0)
            controller.learner.flush()
            late.append(slow)
            clock.now += 1.0
    assert np.mean(late[200:]) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("status", ["refused", "error", "cancelled"])
def test_a_quick_failure_does_not_make_a_candidate_quick(status):
    late = LateCalls("p95_ms", 1000.0)
    quick, slow = (Attempt("d", candidate="small", latency_ms=ms, error="no answer", status=status) for ms in (5.0, 1500.0))
    late.learn("small", 500.0, quick)
    assert late.learned == {}
    assert math.isnan(late.reported(quick))
    assert late.reported(slow) == 1.0
    late.learn("small", 500.0, Attempt("d", candidate="small", latency_ms=5.0))
    assert late.learned.keys() == {"small"}


def test_tokens_a_minute_are_kept(plugins, clock):
    with served(plugins, {"tokens_per_minute": 5000.0}) as controller:
        for _ in range(5):
            controller.route(QUERY)
            controller.learner.flush()
        with pytest.raises(LimitError, match="tokens_per_minute 5000"):
            controller.route(QUERY)
        clock.now += 60
        controller.route(QUERY)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"tokens_per_minute": 1500.0}, "tenant 'a' may use tokens_per_minute 1500, and this request is expected to use at least 1600: send"),
        ({"usd_per_day": 0.0015}, "may use usd_per_day 0.0015, and this request is expected to use at least 0.0016"),
        ({"usd_per_day": 0.0017, "tokens_per_minute": 1500.0}, "may use tokens_per_minute 1500"),
    ],
)
def test_a_request_above_a_whole_budget_is_not_told_to_wait(plugins, clock, limits, message):
    with served(plugins, limits) as controller:
        controller.route(QUERY, tenant="a")
        controller.learner.flush()
        with pytest.raises(NoCandidateError, match=message) as raised:
            controller.route(Query("question", prompt_tokens=1500, output_tokens=100, tenant="a"))
        assert not isinstance(raised.value, LimitError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"usd_per_day": 0.0}, "usd_per_day must be above 0, not 0.0"),
        ({"usd_per_day": 1e-6}, "usd_per_day 1e-06 is below what the cheapest candidates take, 0.000512 USD for one request"),
        ({"usd_per_1k": 0.1}, "usd_per_1k 0.1 is below what the cheapest candidates take, 0.512 USD per 1,000 requests"),
        ({"tokens_per_minute": 100.0}, "tokens_per_minute 100 is below"),
        ({"p95_ms": 100.0}, "p95_ms 100 cannot be met: .* attainable is 5[0-9]+ ms"),
        ({"router": "paced"}, "paced cannot wrap paced"),
        ({"router": {"name": "paced"}}, "paced cannot wrap paced"),
        ({"router": 3}, "router must be a router's name"),
        ({"router": "oracle"}, "for evaluation only"),
    ],
)
def test_wrong_options_are_refused(plugins, options, message):
    with pytest.raises(ConfigError, match=message):
        served(plugins, options)


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"usd_per_day": 0.1, "requests_per_day": 400.0}, "usd_per_day 0.1 is below .* for requests_per_day, 0.205 USD; .* be refused"),
        ({"usd_per_day": 0.1, "requests_per_day": 400.0, "over_budget": "cheapest"}, "usd_per_day 0.1 is below .*; raise it, or it will be exceeded"),
        ({"tokens_per_minute": 1000.0, "requests_per_day": 14_400.0}, "tokens_per_minute 1000 is below .* for requests_per_day, [0-9.e+]+ tokens;"),
        ({"usd_per_day": 1.0, "requests_per_day": 400.0}, None),
    ],
)
def test_a_limit_below_the_minimum_use_of_the_expected_traffic_is_warned_of(plugins, caplog, options, warning):
    with served(plugins, options):
        said = [record.message for record in caplog.records]
    assert said == [] if warning is None else re.match(warning, said[0])


def test_an_unknown_wrapped_router_is_refused(plugins):
    with pytest.raises(UnknownComponentError, match=r"thomson.*did you mean 'thompson'"):
        served(plugins, {"router": "thomson"})


def test_without_prices_no_budget_can_be_kept(plugins):
    with pytest.raises(ConfigError, match="no candidate has a price"):
        served(plugins, {"usd_per_day": 3.0}, pool=Pool([ModelSpec("a"), ModelSpec("b")]))
    with pytest.raises(ConfigError, match="paced has no limit"):
        served(plugins, {}, pool=Pool([ModelSpec("a"), ModelSpec("b")]))


def test_candidates_that_a_budget_leaves_out_for_want_of_a_price_are_named(plugins, caplog):
    served(plugins, {"usd_per_day": 3.0, "p95_ms": 9000.0}, pool=Pool([ModelSpec("a"), *POOL_OF_THREE, ModelSpec("b")])).close()
    assert [record.message for record in caplog.records] == ["usd_per_day leaves out candidates without a price: a, b; give their prices in the pool"]


def test_a_checkpoint_of_paced_cannot_be_wrapped(plugins, tmp_path: Path):
    subject = Subject("router", "paced", plugins, {"router": "random", "usd_per_1k": 2.0})
    save_component(tmp_path / "router", "router", "paced", subject.make(), plugins, {})
    with pytest.raises(ConfigError, match="paced cannot wrap paced"):
        served(plugins, {"router": str(tmp_path / "router")})


def test_a_checkpoint_with_other_limits_is_refused(plugins, tmp_path: Path):
    Subject("router", "paced", plugins, {"router": "thompson", "usd_per_1k": 5.0}).make().save(tmp_path)
    other = Subject("router", "paced", plugins, {"router": "thompson", "usd_per_day": 5.0}).make()
    with pytest.raises(CheckpointError, match=r"paced\.json has the limits usd_per_1k, not usd_per_day; train again$"):
        other.load(tmp_path)
