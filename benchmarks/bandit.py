"""Microseconds of a bandit's decisions and updates, beside plain numpy Beta sampling in the same process: prints JSON.

``python benchmarks/bandit.py`` measures CPU time on one thread, the minimum of some repeats, with both sides in turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from functools import partial

import numpy as np
from aamc_bandit.evidence import Place
from aamc_bandit.thompson import Thompson
from speed.clock import minimum_call_us

from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward, build_request, draw, expected_cost, expected_latency
from aamc_sdk.types import Decision, Estimates, Experience, Feedback, Latency, ModelSpec, Outcomes, Pool, Preference, Prices, Query, RoutingRequest

CANDIDATES = 10
USERS = (10, 100_000)
REPEATS, CALLS = 15, 300
STRETCH = 1000
"""Pieces of feedback in one batch of the log."""

POOL = Pool(ModelSpec(f"m{n}", prices=Prices(1 + n, 2 + n), latency=Latency(service_ms=100.0 + n)) for n in range(CANDIDATES))
ESTIMATES = Estimates(np.array([0.5]), np.array([[0.2, 0.8]]), ("chat", "code"), np.array([0.1]))
PLACE = Place("code", "user0", "session0")
"""The subject of the measured decisions."""


def requests_of(kind: str, users: int) -> Iterator[RoutingRequest]:
    """Yield requests that each differ from the one before in one respect.

    Args:
        kind: ``"tokens"`` for prompts of other lengths, hence other costs; ``"users"`` for other users who were heard of;
            ``"strangers"`` for users of whom nothing was heard.
        users: How many were heard of.
    """
    for n in itertools.count():
        user = {"tokens": PLACE.user, "users": f"user{n % users}", "strangers": f"stranger{n}"}[kind]
        query = Query("a question", user=user, session=PLACE.session, prompt_tokens=100 + n if kind == "tokens" else 100)
        yield build_request([query], POOL, Preference().array, estimates=ESTIMATES)


def make_router(users: int) -> tuple[Thompson, RoutingRequest]:
    """Return a router with feedback of a number of users, and a request of one of them."""
    queries = [Query("a question", user=PLACE.user, session=PLACE.session)]
    reward = LinearReward()
    reward.fit(Outcomes(None, expected_cost(queries, POOL), expected_latency(POOL, 1)))
    router = Thompson(Thompson.Config(), Services(pool=POOL, reward=reward, make=lambda *_: None))
    for first in range(0, max(users, STRETCH), STRETCH):
        router.learn(lesson([f"user{n % users}" for n in range(first, first + STRETCH)]))
    router.learn(lesson(["user0"] * 20))
    return router, build_request(queries, POOL, Preference().array, estimates=ESTIMATES)


def lesson(users: list[str]) -> Experience:
    """Return one piece of feedback from each of some users."""
    rng = np.random.default_rng(len(users))
    queries = [Query("a question", user=user, session=PLACE.session) for user in users]
    chosen, won = rng.integers(CANDIDATES, size=len(users)), rng.random(len(users))
    decisions = [Decision(str(n), POOL.names[m], 0.1, Preference()) for n, m in enumerate(chosen)]
    feedback = [Feedback(decision_id=str(n), quality=float(won[n] < 0.5 + 0.04 * m)) for n, m in enumerate(chosen)]
    rows = np.zeros(len(users), dtype=np.intp)
    return Experience(0, queries, ESTIMATES.take(rows), decisions, (), feedback, made=len(users))


def measure(users: int) -> dict[str, float]:
    """Return the measurements of a router with feedback of a number of users."""
    router, request = make_router(users)
    belief, _ = router.belief(PLACE, POOL)
    rng = np.random.default_rng(0)
    one, stretch = lesson(["user0"]), lesson([f"user{n}" for n in range(STRETCH)])

    def sample() -> object:
        return rng.beta(belief.alpha, belief.beta).argmax()

    def decide() -> object:
        return draw(router.score(request), request, True, 0, ["decision"])

    def decide_next(requests: Iterator[RoutingRequest]) -> object:
        asked = next(requests)
        return draw(router.score(asked), asked, True, 0, ["decision"])

    def hear_and_score() -> object:
        router.learn(one)
        return router.score(request)

    us = minimum_call_us({"sampling": sample, "decision": decide}, CALLS, REPEATS)
    for kind in ("tokens", "users", "strangers"):
        requests = iter(list(itertools.islice(requests_of(kind, users), REPEATS * CALLS)))
        us |= minimum_call_us({kind: partial(decide_next, requests)}, CALLS, REPEATS)
    us |= minimum_call_us({"after": hear_and_score}, CALLS, REPEATS)
    us |= minimum_call_us({"stretch": lambda: router.learn(stretch)}, 3, REPEATS)
    return {
        "beta_sampling_us": round(us["sampling"], 2),
        "decision_us": round(us["decision"], 2),
        "times_sampling": round(us["decision"] / us["sampling"], 2),
        **{f"other_{kind}_us": round(us[kind], 1) for kind in ("tokens", "users", "strangers")},
        "after_each_feedback_us": round(us["after"], 1),
        "feedback_per_second": round(STRETCH / us["stretch"] * 1e6),
    }


def main() -> None:
    """Measure, and print one JSON document."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(json.dumps({"candidates": CANDIDATES} | {f"{users} users": measure(users) for users in USERS}, indent=1))


if __name__ == "__main__":
    main()
