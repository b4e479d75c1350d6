"""Measures the time of a bandit's decisions and learning, and of plain numpy Beta sampling in the same process; prints JSON.

``python benchmarks/bandit.py`` measures CPU time on one thread and takes the minimum of several alternating repeats.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from functools import partial

import numpy as np
from aamc_bandit.thompson import EvidenceKeys, Thompson
from speed.clock import minimum_call_us

from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward, build_request, draw, expected_cost
from aamc_sdk.types import Decision, Estimates, Experience, Feedback, Latency, ModelSpec, Outcomes, Pool, Preference, Prices, Query, RoutingRequest

CANDIDATES = 10
USERS = (10, 100_000)
REPEATS, CALLS = 15, 300
BATCH = 1000
"""Number of feedbacks in one batch of the log."""
BATCHES = 3
"""Batches that are learned in one repeat."""

POOL = Pool(ModelSpec(f"m{n}", prices=Prices(1 + n, 2 + n), latency=Latency(service_ms=100.0 + n)) for n in range(CANDIDATES))
ESTIMATES = Estimates(np.array([0.5]), np.array([[0.2, 0.8]]), ("chat", "code"), np.array([0.1]))
KEYS = EvidenceKeys("code", "user0", "session0")
"""The entities of the measured decisions."""


def requests_of(kind: str, users: int) -> Iterator[RoutingRequest]:
    """Yield requests that differ from each other in one respect.

    Args:
        kind: ``"tokens"`` for prompts of other lengths, hence other costs; ``"costs"`` for the same with a preference; ``"users"`` for other
            users with evidence; ``"new_users"`` for users without evidence.
        users: Number of users with evidence.
    """
    for n in itertools.count():
        user = {"users": f"user{n % users}", "new_users": f"new user {n}"}.get(kind, KEYS.user)
        query = Query("a question", user=user, session=KEYS.session, prompt_tokens=100 + n if kind in ("tokens", "costs") else 100)
        yield build_request([query], POOL, Preference().array, estimates=ESTIMATES, preference_given=kind == "costs")


def make_router(users: int) -> tuple[Thompson, RoutingRequest]:
    """Return a router with evidence of ``users`` users, and a request of one of them."""
    queries = [Query("a question", user=KEYS.user, session=KEYS.session)]
    reward = LinearReward()
    reward.fit(Outcomes(None, expected_cost(queries, POOL), POOL.arrays.latency_ms[None]))
    unlimited = dict.fromkeys(("max_source_weight", "max_decision_weight", "max_user_weight"), 1e12)  # the same feedback is learned many times
    router = Thompson(Thompson.Config(**unlimited), Services(pool=POOL, reward=reward, make=lambda *_: None))
    for first in range(0, max(users, BATCH), BATCH):
        router.learn(feedback_from([f"user{n % users}" for n in range(first, first + BATCH)]))
    router.learn(feedback_from(["user0"] * 20))
    return router, build_request(queries, POOL, Preference().array, estimates=ESTIMATES, preference_given=False)


def feedback_from(users: list[str], batch: int = 0) -> Experience:
    """Return one feedback from each user, on decisions of which each batch has others."""
    rng = np.random.default_rng(len(users))
    queries = [Query("a question", user=user, session=KEYS.session) for user in users]
    chosen, won = rng.integers(CANDIDATES, size=len(users)), rng.random(len(users))
    decisions = [Decision(f"{batch}/{n}", POOL.names[m], 0.1, Preference()) for n, m in enumerate(chosen)]
    feedback = [Feedback(decision_id=f"{batch}/{n}", quality=float(won[n] < 0.5 + 0.04 * m)) for n, m in enumerate(chosen)]
    rows = np.zeros(len(users), dtype=np.intp)
    return Experience(0, queries, ESTIMATES.take(rows), decisions, feedback, made=len(users))


def measure(users: int) -> dict[str, float]:
    """Return the figures of a router with evidence of ``users`` users."""
    router, request = make_router(users)
    belief, _ = router.belief(KEYS, POOL)
    rng = np.random.default_rng(0)
    one, batches = feedback_from(["user0"]), [feedback_from([f"user{n}" for n in range(BATCH)], batch) for batch in range(REPEATS * BATCHES)]

    def sample() -> object:
        return rng.beta(belief.alpha, belief.beta).argmax()

    def decide() -> object:
        return draw(router.score(request), request, True, 0, ["decision"])

    def decide_next(requests: Iterator[RoutingRequest]) -> object:
        request = next(requests)
        return draw(router.score(request), request, True, 0, ["decision"])

    def learn_and_score() -> object:
        router.learn(one)
        return router.score(request)

    us = minimum_call_us({"sampling": sample, "decision": decide}, CALLS, REPEATS)
    for kind in ("tokens", "costs", "users", "new_users"):
        requests = iter(list(itertools.islice(requests_of(kind, users), REPEATS * CALLS)))
        us |= minimum_call_us({kind: partial(decide_next, requests)}, CALLS, REPEATS)
    us |= minimum_call_us({"after": learn_and_score}, CALLS, REPEATS)
    unlearned = iter(batches)
    us |= minimum_call_us({"batch": lambda: router.learn(next(unlearned))}, BATCHES, REPEATS)
    return {
        "beta_sampling_us": round(us["sampling"], 2),
        "decision_us": round(us["decision"], 2),
        "times_sampling": round(us["decision"] / us["sampling"], 2),
        **{f"other_{kind}_us": round(us[kind], 1) for kind in ("tokens", "costs", "users", "new_users")},
        "after_each_feedback_us": round(us["after"], 1),
        "feedback_per_second": round(BATCH / us["batch"] * 1e6),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(json.dumps({"candidates": CANDIDATES} | {f"{users} users": measure(users) for users in USERS}, indent=1))


if __name__ == "__main__":
    main()
