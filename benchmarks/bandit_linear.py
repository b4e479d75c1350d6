"""Microseconds of a decision and a lesson of ``linear-thompson`` at ten candidates, beside plain numpy in the same process: prints JSON.

``OMP_NUM_THREADS=1 python benchmarks/bandit_linear.py`` counts CPU time on one thread and takes the least of some repeats, sides in turns.
Compared is linear Thompson sampling in as few lines of numpy as it takes: coefficients are drawn from their normal posteriors, and the greatest
product with the context is taken. That knows no propensity, and learns by Sherman and Morrison's formula without a discount.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
from aamc_bandit.linear import LinearThompson

from aamc_sdk.batch import Estimates, RoutingRequest
from aamc_sdk.dataset import Experience
from aamc_sdk.interfaces import Services
from aamc_sdk.requests import build_request
from aamc_sdk.rewards import LinearReward
from aamc_sdk.types import Decision, Feedback, Latency, ModelSpec, Pool, Preference, Prices, Query

CANDIDATES, CATEGORIES, EMBEDDING = 10, 8, 256
REPEATS, CALLS, HEARD = 15, 200, 2000
POOL = Pool(ModelSpec(f"m{n}", prices=Prices(1 + n, 2 + n), latency=Latency(service_ms=100.0 + n)) for n in range(CANDIDATES))


def microseconds(*works: Callable[[], object]) -> list[float]:
    """Return what a call of each takes: the least of some repeats, in turns."""
    least = [float("inf")] * len(works)
    for _ in range(REPEATS):
        for number, work in enumerate(works):
            started = time.process_time()
            for _ in range(CALLS):
                work()
            least[number] = min(least[number], (time.process_time() - started) / CALLS * 1e6)
    return least


def make_request(rows: int, seed: int) -> RoutingRequest:
    """Return random requests."""
    rng = np.random.default_rng(seed)
    names = tuple(f"c{n}" for n in range(CATEGORIES))
    categories = rng.dirichlet(np.full(CATEGORIES, 0.3), rows)
    estimates = Estimates(rng.random(rows), categories, names, rng.random(rows), rng.normal(size=(rows, EMBEDDING)))
    return build_request([Query("a question")] * rows, POOL, Preference().array, estimates=estimates)


def lesson(request: RoutingRequest, seed: int) -> Experience:
    """Return one piece of feedback on each request, for a random candidate."""
    rng = np.random.default_rng(seed)
    decisions = [Decision(str(n), POOL.names[m], 0.1, Preference()) for n, m in enumerate(rng.integers(CANDIDATES, size=len(request)))]
    feedback = [Feedback(decision_id=decision.id, quality=float(rng.random())) for decision in decisions]
    return Experience(0, request.queries, request.estimates, decisions, (), feedback, made=len(decisions))


def measure() -> dict[str, float]:
    """Return the figures."""
    request, many = make_request(1, 0), make_request(HEARD, 1)
    reward = LinearReward()
    reward.fit(many.expected)
    router = LinearThompson(LinearThompson.Config(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    router.learn(lesson(many, 2))
    one = lesson(request, 3)
    width = len(router._context(request.estimates)[0])
    rng = np.random.default_rng(4)
    x = rng.normal(size=width)
    mean, covariance = rng.normal(size=(CANDIDATES, width)), np.stack([np.eye(width)] * CANDIDATES)

    def draw() -> object:
        roots = np.linalg.cholesky(covariance)
        return ((mean + (roots @ rng.normal(size=(CANDIDATES, width, 1)))[..., 0]) @ x).argmax()

    def update() -> None:
        gain = covariance[0] @ x
        covariance[0] -= np.outer(gain, gain) / (1 + x @ gain)
        mean[0] += gain * 0.1 / (1 + x @ gain)

    def learn_and_score() -> None:
        router.learn(one)
        router.score(request)

    unchanged, plain, both, plain_update, learned = microseconds(
        lambda: router.score(request), draw, learn_and_score, update, lambda: router.learn(one)
    )
    started = time.process_time()
    router.score(many)
    return {
        "numbers_of_context": width,
        "decision": unchanged,
        "lesson": learned,
        "lesson_and_decision": both,
        "numpy_draw": plain,
        "numpy_update": plain_update,
        "lesson_and_decision_times_numpy": both / (plain + plain_update),
        "decision_in_a_batch": (time.process_time() - started) / HEARD * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps({"candidates": CANDIDATES, **{name: round(value, 2) for name, value in measure().items()}}))
