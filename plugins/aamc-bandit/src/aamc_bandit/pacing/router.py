"""``paced``: the best quality that a budget buys, whatever router decides.

The router wraps another one and keeps limits for each tenant: USD a day, USD per 1,000 requests, tokens a minute, and a latency that at most 5% of
the calls exceed. Each limit has a multiplier, the price at which the wrapped router's choices use as much as the limit allows
(:mod:`aamc_bandit.pacing.multipliers`):

- where the wrapped router takes the maximum utility, the decision is the maximum of utility minus price;
- where it samples (``thompson``, ``canary``), its draw stays or is exchanged at these prices;
- where it has no utilities (``random``) or the same for all queries (``llm-only``), requests are divided between its choice and candidates that use
  less, at random, in the shares that keep the limit.

The probabilities that result are those of the draw, so propensities are exact as far as the wrapped router knows its own.

A decision is charged with its expected use (:mod:`aamc_bandit.pacing.accounts`), and its calls correct that when they are reported.
All of this is learned from the log, so restarts and replicas agree, and nothing is lost or counted twice. A decision counts once the log's
learner has read it: simultaneous requests may together exceed a limit by their use.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_bandit.inner_router import InnerAttribute, InnerRouter, WrappingRouter, initial_name, with_notes
from aamc_bandit.pacing.attainable import check_attainable, default_limit
from aamc_bandit.pacing.ledger import PacingLedger
from aamc_bandit.pacing.multipliers import WrappedChoices, mixed_choices
from aamc_bandit.pacing.options import CHEAPEST, LIMITS, PACED, PACED_TWICE, PacedOptions
from aamc_bandit.pacing.recent_requests import decision_notes, without_unknown
from aamc_bandit.pacing.resources import DAY_S, MINUTE_S, LimitedResource, learn_table
from aamc_sdk.errors import CheckpointError, ConfigError, LimitError, NoCandidateError
from aamc_sdk.interfaces import OnlineRouter, Requirements, Router, Services, Store, Training
from aamc_sdk.messages import checkpoint_errors, one_of
from aamc_sdk.routing import choice_probabilities, typical_request
from aamc_sdk.storage import read_json, to_json, write_json
from aamc_sdk.types import ROUNDING, Attempt, Experience, Floats, RoutingRequest, Scores

STATE, INNER = "paced.json", "router"


class Paced(WrappingRouter):
    """A router that keeps limits. Thread-safe.

    Attributes:
        clock: Returns the present time in seconds since the epoch; simulations replace it.
    """

    Config = PacedOptions
    requires = InnerAttribute(Requirements(), lambda paced: attrs.evolve(paced.inner.requires, cheap_rescoring=False))
    state_schema = 3
    state_options = ("window",)  # a changed limit holds from then on
    learns_attempts = True
    samples = True  # whatever the wrapped router does
    config: PacedOptions

    def __init__(self, config: PacedOptions, services: Services) -> None:
        super().__init__(config, services)
        self.clock: Callable[[], float] = time.time
        self._limits = {name: limit for name in LIMITS if (limit := getattr(config, name)) is not None}
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._made: InnerRouter | None = None
        self._state: PacingLedger | None = None
        self._gives_deltas = True

    @property
    def inner(self) -> InnerRouter:
        """The wrapped router, made at the first call, so that ``load`` may replace the options."""
        with self._making:
            if self._made is None:
                made = InnerRouter.of(self.config.router, self.services)
                if isinstance(made.router, Paced):
                    raise ConfigError(PACED_TWICE)
                self._made = made
            return self._made

    @property
    def wrapped(self) -> Router:
        """The wrapped router itself."""
        return self.inner.router

    @property
    def ledger(self) -> PacingLedger:
        """The learned state. Without any limit, the first call takes one from the pool's prices."""
        if self._state is None:
            self._state = PacingLedger(self.config, self._limits or default_limit(typical_request(self.services.pool)))
        return self._state

    def score(self, request: RoutingRequest) -> Scores:
        """Return the wrapped router's scores at the prices of the limits.

        Raises:
            LimitError: Nothing fits the rest of a day's or minute's budget.
            NoCandidateError: A whole day's or minute's budget is too small for a request, or no allowed candidate's cost is known.
        """
        router, now = self.wrapped, self.clock()
        scores = router.score(request)
        tenants = [query.tenant or "" for query in request.queries]  # requests without a tenant share accounts
        with self._lock:
            ledger = self.ledger
            resources, curves = ledger.recent.planned, {tenant: ledger.recent.curves(tenant) for tenant in set(tenants)}
            allowed = ledger.each(tenants, lambda account: account.allowance(now))
            targets = ledger.each(tenants, lambda account: account.target(now))
        figures = [resource.figures(request) for resource in resources]
        known = [resource.use(figure, request.pool.names) for resource, figure in zip(resources, figures, strict=True)]
        mask = self._affordable(request, resources, known, allowed)
        uses = [without_unknown(use, request.mask) for use in known]
        free = (0.0, 0.0, 1.0)
        mixtures = np.array(
            [
                [each[k].mixture(target) if (each := curves[tenant]) else free for tenant, target in zip(tenants, row, strict=True)]
                for k, row in enumerate(targets)
            ]
        )
        choices = WrappedChoices(scores.utility, choice_probabilities(scores, request, router.samples), mask)
        prices, probabilities = mixed_choices(choices, uses, mixtures.reshape(len(uses), len(request), 3))
        wanted = attrs.evolve(choices, mask=request.mask)  # not only those that this request can afford, or their price would fall
        own = decision_notes(request.pool.names, wanted, resources, figures, known, prices, targets)
        notes = with_notes(scores, [{PACED: note} for note in own])
        utility = scores.utility - sum((price[:, None] * use for price, use in zip(prices, uses, strict=True)), np.zeros(mask.shape))
        known_draw = scores.propensity_known or not router.samples
        return attrs.evolve(scores, utility=utility, probabilities=probabilities, propensity_known=known_draw, notes=notes)

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the wrapped router, and compute the multipliers on training rows.

        Returns:
            The wrapped router's metrics, and ``limits``: each limit with its multiplier and its target a request.

        Raises:
            ConfigError: No candidate keeps a limit on these rows; the message gives the attainable value.
        """
        metrics = {} if self.inner.trained else dict(self.wrapped.train(training))
        request, outcomes = training.request, training.dataset.outcomes
        if request is None or not len(request):
            return metrics
        self._state = ledger = PacingLedger(self.config, self._limits or default_limit(request))
        rows = np.unique(np.linspace(0, len(request) - 1, self.config.window).astype(np.intp))
        rows = np.random.default_rng(self.services.seed).permutation(rows)  # the window drops the first ones first, and tables are often sorted
        sampled = request.take(rows)
        if outcomes is not None:
            learn_table(ledger.resources, sampled, outcomes.cost_usd[rows], outcomes.latency_ms[rows])
        check_attainable(ledger.resources, sampled, self.config)
        notes = [note[PACED] for note in self.score(sampled).notes]
        with self._lock:
            for note in notes:
                ledger.add_request(note)
            curves, targets = ledger.recent.curves(), ledger.recent.arrays()[2]
            solved = zip(ledger.resources, curves, targets, strict=True)
            found = {one.name: {"limit": one.limit, "multiplier": curve.mean_price(target), "target": target} for one, curve, target in solved}
            return metrics | {"limits": found}

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Prepare both routers to serve.

        Raises:
            ConfigError: No candidate of the pool keeps a limit; the message gives the attainable value.
        """
        if not self.ledger.recent.curves():
            check_attainable(self.ledger.resources, typical_request(self.services.pool), self.config)
        super().attach(log, to_log_user)

    def origin(self) -> bytes:
        """Return an identifier of the wrapped router's initial state, of the limits and of what training learned about them."""
        return to_json([initial_name(self.wrapped), list(self._limits) or self.ledger.limits, self.ledger.to_dict()]).encode()

    def prepare_replay(self, log: Store) -> None:
        """Drop the tenants that the log has forgotten."""
        super().prepare_replay(log)
        with self._lock:
            self.ledger.drop_tenants(log.forgotten)

    def learn(self, experience: Experience) -> None:
        """Charge decisions and correct the charges by their calls; let the wrapped router learn."""
        super().learn(experience)
        decisions, tenants = experience.decisions, [query.tenant or "" for query in experience.queries]
        rows = experience.rows
        with self._lock:
            for entry in experience.in_log_order:  # multipliers are planned by the corrections that were learned before a decision
                if isinstance(entry, int):
                    self.ledger.add_decision(decisions[entry], tenants[entry])
                elif isinstance(entry, Attempt) and (row := rows.get(entry.decision_id, -1)) >= 0:
                    self.ledger.add_call(entry, decisions[row], tenants[row])
            if not self._gives_deltas:
                self.ledger.delta()  # nobody will ask for it

    def save(self, folder: Path) -> None:
        """Write the learned state and the wrapped router."""
        (folder / INNER).mkdir(exist_ok=True)  # an interrupted save may have made it
        self.wrapped.save(folder / INNER)
        with self._lock:
            write_json(folder / STATE, {"router": self.inner.description(), "limits": self.ledger.limits, **self.ledger.to_dict()})

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote.

        Raises:
            CheckpointError: It cannot be used.
        """
        saved = read_json(folder / STATE)
        with self._making:
            inner = self._made or InnerRouter.described_by(saved.get("router", {}), self.services)
            inner.router.load(folder / INNER)
            self._made = inner
        try:
            if self._limits and self._limits.keys() != saved["limits"].keys():
                raise CheckpointError(f"{folder / STATE} has the limits {one_of(saved['limits'])}, not {one_of(self._limits)}; train again")
            ledger = PacingLedger(self.config, self._limits or saved["limits"])
            ledger.set(saved)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder / STATE} cannot be used ({error!r}); train again") from error
        with self._lock:
            self._state = ledger

    def delta(self) -> bytes | None:
        """Return the changes of both routers; None if the wrapped one can only save its whole state."""
        inner = self.wrapped.delta() if isinstance(self.wrapped, OnlineRouter) else b""
        self._gives_deltas = inner is not None
        with self._lock:
            delta = self.ledger.delta()  # of a state that is saved as a whole, it is a part
        return None if inner is None else to_json({"router": base64.b64encode(inner).decode(), "ledger": delta}).encode()

    def apply_delta(self, delta: bytes) -> None:
        """Apply the delta of another router in the same state."""
        with checkpoint_errors("the delta of a paced router", "load its whole state"):
            decoded = json.loads(delta)
            if isinstance(self.wrapped, OnlineRouter):
                self.wrapped.apply_delta(base64.b64decode(decoded["router"], validate=True))
            with self._lock:
                self.ledger.apply_delta(decoded["ledger"])

    def _affordable(
        self, request: RoutingRequest, resources: Sequence[LimitedResource], uses: Sequence[Floats], allowed: Floats
    ) -> NDArray[np.bool_]:
        """Return whether each candidate may be chosen, ``[B, M]``: those within the rest of the budget, else the one with the minimum use."""
        mask = request.mask
        for k, resource in enumerate(resources):
            fits = mask & (np.nan_to_num(uses[k], nan=np.inf) <= allowed[k][:, None] + ROUNDING * resource.limit)
            for row in np.flatnonzero(~fits.any(axis=1) & mask.any(axis=1)).tolist():
                if resource.refuses and self.config.over_budget != CHEAPEST:
                    check_fits_window(request, resources, uses, row)
                    raise spent_error(request, resource, row, float(allowed[k, row]), self.clock())
                least = np.where(mask[row], np.nan_to_num(uses[k][row], nan=np.inf), np.inf)
                if np.isinf(least).all():
                    raise NoCandidateError(f"{resource.name} cannot be kept: no allowed candidate has a price; give prices in the pool")
                fits[row, least.argmin()] = True
            mask = fits
        return mask


def check_fits_window(request: RoutingRequest, resources: Sequence[LimitedResource], uses: Sequence[Floats], row: int) -> None:
    """Raise NoCandidateError if a request exceeds a window's whole budget with every allowed candidate, so that waiting cannot help."""
    for resource, use in zip(resources, uses, strict=True):
        least = np.nan_to_num(use[row], nan=np.inf)[request.mask[row]].min()
        if resource.refuses and (1 + ROUNDING) * resource.limit < least < np.inf:  # unknown uses have an error of their own
            raise NoCandidateError(
                f"{_holder(request, row)} may use {resource.name} {resource.limit:g}, and this request is expected to use at least {least:.6g}: "
                "send a shorter one, ask for a shorter answer, raise the limit, or set over_budget: cheapest"
            )


def _holder(request: RoutingRequest, row: int) -> str:
    tenant = request.queries[row].tenant
    return "this router's requests" if tenant is None else f"tenant {tenant!r}"


def spent_error(request: RoutingRequest, resource: LimitedResource, row: int, left: float, now: float) -> LimitError:
    """Return the error for a request beyond the rest of a window's budget."""
    who, daily = _holder(request, row), resource.name == "usd_per_day"
    seconds = DAY_S if daily else MINUTE_S
    return LimitError(
        f"{who} may use {max(0.0, left):.3g} more of {resource.name} {resource.limit:g}, after the expected use of requests in progress, and no "
        f"allowed candidate fits that; try again when they have ended, wait for the next {'day' if daily else 'minute'} (UTC), raise the limit, or "
        "set over_budget: cheapest",
        kind="budget" if daily else "rate_limit",
        retry_after_s=seconds - now % seconds,
    )
