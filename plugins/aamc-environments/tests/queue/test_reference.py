"""Reference policies: compared with exact solutions, and never below greedy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from aamc_environments.queue import SCENARIOS, QueueStreams, relative_values, standalone
from aamc_environments.queue.reference import mean_rewards, reference_rule, true_rewards, upper_bound
from aamc_environments.queue.relative_values import NotConvergedError, SharedResource, solve
from aamc_environments.resources import DailyBudget, Slots
from scipy.optimize import linprog  # type: ignore[import-untyped]  # scipy ships no types

from aamc_sdk import Outcomes, Pool, Preference
from aamc_sdk.types import Floats


def server(use: float, per_service: float, load: float) -> SharedResource:
    """A server of mean service 1 with arrivals of rate ``load``."""
    return SharedResource(
        use=np.full(8, use),
        size=np.ones(8),
        loss=lambda work, size: per_service * work,
        drain=np.ones_like,
        gaps=np.array([1 / load]),
        transitions=np.ones((1, 1)),
    )


def simulated_threshold(threshold: float, use: float, per_service: float, load: float, other: float) -> float:
    """Return the mean reward of a threshold on the backlog (Lindley's recursion)."""
    generator = np.random.default_rng(0)
    gaps, services = generator.exponential(1 / load, (2000, 512)), generator.exponential(1.0, (2000, 512))
    backlog, total = np.zeros(512), 0.0
    for step in range(2000):
        backlog = np.maximum(backlog - gaps[step], 0.0)
        uses = backlog < threshold
        if step >= 500:
            total += np.where(uses, use - per_service * backlog, other).mean()
        backlog += services[step] * uses
    return total / 1500


@pytest.mark.parametrize("load", [0.7, 2.0])
def test_the_gain_is_that_of_the_best_threshold(load):
    use, per_service, other = 0.9, 0.05, 0.55
    solved = solve(server(use, per_service, load), np.full(8, other), limit=14.0)
    best = max(simulated_threshold(threshold, use, per_service, load, other) for threshold in np.arange(0.5, 7.1, 0.25))
    assert solved.gain == pytest.approx(best, abs=0.004)
    naor = (use - other) / per_service
    at_naor = solved.cost_of_use(np.zeros(1, dtype=int), np.array([0.5 * naor]), np.ones(1))
    assert at_naor > 0.02  # greedy, which uses the server up to this wait, costs later queries something


def mean_wait(gaps: Floats, transitions: Floats, states: int = 120) -> float:
    """Return the mean wait of queries at a server of mean service 1 that serves all of them, by the chain of phase and calls that a query meets."""
    phases = len(gaps)
    chain = np.zeros((phases, states, phases, states))
    for after, gap in enumerate(gaps):
        one = gap / (1 + gap)  # the chance that a call ends before the next query
        for calls in range(states):
            present = min(calls + 1, states - 1)
            met = np.append(one**present, (1 - one) * one ** np.arange(present - 1, -1, -1.0))
            chain[:, calls, after, : present + 1] = transitions[:, after, None] * met
    matrix = chain.reshape(phases * states, -1)
    system = np.vstack((matrix.T - np.eye(len(matrix)), np.ones(len(matrix))))
    stationary = np.linalg.lstsq(system, np.append(np.zeros(len(matrix)), 1.0), rcond=None)[0]
    return float(stationary.reshape(phases, states).sum(axis=0) @ np.arange(states))


def test_waits_in_bursts_are_those_of_the_exact_chain():
    gaps, transitions = np.array([2.5, 2.5, 0.6]), np.array([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.2, 0.0, 0.8]])
    assert mean_wait(np.array([2.0]), np.ones((1, 1))) == pytest.approx(0.5 / (1 - 0.5))  # M/M/1
    bursts = attrs.evolve(server(1.0, 0.01, 1.0), gaps=gaps, transitions=transitions)
    solved = solve(bursts, np.zeros(8), limit=40.0)
    assert 1 - solved.gain == pytest.approx(0.01 * mean_wait(gaps, transitions), rel=0.2)  # the steps of the grid lengthen waits
    assert mean_wait(gaps, transitions.T / transitions.T.sum(axis=1, keepdims=True)) < 0.6 * mean_wait(gaps, transitions)


def test_a_server_that_no_one_wants_costs_nothing_else():
    solved = solve(server(0.5, 0.05, 1.0), np.full(8, 0.6), limit=5.0)
    assert solved.gain == pytest.approx(0.6)
    assert solved.price == pytest.approx(np.zeros(8), abs=1e-9)


def test_a_queue_that_is_never_empty_has_relative_values():
    solved = solve(server(0.9, 0.01, 1000.0), np.full(8, 0.55), limit=41.0)
    assert 0.55 < solved.gain < 0.56  # the server takes one query of a thousand
    assert np.isfinite(solved.price).all()


@pytest.mark.parametrize(
    ("scenario", "options", "preference", "threshold"),
    [("scarce-server", {"load": 3.0}, "0.9995,0,0.0005", 8.0), ("batching", {"load": 2.0, "slots": 128}, "0.95,0,0.05", 1.2 * 128)],
)
def test_a_queue_longer_than_the_grid_is_not_used_without_end(scenario, options, preference, threshold):
    named, weights = SCENARIOS[scenario], Preference.parse(preference).array
    environment = standalone(pool=named.pool, queries=500, scenario=scenario, world=named.world, **options)

    def by_threshold(streams: QueueStreams) -> Floats:
        work = streams.resource.outstanding if isinstance(streams.resource, Slots) else streams.backlog_ms / streams.service_ms
        return np.where(work[:, :1] <= threshold, [[1.0, 0.0]], [[0.0, 1.0]])

    def played(rule) -> float:
        streams = environment.vector(32, "train", preferences=np.tile(weights, (32, 1)))
        assert isinstance(streams, QueueStreams)
        streams.reset(seed=1)
        return float(mean_rewards(streams, rule, 2000, 200).mean())

    assert played(reference_rule(played_elsewhere(environment), weights)) > played(by_threshold) - 0.005


def test_demand_beyond_the_capacity_of_all_candidates_is_an_error():
    """The strong candidate serves a query in 2 s and the weak one in .1 s: together 21 times what the strong one serves."""
    named, weights = SCENARIOS["batching"], np.array([0.95, 0.0, 0.05])
    environment = standalone(pool=named.pool, queries=50, scenario="batching", world=named.world, load=42.0)
    with pytest.raises(
        NotConvergedError, match="queries arrive at 2 times the rate that all candidates together can serve; lower load or arrival_rate"
    ):
        reference_rule(played_elsewhere(environment), weights)


def test_an_iteration_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(relative_values, "MAX_ITERATIONS", 1)
    with pytest.raises(NotConvergedError, match="does not converge in 1 iterations"):
        solve(server(0.9, 0.05, 2.0), np.full(8, 0.55), limit=14.0)


def greedy(streams: QueueStreams) -> Floats:
    request = streams.request()
    return streams.setup.reward.scalar(request.hindsight, request.preferences)


def played_elsewhere(environment) -> QueueStreams:
    streams = environment.vector(1, "train")
    streams.reset(seed=5)
    return streams


UNANNOUNCED = [("scarce-server", {"burst": 3.0}), ("rate-limit", {"burst": 3.0}), ("batching", {"burst": 3.0}), ("forecast", {"warning": 0.0})]
LONG_SESSIONS = [("prompt-cache", {"session_turns": 100.0})]


@pytest.mark.parametrize(("scenario", "options"), [*((name, {}) for name in sorted(SCENARIOS)), *UNANNOUNCED, *LONG_SESSIONS])
def test_the_reference_is_above_greedy_and_below_the_idle_pool(scenario, options):
    named = SCENARIOS[scenario]
    environment = standalone(pool=named.pool, queries=500, scenario=scenario, world=named.world, **options)
    weights = Preference.parse(named.preference).array

    def played(rule_of) -> Floats:
        streams = environment.vector(64, "train", preferences=np.tile(weights, (64, 1)))
        assert isinstance(streams, QueueStreams)
        streams.reset(seed=1)
        return mean_rewards(streams, rule_of(streams), 150, 100)

    rule = reference_rule(played_elsewhere(environment), weights)  # computed for streams other than those that it decides for
    reference, plain = played(lambda streams: rule), played(lambda streams: greedy)
    gain = reference - plain
    assert gain.mean() > (-1e-4 if scenario == "default" else 2 * gain.std() / 8)
    assert reference.mean() < upper_bound(played_elsewhere(environment), weights) + 0.01


def test_the_reference_of_a_prompt_cache_knows_the_context_windows():
    named, weights = SCENARIOS["prompt-cache"], Preference.parse("0.9,0.1,0").array

    def environment_of(**windows: int):
        pool = Pool(attrs.evolve(candidate, context_window=windows.get(candidate.name.replace("-", "_"))) for candidate in named.pool)
        return standalone(pool=pool, queries=300, scenario="prompt-cache", world=named.world, session_turns=20)

    narrow, played = environment_of(LLM_Tools=8192, LLM_Large=16_384, SLM_Small=12_000), []
    for environment in (narrow, environment_of()):
        streams = narrow.vector(64, "train", preferences=np.tile(weights, (64, 1)))
        streams.reset(seed=1)
        played.append(mean_rewards(streams, reference_rule(played_elsewhere(environment), weights), 30, 100).mean())
    assert played[0] > played[1] + 0.001


def test_a_query_that_nothing_can_serve_is_a_failure_at_the_maximum_cost_and_latency():
    down = [{"at": 0, "candidate": name, "kind": "down"} for name in ("strong", "weak")]
    named, weights = SCENARIOS["scarce-server"], np.array([0.5, 0.3, 0.2])
    streams = standalone(pool=named.pool, queries=50, scenario="scarce-server", world=named.world, events=down).vector(
        4, "train", preferences=np.tile(weights, (4, 1))
    )
    streams.reset(seed=1)
    outcomes = streams.request().hindsight
    worst = Outcomes(np.zeros((4, 1)), *(values.max(axis=1, keepdims=True) for values in (outcomes.cost_usd, outcomes.latency_ms)))
    expected = streams.setup.reward.scalar(worst, np.tile(weights, (4, 1)))[:, 0]
    played = mean_rewards(streams, greedy, 0, 1)
    assert played == pytest.approx(expected)
    streams.reset(seed=1)
    assert played == pytest.approx(streams.step(np.zeros(4, dtype=int))[1])  # as in the environment


@pytest.mark.parametrize("load", [0.5, 4.0])
def test_the_fluid_bound_is_the_optimum_of_a_linear_program(load: float):
    """Shares x of the queries at each candidate: maximise the mean reward, at a mean cost of the budget per query at most."""
    named = SCENARIOS["daily-budget"]
    environment = standalone(pool=named.pool, queries=60, scenario="daily-budget", world=named.world, load=load)
    streams, weights = played_elsewhere(environment), Preference.parse(named.preference).array
    assert isinstance(streams.resource, DailyBudget)
    rewards, cost_usd = true_rewards(streams, weights) / 60, streams.idle_outcomes.cost_usd / 60
    optimum = linprog(
        -rewards.ravel(),
        A_ub=cost_usd.reshape(1, -1),
        b_ub=streams.resource.budget_usd / streams.resource.queries,
        A_eq=np.kron(np.eye(60), np.ones(rewards.shape[1])),
        b_eq=np.ones(60),
    )
    assert -optimum.fun == pytest.approx(upper_bound(streams, weights), abs=1e-4)
    assert (load < 1) == (upper_bound(streams, weights) == pytest.approx(60 * rewards.max(axis=1).mean(), abs=1e-6))
