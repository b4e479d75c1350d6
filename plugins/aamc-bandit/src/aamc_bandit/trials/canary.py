"""``canary``: a new router serves a share of the traffic, and the log shows whether it is better.

Both routers score every request: the stable one has choice probabilities p_s, the challenger p_c. A decision is drawn from their
mixture,

    mu(a | x) = (1 - share) p_s(a | x) + share p_c(a | x),

which is the decision's exact propensity. Each decision's notes contain the share, both routers' choice probabilities, from
which :func:`served_by` derives the router that served it, and the expected cost and latency of the stable router's choices. With
``by_user``, each user is assigned to one of the routers at random, and a decision is drawn from that router's probabilities; requests
without a user are drawn from the mixture.

If the challenger fails before the draw, the decision is the stable router's: p_c = p_s, and the notes say why. The trial ends, and the
stable router serves all requests, when the challenger has failed to score ``max_failures`` times (a hundred decisions without a failure cancel
one), fails to learn, or exceeds a limit of :mod:`aamc_bandit.trials.trial_limits`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np

from aamc_bandit.inner_router import by_name, with_notes
from aamc_bandit.trials.router_pair import RouterPair, RouterPairOptions
from aamc_bandit.trials.trial_limits import CallComparison
from aamc_bandit.trials.trial_notes import CANARY, TrialNote, serving_role
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Services, Store
from aamc_sdk.routing import choice_probabilities, uniform
from aamc_sdk.storage import plain, to_json
from aamc_sdk.types import Decision, Experience, Floats, Query, RoutingRequest, Scores, check_text, tenant_user

CANCELLED_FAILURES = 0.01
"""Failures that a decision without one cancels, so that rare failures of a long trial never add up to its end."""
logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class CanaryOptions(RouterPairOptions):
    """Options of ``canary``."""

    share: float = option(0.1, "Share of requests that the challenger serves.", at_least=0.0, at_most=1.0)
    share_file: str = option("", "File with the share, read again whenever it changes; overrides share.")
    by_user: bool = option(False, "Whether each user always gets the same router, the challenger for a share of the users.")
    trial: str = option("", "Name of the trial: another one begins a new trial of the same routers, after one that has ended.")
    max_failures: int = option(
        5, "Failures of the challenger to score in this process that end the trial; 100 decisions without a failure cancel one.", at_least=1
    )
    max_error_excess: float = option(0.05, "Rate of failed calls in excess of the stable router's above which the trial ends.", at_least=0.0)
    max_cost_ratio: float = option(10.0, "Mean cost of a call above which the trial ends, as a multiple of the stable router's.", above=0)
    max_latency_ratio: float = option(10.0, "Mean latency of a call above which the trial ends, as a multiple of the stable router's.", above=0)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        check_text(self.trial, "trial")


class Canary(RouterPair):
    """Two routers that share the traffic. Utilities and explanations are those of the stable router.

    Attributes:
        ended: Why the trial has ended; None while it continues.
    """

    Config = CanaryOptions
    samples = True  # even if neither router draws

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self.ended: str | None = None
        self._ended_trials: dict[str, str] = {}
        self._share = config.share
        self._share_file_time = 0
        self._calls = CallComparison()
        self._failures = 0.0
        self._counting = threading.Lock()

    @property
    def share(self) -> float:
        """The share of requests that the challenger serves; it may be set while the router serves.

        Raises:
            ConfigError: The share that is set is not from 0 to 1.
        """
        if self.config.share_file:
            self._read_share()
        return float(self._share)

    @share.setter
    def share(self, value: float) -> None:
        if not isinstance(value, Real):
            raise ConfigError(f"share must be a number from 0 to 1, not {value!r}")
        self._share = attrs.evolve(self.config, share=float(value)).share

    def score(self, request: RoutingRequest) -> Scores:
        """Return the mixture of both routers' choice probabilities, or those of the router that each request's user is assigned to."""
        if self.ended is not None:
            stable = self.stable.score(request)
            note = {CANARY: {"ended": self.ended, **self.described()}}
            return self._drawn_from(stable, stable, choice_probabilities(stable, request, self.stable.samples), [note] * len(request))
        stable, challenger = self.score_both(request)
        stable_choices = choice_probabilities(stable, request, self.stable.samples)
        if isinstance(challenger, str):
            self._count_failure(challenger)
            scores, choices, failure = stable, stable_choices, {"error": challenger}
        else:
            (scores, choices), failure = challenger, {}
            with self._counting:
                self._failures = max(0.0, self._failures - CANCELLED_FAILURES * len(request))
        share, pair = self.share, self.described()
        roles = [self._role(query, share) for query in request.queries]
        weights = np.array([share if role is None else float(role == "candidate") for role in roles])[:, None]
        notes = [
            {
                CANARY: {
                    "share": share,
                    **({"role": role} if role else {}),
                    "stable": {**pair["stable"], **_expected_of(stable_choices, request, row)},
                    "candidate": {**pair["candidate"], **failure, "probabilities": by_name(request.pool.names, choices[row], choices[row] > 0)},
                }
            }
            for row, role in enumerate(roles)
        ]
        return self._drawn_from(stable, scores, (1 - weights) * stable_choices + weights * choices, notes)

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Prepare both routers to serve, and read the share's file."""
        super().attach(log, to_log_user)
        logger.info("the canary of %s serves a share of %g", self.label("candidate"), self.share)

    def learn(self, experience: Experience) -> None:
        """Let both routers learn, and compare the calls that were made for their decisions."""
        pair, config = self.described(), self.config
        decisions = {decision.id: decision for decision in experience.decisions if _is_of(decision, pair)}
        served = {name: served_by(decision) for name, decision in decisions.items()}
        for decision in experience.decisions:
            note = decision.notes.get(CANARY, {})
            if "ended" in note and _names(note, pair):
                self._end(note["ended"])  # before a restart, which kept no state
        for call in experience.attempts:
            if (role := served.get(call.decision_id)) is not None:
                self._calls.add(role, call, decisions[call.decision_id].notes[CANARY]["stable"])
        exceeded = self._calls.exceeded(config.max_error_excess, config.max_cost_ratio, config.max_latency_ratio)
        if exceeded is not None:
            self._end(exceeded)
        super().learn(experience)

    def described(self) -> dict[str, dict[str, str]]:
        """Return the label and version of each router by role; the trial's name is part of the challenger's version."""
        described = super().described()
        if self.config.trial:
            described["candidate"]["version"] += f"/{self.config.trial}"
        return described

    def challenger_failed(self, why: str) -> None:
        """End the trial."""
        self._end(f"it {why}")

    def trial_state(self) -> dict[str, Any]:
        """Return an identifier of the trial, its calls so far, and why it and earlier trials have ended."""
        trial = to_json(self.described())
        ended = self._ended_trials | ({} if self.ended is None else {trial: self.ended})
        return {"trial": trial, "ended": ended, "calls": self._calls.to_dict()}

    def set_trial_state(self, saved: Mapping[str, Any]) -> None:
        """Continue from a saved state, perhaps of an earlier trial; a trial that has ended in this process stays so."""
        trial, self._ended_trials = to_json(self.described()), dict(saved.get("ended") or {})
        self.ended = self.ended or self._ended_trials.get(trial)
        self._calls = CallComparison(saved.get("calls") if saved.get("trial") == trial else None)

    def _drawn_from(self, stable: Scores, challenger: Scores, probabilities: Any, notes: list[dict[str, Any]]) -> Scores:
        both = [(self.stable, stable)] if challenger is stable else [(self.stable, stable), (self.challenger, challenger)]
        return Scores(
            utility=stable.utility,
            probabilities=probabilities,
            propensity_known=all(scores.propensity_known or not router.samples for router, scores in both),
            spent_usd=sum(scores.spent_usd for _, scores in both),
            spent_ms=sum(scores.spent_ms for _, scores in both),
            expected_quality=stable.expected_quality,
            notes=with_notes(stable, notes),
        )

    def _role(self, query: Query, share: float) -> str | None:
        """Return the router that a query's user is assigned to; None for none. A larger share keeps the users that the challenger has."""
        if not self.config.by_user or query.user is None:
            return None
        user = tenant_user(query.user, query.tenant)
        return "candidate" if uniform(self.services.seed, f"{CANARY}/{self.routers()['candidate'].version}/{user}") < share else "stable"

    def _count_failure(self, why: str) -> None:
        logger.warning("the challenger %s of a canary failed, so the stable router decides: %s", self.label("candidate"), why)
        with self._counting:
            self._failures += 1
            if self._failures >= self.config.max_failures:
                self._end(f"it failed to score {self.config.max_failures} times, at last with {why}")

    def _end(self, why: str) -> None:
        if self.ended is None:
            self.ended = why
            logger.error("the canary of %s has ended, and %s serves all requests: %s", self.label("candidate"), self.label("stable"), why)

    def _read_share(self) -> None:
        """Read the share again if its file has changed; without a share that can be used, the last one stays."""
        path = Path(self.config.share_file)
        changed = path.stat().st_mtime_ns if path.exists() else -1
        if changed == self._share_file_time:
            return
        self._share_file_time = changed
        try:
            self.share = float(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            logger.warning("the share stays %g, since %s cannot be used: %s; write a number from 0 to 1 into it", self._share, path, error)


def served_by(decision: Decision) -> str | None:
    """Return the router that served a canary's decision, ``"stable"`` or ``"candidate"``; None for a decision of another router."""
    note = decision.notes.get(CANARY)
    return None if note is None else serving_role(msgspec.convert(plain(note), TrialNote), decision.id, decision.candidate)


def _expected_of(choices: Floats, request: RoutingRequest, row: int) -> dict[str, dict[str, Any]]:
    """Return a row's choice probabilities, and the expected cost and latency of its possible candidates where they are known."""
    names, possible = request.pool.names, choices[row] > 0
    figures = {"cost_usd": request.expected.cost_usd[row], "latency_ms": request.expected.latency_ms[row]}
    expected = {figure: by_name(names, values, possible & np.isfinite(values)) for figure, values in figures.items()}
    return {"probabilities": by_name(names, choices[row], possible), "expected": expected}


def _is_of(decision: Decision, pair: Mapping[str, Mapping[str, str]]) -> bool:
    """Return whether a decision was made in the running trial of a pair of routers."""
    note: Mapping[str, Any] = decision.notes.get(CANARY, {})
    return "share" in note and "error" not in note["candidate"] and _names(note, pair)


def _names(note: Mapping[str, Any], pair: Mapping[str, Mapping[str, str]]) -> bool:
    return all(note[role].items() >= described.items() for role, described in pair.items())
