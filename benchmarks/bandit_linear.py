"""Measures a decision and a feedback of ``linear-thompson`` at ten candidates, and plain numpy in the same process; prints JSON.

``OMP_NUM_THREADS=1 python benchmarks/bandit_linear.py`` measures CPU time on one thread and takes the minimum of several alternating
repeats. The comparison is linear Thompson sampling in a few lines of numpy: it draws coefficients from their normal posteriors and
takes the maximum product with the context. It has no propensities, and it learns by the Sherman-Morrison formula without a discount.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
from aamc_bandit.linear import LinearThompson
from speed.clock import cpu_s, minimum_call_us

from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward, build_request
from aamc_sdk.types import Decision, Estimates, Experience, Feedback, Latency, ModelSpec, Pool, Preference, Prices, Query, RoutingRequest

CANDIDATES, CATEGORIES, EMBEDDING = 10, 8, 256
REPEATS, CALLS, ROWS = 15, 200, 2000
POOL = Pool(ModelSpec(f"m{n}", prices=Prices(1 + n, 2 + n), latency=Latency(service_ms=100.0 + n)) for n in range(CANDIDATES))


def make_request(rows: int, seed: int) -> RoutingRequest:
    rng = np.random.default_rng(seed)
    names = tuple(f"c{n}" for n in range(CATEGORIES))
    categories = rng.dirichlet(np.full(CATEGORIES, 0.3), rows)
    estimates = Estimates(rng.random(rows), categories, names, rng.random(rows), rng.normal(size=(rows, EMBEDDING)))
    return build_request([Query("a question")] * rows, POOL, Preference().array, estimates=estimates)


def feedback_on(request: RoutingRequest, seed: int) -> Experience:
    """Return one feedback on each request, for a random candidate."""
    rng = np.random.default_rng(seed)
    decisions = [Decision(str(n), POOL.names[m], 0.1, Preference()) for n, m in enumerate(rng.integers(CANDIDATES, size=len(request)))]
    feedback = [Feedback(decision_id=decision.id, quality=float(rng.random())) for decision in decisions]
    return Experience(0, request.queries, request.estimates, decisions, feedback, made=len(decisions))


def measure() -> dict[str, float]:
    request, many = make_request(1, 0), make_request(ROWS, 1)
    reward = LinearReward()
    reward.fit(many.expected)
    router = LinearThompson(LinearThompson.Config(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    router.learn(feedback_on(many, 2))
    one = feedback_on(request, 3)
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

    works: dict[str, Callable[[], object]] = {
        "decision": lambda: router.score(request),
        "numpy_draw": draw,
        "learn_and_decision": learn_and_score,
        "numpy_update": update,
        "learn": lambda: router.learn(one),
    }
    us = minimum_call_us(works, CALLS, REPEATS)
    return {
        "numbers_of_context": width,
        **us,
        "learn_and_decision_times_numpy": us["learn_and_decision"] / (us["numpy_draw"] + us["numpy_update"]),
        "decision_in_a_batch": cpu_s(lambda: router.score(many)) / ROWS * 1e6,
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(json.dumps({"candidates": CANDIDATES, **{name: round(value, 2) for name, value in measure().items()}}))


if __name__ == "__main__":
    main()
