"""The policies of routers on the requests of a log.

A router of a run must see the estimates of the run's own estimator: with those of another one, or none, its policy would differ from the one in
service. Likewise it sees the candidates' training means where neither the pool nor the log has a cost or latency.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.logged_decisions import LoggedDecisions, filled, logged_request
from aamc_sdk.errors import ConfigError, EstimatesError
from aamc_sdk.interfaces import Estimator, Router
from aamc_sdk.messages import router_errors
from aamc_sdk.routing import build_request, choice_probabilities
from aamc_sdk.types import Floats, Pool, Preference, RoutingRequest

BATCH = 1000
"""The maximum number of recorded requests that a router scores at a time."""
STORE_TEXT = "the store's option store_text, as in sqlite:log.db?store_text=true"


@attrs.frozen(eq=False)
class LoggedPolicies:
    """The policies of routers on the requests of a log.

    Attributes:
        log: The recorded requests.
        pool: The specifications of the candidates.
        trained: Whether the run's routers or ``estimator`` were trained on each decision, ``[n]``.
        preference: The preference of all requests; each request's own when None.
        estimator: Estimates the log's texts again; the logged estimates count when None.
        own: The run's own estimator, whose estimates its routers see in service; None without one, or where no router reads them.
        fingerprint: The fingerprint of these estimates; None if it does not matter.
        means: The mean quality, cost and latency of each candidate of the run in its training, ``[3]``.
    """

    log: LoggedDecisions
    pool: Pool
    trained: NDArray[np.bool_]
    preference: Preference | None = None
    estimator: Estimator | None = None
    own: Estimator | None = None
    fingerprint: str | None = None
    means: Mapping[str, Floats] = attrs.field(factory=dict)

    def readable(self, router: Router, *, of_run: bool) -> NDArray[np.bool_]:
        """Return whether a router can be evaluated on each recorded request, ``[n]``.

        Texts and embeddings that a router reads go with their user. A router of the run, unlike one made for this evaluation, is not evaluated on
        decisions that it was trained on.
        """
        fresh = ~self.trained if of_run or self.estimator is not None else np.ones(len(self.log), dtype=bool)
        if router.requires.text or self.estimator is not None:
            return fresh & self.log.with_text
        return fresh & self.log.with_embedding if router.uses_estimates else fresh

    def scored(self, name: str, router: Router, *, of_run: bool) -> tuple[Floats, Floats]:
        """Return the probability of each candidate under a router in each readable request, ``[n, K]``; 0 in the others.

        Also return the cost in USD and the time in milliseconds of each of these decisions itself, ``[n, 2]``.

        Raises:
            ConfigError: The router lacks training, reads texts that the log lacks, or does not know its probabilities.
            EstimatesError: The log's estimates are not those that the router sees in service, or lack a part that it needs.
            AamcError: The router cannot decide such requests.
        """
        log = self.log
        if router.requires.training and not of_run:
            raise ConfigError("it requires training; name a run that has it: aamc evaluate RUN --logs URL")
        if router.requires.text and not log.with_text.any():
            raise ConfigError(f"it reads the texts of requests, which this log lacks; log with {STORE_TEXT}")
        readable = self.readable(router, of_run=of_run)
        if self.trained.any() and not readable.any():
            raise ConfigError("it was trained on the decisions that it could be evaluated on; serve more, or name another log")
        probabilities, spent = np.zeros((len(log), len(log.candidates))), np.zeros((len(log), 2))
        for rows in log.batches(BATCH, readable):
            request = self._request(rows)
            if of_run and router.uses_estimates and request.estimates.fingerprint != self.fingerprint:
                found = "estimates of an estimator other than its run's, or none," if self.estimator is None else "an estimator other than its run's"
                raise EstimatesError(f"with {found} it is not the router that would serve; {self._advice}")
            if of_run and np.isnan([request.expected.cost_usd, request.expected.latency_ms]).any():
                request = self._with_means(request)
            try:
                probabilities[np.ix_(rows, log.places(request.pool.names))], spent[rows] = _choices(name, router, request)
            except EstimatesError as error:
                if not router.uses_estimates:
                    raise
                raise EstimatesError(f"{str(error).partition(';')[0]}; {self._advice}") from error
        return probabilities, spent

    @property
    def _advice(self) -> str:
        if self.log.with_text.any():
            return "let the run's own estimate the log's texts again: --estimator RUN"
        return f"log with the run's own estimator, or keep texts to estimate them again: {STORE_TEXT}"

    def _request(self, rows: NDArray[np.intp]) -> RoutingRequest:
        request = logged_request(self.log, rows, self.pool)
        if self.preference is not None:
            request = request.with_preference(self.preference.array)
        if self.estimator is None:
            return request
        again = build_request(request.queries, request.pool, request.preferences, estimator=self.estimator)
        fresh, logged = again.expected, request.expected
        latency_ms = filled(fresh.latency_ms + request.wait_ms, logged.latency_ms)
        expected = attrs.evolve(fresh, cost_usd=filled(fresh.cost_usd, logged.cost_usd), latency_ms=latency_ms)
        return attrs.evolve(request, estimates=again.estimates, expected=expected)

    def _with_means(self, request: RoutingRequest) -> RoutingRequest:
        """Return a request with the costs and latencies that a run expects in service where they are unknown."""
        means = np.array([self.means.get(name, np.full(3, np.nan)) for name in request.pool.names])
        known, estimates = request.expected, request.estimates
        served = build_request(
            request.queries,
            request.pool,
            request.preferences,
            estimates=estimates,
            quality=known.quality,
            candidate_means=means,
            estimator=self.estimator or self.own,
        ).expected
        latency_ms = filled(known.latency_ms, served.latency_ms + request.wait_ms)
        return attrs.evolve(request, expected=attrs.evolve(known, cost_usd=filled(known.cost_usd, served.cost_usd), latency_ms=latency_ms))


def _choices(name: str, router: Router, request: RoutingRequest) -> tuple[Floats, Floats]:
    """Return the probabilities of a router's choices, ``[B, M]``, and the costs and times of its decisions themselves, ``[B, 2]``.

    The probability is 1 for the maximum utility if the router does not draw.
    """
    with router_errors(name):
        scores = router.score(request)
        found = choice_probabilities(scores, request, router.samples)
    if router.samples and not scores.propensity_known:
        raise ConfigError("it does not know the probabilities of its choices")
    return found, np.stack([np.broadcast_to(each, len(request)) for each in (scores.spent_usd, scores.spent_ms)], axis=1)
