"""The queues against what queueing theory says of them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_environments.queue import QueueOptions, standalone
from aamc_environments.queue.queue_streams import BURST, CALM, Arrivals

from aamc_sdk import Latency, ModelSpec, Pool, Prices
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError, PoolError

STREAMS, WARM_UP, STEPS = 512, 300, 500


def play_one_queue(pool, load, **options):
    """Return waits and latencies [STEPS, STREAMS] of a single queue after a warm-up; by default lengths of answers do not count."""
    streams = standalone(pool, queries=64, load=load, **{"service_by_length": False, **options}).vector(STREAMS, "train", seed=5)
    streams.reset()
    waits, latencies = [], []
    for step in range(WARM_UP + STEPS):
        wait = streams.request().wait_ms[:, 0]
        info = streams.step(np.zeros(STREAMS, dtype=int))[-1]
        if step >= WARM_UP:
            waits.append(wait)
            latencies.append(info["latency_ms"])
    return np.array(waits), np.array(latencies)


def interval(values):
    """Return the mean of [STEPS, STREAMS] values and its standard error; streams are independent."""
    means = values.mean(axis=0)
    return means.mean(), means.std(ddof=1) / np.sqrt(STREAMS)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.7])
def test_mean_wait_is_that_of_an_m_m_1_queue(one_queue, rho):
    waits, _ = play_one_queue(one_queue, rho)
    mean, error = interval(waits)
    arrivals, services = rho, 1.0  # per second
    assert mean == pytest.approx(1000 * rho / (services - arrivals), abs=4 * error)
    assert error < 0.05 * mean


@pytest.mark.parametrize(("easy_tokens", "hard_tokens"), [(128, 384), (10, 1000), (1024, 1024)])
def test_mean_wait_with_lengths_is_that_of_an_m_g_1_queue_of_the_same_utilisation(one_queue, easy_tokens, hard_tokens):
    world = {"categories": {"a": {}}, "candidates": {"LLM-XLarge": {"success": {"a": 0.9}}}, "easy_tokens": easy_tokens, "hard_tokens": hard_tokens}
    environment = standalone(one_queue, queries=64, load=0.5, world=world)
    tokens = environment.vector(1, "train").setup.request.expected.output_tokens[:, 0]
    service_s, second_moment = tokens.mean() / 256, 2 * (tokens**2).mean() / 256**2  # exponential for a given length
    rate = 0.5 / service_s
    waits, _ = play_one_queue(one_queue, 0.5, world=world, service_by_length=True)
    mean, error = interval(waits)
    assert mean == pytest.approx(1000 * rate * second_moment / (2 * (1 - 0.5)), abs=4 * error)  # Pollaczek and Khinchine
    assert error < 0.05 * mean


def test_latency_is_wait_service_and_network(one_queue):
    waits, latencies = play_one_queue(one_queue, 0.5)
    mean, error = interval(latencies - waits)
    assert mean == pytest.approx(1000 + 100, abs=4 * error)
    assert (latencies - waits).min() >= 99.9


def test_the_share_of_queries_that_wait_is_the_utilisation(one_queue):
    waits, _ = play_one_queue(one_queue, 0.6)
    mean, error = interval((waits > 0).astype(float))
    assert mean == pytest.approx(0.6, abs=4 * error)


def test_bursts_keep_the_mean_rate_and_lengthen_the_wait(one_queue):
    steady, _ = play_one_queue(one_queue, 0.6)
    bursty, _ = play_one_queue(one_queue, 0.6, burst=5.0, burst_share=0.4, burst_length=10.0)
    assert bursty.mean() > 1.5 * steady.mean()
    arrivals = Arrivals(per_second=2.0, burst=5.0, share=0.4)
    assert arrivals.calm_gap_ms * (0.4 / 5 + 0.6) == pytest.approx(500)


def test_the_share_of_queries_in_bursts_is_as_asked():
    arrivals = Arrivals(per_second=1.0, burst=3.0, share=0.3, length=10.0)
    generator = np.random.default_rng(0)
    phase = np.zeros(2000, dtype=np.intp)
    shares = []
    for step in range(300):
        phase = arrivals.next_phase(phase, generator.random(2000))
        if step >= 50:
            shares.append((phase == BURST).mean())
    assert np.mean(shares) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"burst_share": 0.9}, "0.769 with burst_length 20 and warning 5, not 0.9"),
        ({"burst_share": 0.9, "burst_length": 2.0, "warning": 0.0}, "0.666 with burst_length 2 and warning 0, not 0.9"),
        ({"burst_length": 1.0}, "0.142 with burst_length 1 and warning 5, not 0.2"),
        ({"warning": 100.0}, "0.165 with burst_length 20 and warning 100, not 0.2"),
    ],
)
def test_a_share_of_bursts_that_cannot_be_reached_is_refused(options, limit):
    with pytest.raises(ConfigError, match=f"^burst_share must be at most {limit}; lower it( or warning)?, or raise burst_length$"):
        QueueOptions(scenario="forecast", **options)
    QueueOptions(scenario="forecast", **{**options, "burst_share": float(limit[:5])})


@pytest.mark.parametrize(
    "options",
    [{}, {"burst_share": 0.769}, {"burst_length": 1.0, "burst_share": 0.142}, {"warning": 79.0}, {"burst_share": 0.9, "warning": 0.0}],
)
def test_the_arrivals_have_the_share_of_bursts_and_the_load_that_were_asked_for(one_queue, options):
    arrivals = standalone(one_queue, queries=8, load=0.6, burst=5.0, service_by_length=False, **{"warning": 5.0, **options}).arrivals("train")
    chain = arrivals.transitions[[CALM, BURST]][:, [CALM, BURST]] if not arrivals.warning else arrivals.transitions
    stationary = np.linalg.matrix_power(chain, 100_000)[0]
    assert stationary[-1] == pytest.approx(options.get("burst_share", 0.2))
    mean_gap_ms = arrivals.calm_gap_ms * (1 - stationary[-1] + stationary[-1] / 5)
    assert 1000 / mean_gap_ms == pytest.approx(0.6)


def test_a_warning_is_at_least_a_query_long():
    with pytest.raises(ConfigError, match=r"warning must be 0 or at least 1, not 0\.5"):
        QueueOptions(warning=0.5)


@pytest.mark.parametrize("options", [{"burst_share": 0.4}, {"burst_length": 5.0}, {"warning": 5.0}])
def test_options_of_bursts_without_bursts_are_refused(options):
    (name,) = options
    for given in ({}, {"burst": 1.0}, {"scenario": "forecast", "burst": 1.0}):
        with pytest.raises(ConfigError, match=f"^{name} is given, and burst 1 means no bursts; leave it out, or set burst above 1"):
            QueueOptions(**given, **options)
    QueueOptions(burst=2.0, **options)
    QueueOptions(scenario="forecast", **options)


def test_a_scenario_may_be_without_its_bursts_and_warnings():
    assert QueueOptions(scenario="forecast", burst=1.0).present_burst == 1
    assert QueueOptions(warning=0.0).present_warning == 0


def test_the_arrival_rate_is_given_or_follows_from_the_load(one_queue):
    assert standalone(one_queue, queries=8, arrival_rate=0.5).arrivals("train").per_second == 0.5
    assert standalone(one_queue, queries=8, load=0.1, service_by_length=False).arrivals("train").per_second == pytest.approx(0.1)


def test_a_candidate_without_prices_or_latency_is_refused():
    with pytest.raises(PoolError, match="needs prices and latency of every candidate, and 'LLM-XLarge' lacks some"):
        standalone(Pool([ModelSpec("LLM-XLarge")]))
    with pytest.raises(PoolError, match="without service there is no queue"):
        standalone(Pool([ModelSpec("LLM-XLarge", prices=Prices(1, 1), latency=Latency(5, 0))]))


def test_the_quality_that_each_candidate_would_have_is_the_one_that_the_chosen_has():
    pool = Pool(ModelSpec(name, prices=Prices(1, 1), latency=Latency(10, 100)) for name in ("a", "b", "c"))
    qualities = []
    for candidate in range(3):
        streams = standalone(pool, queries=64, load=0.5).vector(32, "train", seed=5)
        streams.reset()
        for _ in range(40):
            would = streams.counterfactual_quality()
            info = streams.step(np.full(32, candidate))[-1]
            assert (would[:, candidate] == info["quality"]).all()
            qualities.append(would)
    first, second, third = np.split(np.array(qualities), 3)
    assert (first == second).all()  # whatever is chosen
    assert (second == third).all()
    assert 0 < first.mean() < 1


def play_latencies(pool, tokens, **options):
    """Return the mean latency without load of queries that state their output tokens, or state none."""
    environment = standalone(pool, load=1e-6, **options)
    queries = [attrs.evolve(query, output_tokens=tokens) for query in environment._split("train").queries]
    environment.prepare({"train": attrs.evolve(environment._split("train"), queries=queries)})
    streams = environment.vector(256, "train", seed=1)
    streams.reset()
    hindsight = streams.request().hindsight.latency_ms.mean()
    return hindsight, np.mean([streams.step(np.zeros(256, dtype=int))[-1]["latency_ms"].mean() for _ in range(200)])


@pytest.mark.parametrize(("tokens", "expected"), [(None, 1100), (256, 1100), (64, 350), (1024, 4100)])
def test_service_time_grows_with_the_tokens_that_a_query_states(one_queue, tokens, expected):
    hindsight, played = play_latencies(one_queue, tokens, service_by_length=tokens is not None)
    assert hindsight == pytest.approx(expected, abs=1)
    assert played == pytest.approx(expected, rel=0.03)


def test_service_time_follows_the_worlds_lengths_and_gives_them_to_estimators(one_queue):
    environment = standalone(one_queue)
    complexity = environment._split("train").labels.complexity
    mean_tokens = 128 + 256 * complexity
    table = environment.dataset("train").outcomes
    assert (np.abs(table.output_tokens[:, 0] / mean_tokens - 1) <= 0.5).all()
    request = environment.vector(1, "train").setup.request
    assert request.expected.output_tokens[:, 0] == pytest.approx(mean_tokens)
    assert request.expected.latency_ms[:, 0] == pytest.approx(100 + 1000 * mean_tokens / 256)
    service_ms = table.latency_ms[:, 0] - 100
    assert np.corrcoef(service_ms, mean_tokens)[0, 1] > 0.1


def test_the_published_worlds_service_times_do_not_depend_on_length(one_queue):
    assert configure(QueueOptions, {}, preset="paper").service_by_length is False
    environment = standalone(one_queue, service_by_length=False)
    assert environment.dataset("train").outcomes.output_tokens is None
    assert (environment.vector(1, "train").setup.request.expected.latency_ms == 1100).all()


def test_one_stream_serves_long_answers_as_many_streams_do(one_queue):
    environment = standalone(one_queue)
    one, many = (environment.vector(n, "train", seed=3) for n in (1, 2))
    latencies = []
    for streams in (one, many):
        streams.reset()
        latencies.append([streams.step(np.zeros(streams.num_envs, dtype=int))[-1]["latency_ms"][0] for _ in range(20)])
    assert latencies[0] == latencies[1]
