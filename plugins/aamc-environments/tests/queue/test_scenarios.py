"""What calls share in the scenarios of environment queue, by hand and by conservation."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from aamc_environments.queue import QueueOptions
from aamc_environments.queue.gymnasium_env import QueueEnv, standalone
from aamc_environments.queue.options import SCENARIOS, TWO_MODELS, _warn_of_unread
from aamc_environments.queue.queue_streams import ANNOUNCED, BURST, CALM, Arrivals, QueueStreams
from aamc_environments.resources import DailyBudget, PromptCache, Slots, StepCalls, TokenLimit

from aamc_sdk import Latency, ModelSpec, Pool, Preference, Prices
from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.routing import PAIR_FEATURES, build_request
from aamc_sdk.types import AnswerLengths

NO_TIME, ROW, HALF = np.zeros(1), np.zeros(1, dtype=int), np.full(1, 0.5)


def call(action: int, service_ms: float = 0.0, tokens: float = 0.0, cost_usd: float = 0.0) -> StepCalls:
    return StepCalls(np.array([action]), np.array([True]), *(np.array([value]) for value in (service_ms, tokens, cost_usd)))


def streams_of(scenario: str, n: int = 64, **options: Any) -> QueueStreams:
    named = SCENARIOS[scenario]
    streams = standalone(pool=named.pool, queries=300, scenario=scenario, world=named.world, **options).vector(n, "train")
    assert isinstance(streams, QueueStreams)
    streams.reset(seed=0)
    return streams


def test_a_call_waits_for_the_slot_that_is_free_first():
    slots = Slots(np.array([100.0]), slots=2)
    slots.begin(ROW)
    for service_ms in (50.0, 30.0, 40.0):
        slots.serve(call(0, service_ms=service_ms))
    view = slots.arrive(np.array([10.0]), ROW, HALF)
    assert view.wait_ms is not None
    assert view.wait_ms.tolist() == [[40.0]]  # slots are busy for 40 and 60 ms
    assert slots.outstanding.tolist() == [[1.0]]


def test_one_slot_is_the_queue_of_one_server():
    ours, queues = streams_of("batching", slots=1, load=0.9), streams_of("scarce-server", load=0.9)
    for _ in range(50):
        assert ours.request().wait_ms == pytest.approx(queues.request().wait_ms, rel=1e-4, abs=1e-2)
        for streams in (ours, queues):
            streams.step(np.zeros(64, dtype=int))


def test_a_call_beyond_the_token_limit_retries_when_its_tokens_are_there():
    limit = TokenLimit(600.0, np.array([True, False]), tokens=np.array([300.0]), per_second=1.0)
    limit.begin(ROW)
    limit.used[:] = 0.0
    for _ in range(2):
        assert limit.arrive(NO_TIME, ROW, HALF).wait_ms.tolist() == [[0.0, 0.0]]
        limit.serve(call(0, tokens=300.0))
    view = limit.arrive(np.array([10_000.0]), ROW, HALF)  # 10 s refill 100 tokens; 200 are missing
    assert view.wait_ms.tolist() == [[20_000.0, 0.0]]
    assert view.pressure == pytest.approx(np.array([[1 - np.log1p(100 / 300) / np.log1p(600 / 300), 0.0]]))
    limit.serve(call(1, tokens=300.0))
    assert limit.used.tolist() == [500.0]  # the other candidate takes none


@pytest.mark.parametrize(("per_minute", "most"), [(6_000.0, 20), (600_000.0, 100)])
def test_streams_begin_where_a_token_limit_matters(per_minute, most):
    limit = TokenLimit(per_minute, np.array([True, False]), tokens=np.array([300.0]), per_second=1.0)
    limit.begin(np.arange(40, 140))
    calls_left = (limit.per_minute - limit.used) / 300
    assert np.sort(calls_left) == pytest.approx(np.linspace(0, most, 100), abs=most / 30)


def test_streams_tell_over_how_many_queries_their_resource_recovers():
    assert streams_of("rate-limit", arrival_rate=10, load=1.5).recovery == pytest.approx(400)  # a minute has 600 queries
    assert streams_of("rate-limit", tokens_per_minute=3e7).recovery == 60  # a minute's queries, however many calls a bucket holds
    assert streams_of("daily-budget", day=250).recovery == 250
    assert streams_of("batching", slots=32).recovery == 512
    assert {name for name in SCENARIOS if streams_of(name).resets} == {"daily-budget"}
    assert streams_of("scarce-server").recovery == 0


def test_a_day_costs_no_more_than_its_budget_and_a_call():
    streams = streams_of("daily-budget", day=20)
    budget = streams.resource
    assert isinstance(budget, DailyBudget)
    expensive = int(streams.idle_outcomes.cost_usd.mean(axis=0).argmax())
    spent, days = np.zeros(64), np.zeros(64)
    for _ in range(200):
        actions = np.where(streams.request().mask[:, expensive], expensive, budget.cheapest)
        _, _, _, _, info = streams.step(actions)
        spent += info["cost_usd"]
        days += 1 / 20
    assert (spent / days).max() <= 1.15 * budget.budget_usd  # answers are longer than expected now and then
    assert (spent / days).mean() >= 0.8 * budget.budget_usd  # and the money is used
    assert streams.request().mask[:, budget.cheapest].all()


@pytest.mark.parametrize(
    "events",
    [
        [{"at": 30, "candidate": name, "kind": "price", "factor": 4.0} for name in ("LLM-Large", "LLM-XLarge")],
        [{"at": 30, "candidate": "SLM-Small", "kind": "price", "factor": 60.0}],
        [{"at": 30, "candidate": "SLM-Small", "kind": "down"}],
    ],
)
def test_a_day_keeps_to_its_budget_after_an_event(events):
    streams = streams_of("daily-budget", events=events)
    budget, days = streams.resource, []
    assert isinstance(budget, DailyBudget)
    for step in range(300):
        ends, spent = budget.state.T
        request = streams.request()
        assert request.mask.any(axis=1).all()
        _, _, _, _, info = streams.step(np.where(request.mask, request.expected.cost_usd, -1.0).argmax(axis=1))
        if step >= 130:  # whole days after the event
            days += ((spent + info["cost_usd"])[ends == budget.queries - 1] / budget.budget_usd).tolist()
    assert len(days) > 100
    assert max(days) < 1.1  # half of an expensive answer more
    assert np.mean(days) > 0.95


def test_pressure_of_a_budget_is_the_planned_over_the_remaining_free_money():
    budget = DailyBudget(10.0, 10, np.array([[0.5, 4.0]]))
    budget.begin(ROW)
    assert budget.arrive(NO_TIME, ROW, HALF).pressure.tolist() == [[1.0, 1.0]]
    budget.serve(call(1, cost_usd=4.0))  # leaves 6 for 9 queries, of which 4.5 for the cheapest
    assert budget.arrive(NO_TIME, ROW, HALF).pressure == pytest.approx(np.full((1, 2), 0.5 / (6 / 9 - 0.5)))
    budget.serve(call(1, cost_usd=4.0))
    assert budget.arrive(NO_TIME, ROW, HALF).allowed.tolist() == [[True, False]]


def test_neighbouring_streams_of_one_number_begin_a_day_at_one_time_with_different_remainders():
    numbers = np.array([7, 7, 7, 7, 0, 0, 0, 0])
    budget = DailyBudget(10.0, 1000, np.array([[0.001, 0.04]]), trains=True)
    budget.begin(numbers)
    for number, elapsed in ((0, 0), (7, 326)):
        planned = np.array([0.625, 0.875, 1.125, 1.375]) * 0.01  # USD for each remaining query
        most = 10.0 / (1000 - elapsed)  # nothing is spent
        assert np.sort(budget.free_usd[numbers == number]) + budget.reserve_usd == pytest.approx(np.minimum(planned, most))


@pytest.mark.parametrize(("split", "numbers"), [("train", [0, 1, 2] * 2), ("test", [0, 1, 2] * 2), ("test", [0] * 6)])
def test_streams_that_are_compared_begin_with_equal_remainders(split, numbers):
    environment = standalone(pool=SCENARIOS["daily-budget"].pool, queries=300, scenario="daily-budget")
    environment.prepare(dict.fromkeys(("train", "test"), environment.dataset("train")))
    streams = environment.vector(6, split, streams=np.array(numbers), preferences=np.eye(3).repeat(2, axis=0))
    assert isinstance(streams, QueueStreams)
    streams.reset(seed=0)
    assert isinstance(streams.resource, DailyBudget)
    for number in numbers:
        assert np.ptp(streams.resource.free_usd[np.array(numbers) == number]) == 0


def test_a_budget_that_costs_nothing_has_no_pressure():
    budget = DailyBudget(0.0, 10, np.array([[0.0, 0.0]]))
    budget.begin(ROW)
    assert budget.arrive(NO_TIME, ROW, HALF).pressure.tolist() == [[0.0, 0.0]]


def test_a_budget_keeps_reserves_for_the_cheapest_available_candidate_at_its_present_price():
    budget = DailyBudget(20.0, 10, np.array([[0.5, 1.0, 4.0]]))
    budget.begin(ROW)
    budget.price, budget.available = np.array([1.0, 1.5, 3.0]), np.array([False, True, True])
    view = budget.arrive(NO_TIME, ROW, HALF)  # 20 - 9 * 1.5 = 6.5 for this query
    assert view.allowed.tolist() == [[True, True, False]]
    assert view.pressure.tolist() == [[(2.0 - 0.5) / (2.0 - 1.5)] * 3]
    budget.available = np.zeros(3, bool)
    assert np.isfinite(budget.arrive(NO_TIME, ROW, HALF).pressure).all()


def session(room_tokens: tuple[float, float] = (np.inf, np.inf)) -> PromptCache:
    room = np.array([room_tokens])
    return PromptCache(np.array([1.0, 2.0]), np.array([0.25, 2.0]), turn_tokens=100.0, mean_turns=10.0, room_tokens=room)


def test_a_switch_reads_the_whole_session_at_the_full_price():
    cache = session()
    cache.begin(ROW)
    assert cache.arrive(NO_TIME, ROW, HALF).added_usd.tolist() == [[0.0, 0.0]]
    cache.serve(call(0))
    assert cache.arrive(NO_TIME, ROW, HALF).added_usd.tolist() == [[25.0, 200.0]]
    cache.serve(call(1))
    assert cache.arrive(NO_TIME, ROW, HALF).added_usd.tolist() == [[200.0, 400.0]]
    assert cache.arrive(NO_TIME, ROW, np.ones(1)).added_usd.tolist() == [[0.0, 0.0]]  # a new session


def test_a_session_has_its_mean_number_of_turns():
    cache = session()
    cache.begin(ROW)
    for draw, turns in ((0.899, 1), (0.899, 2), (0.901, 0)):  # another turn has probability 1 - 1 / 10
        cache.serve(call(0))
        assert cache.arrive(NO_TIME, ROW, np.array([draw])).context_tokens.tolist() == [100.0 * turns]


def test_a_session_costs_the_present_prices():
    cache = session()
    cache.begin(ROW)
    cache.serve(call(0))
    cache.price = np.array([2.0, 10.0])
    assert cache.arrive(NO_TIME, ROW, HALF).added_usd.tolist() == [[50.0, 2000.0]]


def test_a_session_ends_where_no_context_window_has_room_for_its_next_query():
    cache = session((100.0, 250.0))
    cache.begin(ROW)
    allowed, contexts = [], []
    for _ in range(5):
        view = cache.arrive(NO_TIME, ROW, HALF)
        allowed.append(view.allowed.tolist()[0])
        contexts += view.context_tokens.tolist()
        cache.serve(call(1))
    assert contexts == [0, 100, 200, 0, 100]
    assert allowed == [[True, True], [True, True], [False, True], [True, True], [True, True]]


def test_a_session_ends_where_only_a_candidate_that_is_down_has_room():
    cache = session((100.0, 250.0))
    cache.begin(ROW)
    cache.available = np.array([True, False])
    contexts = []
    for _ in range(4):
        contexts += cache.arrive(NO_TIME, ROW, HALF).context_tokens.tolist()
        cache.serve(call(0))
    assert contexts == [0, 100, 0, 100]


@pytest.mark.parametrize("output_tokens", [None, 1000])
def test_a_prompt_of_a_session_is_masked_as_in_service(output_tokens):
    windows = {"SLM-Small": 8192, "LLM-Large": 20_000}
    pool = Pool(attrs.evolve(c, context_window=windows.get(c.name)) for c in SCENARIOS["prompt-cache"].pool)
    environment = standalone(pool=pool, queries=100, scenario="prompt-cache", session_turns=20)
    if output_tokens:
        train = environment.dataset("train")
        queries = [attrs.evolve(query, output_tokens=output_tokens) for query in train.queries]
        environment.prepare({"train": attrs.evolve(train, queries=queries)})
    streams = environment.vector(32, "train")
    streams.reset(seed=0)
    for _ in range(20):
        streams.step(np.zeros(32, dtype=int))
    request = streams.request()
    served = build_request(request.queries, pool, Preference().array, lengths=AnswerLengths(request.expected.output_tokens, np.full(3, 256.0)))
    assert request.mask.tolist() == served.mask.tolist()
    assert [request.reasons(row, 0) for row in range(32)] == [served.reasons(row, 0) for row in range(32)]
    assert 0 < request.mask.sum() < request.mask.size


def test_bursts_are_announced_and_have_their_share_of_queries():
    arrivals = Arrivals(per_second=1.0, burst=5.0, share=0.2, length=20.0, warning=5.0)
    generator, phase, seen = np.random.default_rng(0), np.zeros(2000, dtype=int), []
    for _ in range(600):
        after = arrivals.next_phase(phase, generator.random(2000))
        assert not ((phase == CALM) & (after == BURST)).any()
        phase = after
        seen.append(phase)
    shares = [(np.array(seen[200:]) == number).mean() for number in (CALM, ANNOUNCED, BURST)]
    assert shares == pytest.approx([0.75, 0.05, 0.2], abs=0.01)
    assert arrivals.transitions.sum(axis=1).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("scenario", ["forecast", "rate-limit", "daily-budget", "batching", "prompt-cache"])
def test_observations_are_the_features_of_the_request(scenario):
    from aamc_sdk.routing import encode

    streams = streams_of(scenario, n=16, load=3.0)
    generator = np.random.default_rng(0)
    for _ in range(40):
        streams.step(generator.integers(len(streams.visible.pool), size=16))
    request = streams.request()
    expected = encode(request, streams.setup.reward).flat()
    assert streams.observation() == pytest.approx(expected, rel=1e-3, abs=2e-3)
    pressure = expected[:, PAIR_FEATURES.index("pressure") - len(PAIR_FEATURES) * len(request.pool) :: len(PAIR_FEATURES)]
    assert pressure.any() == (scenario != "prompt-cache")


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_single_stream_is_the_first_of_many(scenario):
    named = SCENARIOS[scenario]
    options: dict[str, Any] = {"pool": named.pool, "queries": 300, "scenario": scenario, "world": named.world, "load": 2.0}
    env, many = QueueEnv(**options), streams_of(scenario, n=3, load=2.0)
    observation, _ = env.reset(seed=0)
    observations, _ = many.reset(seed=0)
    for step in range(60):
        assert observation == pytest.approx(observations[0], rel=1e-5, abs=1e-5)
        observation, reward, *_ = env.step(np.int64(step % 2))
        observations, rewards, *_ = many.step(np.full(3, step % 2))
        assert reward == pytest.approx(rewards[0])


def test_a_scenario_needs_candidates_to_choose_from():
    alone = Pool([next(iter(TWO_MODELS))])
    with pytest.raises(PoolError, match="at least two candidates"):
        standalone(pool=alone, scenario="scarce-server", world=SCENARIOS["scarce-server"].world)


def test_a_prompt_cache_needs_a_cached_price():
    named = SCENARIOS["scarce-server"]
    with pytest.raises(PoolError, match="cached input"):
        standalone(pool=named.pool, scenario="prompt-cache", world=named.world).vector(2, "train")


@pytest.mark.parametrize(
    ("option", "value", "reads"),
    [
        ("slots", 8, "batching"),
        ("tokens_per_minute", 1e6, "rate-limit"),
        ("budget_usd", 1.0, "daily-budget"),
        ("day", 50, "daily-budget"),
        ("session_turns", 4.0, "prompt-cache"),
        ("turn_tokens", 100.0, "prompt-cache"),
    ],
)
def test_an_option_that_the_scenario_does_not_read_is_refused(option, value, reads):
    why = f"scenario forecast does not read {option}, which is for scenario {reads}; leave it out, or choose that scenario"
    with pytest.raises(ConfigError, match=f"^{why}$"):
        QueueOptions(scenario="forecast", **{option: value})
    assert getattr(QueueOptions(scenario=reads, **{option: value}), option) == value


@pytest.mark.parametrize(
    ("scenario", "option"),
    [("default", "arrival_rate"), ("batching", "arrival_rate"), ("rate-limit", "tokens_per_minute"), ("daily-budget", "budget_usd")],
)
def test_a_load_beside_the_figure_that_replaces_it_is_refused(scenario, option):
    with pytest.raises(ConfigError, match=f"^load and {option} are given, and scenario {scenario} reads one of them; leave one out$"):
        QueueOptions(scenario=scenario, load=2.0, **{option: 1000.0})
    QueueOptions(scenario="rate-limit", load=2.0, arrival_rate=1.0)  # load is that of the limit


@pytest.mark.parametrize(
    ("scenario", "option"),
    [*(("prompt-cache", option) for option in ("load", "arrival_rate", "burst")), ("daily-budget", "arrival_rate"), ("daily-budget", "burst")],
)
def test_load_and_bursts_are_said_to_have_no_effect_where_nothing_queues(scenario, option, caplog):
    _warn_of_unread.cache_clear()
    for _ in range(2):
        QueueOptions(scenario=scenario, **{option: 2.0})
    assert [record.message for record in caplog.records] == [f"{option} is without effect in scenario {scenario}, where nothing queues"]


def test_a_load_far_above_what_the_candidates_can_serve_is_refused():
    with pytest.raises(ConfigError, match="load must be at most 100, not 1000"):
        QueueOptions(load=1000.0)


@pytest.mark.parametrize("budget", [0.0, 1e-9])
def test_a_budget_below_the_cheapest_candidate_is_refused(budget):
    with pytest.raises(ConfigError, match=r"budget_usd must be more than .* SLM-Small"):
        streams_of("daily-budget", budget_usd=budget)


def test_a_load_that_leaves_less_than_the_cheapest_candidate_costs_is_refused():
    named = SCENARIOS["scarce-server"]  # whose candidates cost 10 to 1
    world = {"pool": named.pool, "queries": 300, "scenario": "daily-budget", "world": named.world}
    assert standalone(**world, load=9.9).vector(1, "train").resource.budget_usd > 0
    with pytest.raises(
        ConfigError, match=r"load must be at most 10 in scenario daily-budget, not 10\.1: 100 queries of the cheapest candidate, weak"
    ):
        standalone(**world, load=10.1).vector(1, "train")


def test_a_limit_below_one_call_is_refused():
    with pytest.raises(ConfigError, match="tokens_per_minute must hold the longest call"):
        streams_of("rate-limit", tokens_per_minute=1.0)


def test_the_token_limit_binds_all_candidates_but_the_cheapest():
    resource = streams_of("rate-limit").resource
    assert isinstance(resource, TokenLimit)
    assert resource.limited.tolist() == [False, True, True]


def test_pools_of_one_price_have_no_free_lunch():
    twins = Pool(ModelSpec(name, prices=Prices(1, 2, cached_input=0.5), latency=Latency(10, 100)) for name in ("strong", "weak"))
    streams = standalone(pool=twins, scenario="prompt-cache", world=SCENARIOS["scarce-server"].world).vector(2, "train")
    resource = streams.resource  # type: ignore[attr-defined]  # the streams of environment queue
    assert isinstance(resource, PromptCache)
    assert [*resource.full_usd, *resource.cached_usd] == pytest.approx([1e-6, 1e-6, 0.5e-6, 0.5e-6])  # a token


@pytest.mark.parametrize(("second_ms", "said"), [(1000, "count for nothing"), (1001, "outweigh all else"), (2000, "")])
def test_a_scale_that_is_none_for_waits_is_said(second_ms: int, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """The reward's scale of latency is the range of the candidates' means, beside which each wait is nothing or all."""
    latencies = {"strong": 1000, "weak": second_ms}
    pool = Pool([ModelSpec(name, prices=Prices(1.0, 3.0), latency=Latency(40, service_ms)) for name, service_ms in latencies.items()])
    environment = standalone(pool=pool, queries=300, scenario="scarce-server", world=SCENARIOS["scarce-server"].world)
    for _ in range(2):
        environment.vector(4, "train")
    assert len(caplog.messages) == (1 if said else 0)
    assert all(said in message for message in caplog.messages)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "default"])
def test_streams_in_one_state_go_on_alike(scenario):
    named = SCENARIOS[scenario]
    options = {"load": 0.5} if scenario in ("scarce-server", "batching", "forecast") else {}
    env = standalone(pool=named.pool, queries=300, scenario=scenario, world=named.world, **options)
    numbers = np.repeat(np.arange(32), 2)  # two streams of each number: the second one decides differently for some steps
    streams = env.vector(64, "train", streams=numbers, preferences=np.tile([0.9, 0.05, 0.05], (64, 1)))
    streams.reset(seed=0)
    rng = np.random.default_rng(0)
    pairs = lambda figures: np.reshape(figures, (32, 2, -1))  # noqa: E731
    differed, met = np.zeros(32, bool), np.zeros(32, bool)
    for _ in range(400):
        equal = (pairs(streams.state)[:, 0] == pairs(streams.state)[:, 1]).all(axis=1)
        differed |= ~equal
        met |= equal & differed
        actions = np.repeat(rng.integers(len(streams.visible.pool), size=32), 2)
        actions[1::2] = np.where(met, actions[1::2], 0)
        observations, rewards, _, _, _ = streams.step(actions)
        for figures in map(pairs, (observations, rewards, streams.state)):
            assert np.array_equal(figures[met & equal, 0], figures[met & equal, 1])
    assert met.sum() >= 4
