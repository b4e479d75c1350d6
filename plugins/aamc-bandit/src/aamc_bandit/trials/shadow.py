"""``shadow``: the stable router serves, and each decision notes the choice probabilities of the candidate router.

The candidate router changes neither the choice nor, if it fails, the answer. Its computation adds to the request's latency, so
a slow router is better tried as a canary.
"""

from __future__ import annotations

import logging
from typing import Any

import attrs
import numpy as np

from aamc_bandit.trials.router_pair import RouterPair, possible_candidates
from aamc_sdk.interfaces import OnlineRouter
from aamc_sdk.routing import choice_probabilities
from aamc_sdk.types import Experience, RoutingRequest, Scores

NOTE = "shadow"
logger = logging.getLogger(__name__)


class Shadow(RouterPair):
    """A stable router that serves, and a candidate router that is only recorded."""

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn, as for the stable router."""
        return self.stable.samples

    def score(self, request: RoutingRequest) -> Scores:
        """Return the stable router's scores, with the candidate router's choices in the notes."""
        served = self.stable.score(request)
        try:
            recorded = self._recorded(request, self.candidate.score(request))
        except Exception as error:  # the candidate may raise anything, and requests must not fail
            recorded = self._failed(request, error)
        return self._with_notes(served, recorded)

    def learn(self, experience: Experience) -> None:
        """Let both routers learn; a failure of the candidate does not stop the stable router."""
        if isinstance(self.stable, OnlineRouter):
            self.stable.learn(experience)
        try:
            if isinstance(self.candidate, OnlineRouter):
                self.candidate.learn(experience)
        except Exception:  # likewise
            logger.exception("the shadow %s failed to learn up to position %d of the log", self.label("candidate"), experience.position)

    def _recorded(self, request: RoutingRequest, scores: Scores) -> list[dict[str, Any]]:
        probabilities = choice_probabilities(scores, request, self.candidate.samples)
        known = scores.propensity_known or not self.candidate.samples
        names, chosen = request.pool.names, probabilities.argmax(axis=1)
        return [
            {
                "choice": names[chosen[row]],
                "probabilities": possible_candidates(probabilities, request, row) if known else {},
                "utility": {names[m]: float(scores.utility[row, m]) for m in np.flatnonzero(request.mask[row])},
            }
            for row in range(len(request))
        ]

    def _failed(self, request: RoutingRequest, error: Exception) -> list[dict[str, Any]]:
        logger.warning("the shadow %s failed: %r", self.label("candidate"), error)
        return [{"error": repr(error)} for _ in range(len(request))]

    def _with_notes(self, served: Scores, recorded: list[dict[str, Any]]) -> Scores:
        stable = {"stable": {"router": self.label("stable")}}
        notes = [
            {**(served.notes[row] if served.notes else {}), NOTE: {**stable, "candidate": {"router": self.label("candidate"), **choices}}}
            for row, choices in enumerate(recorded)
        ]
        return attrs.evolve(served, notes=notes)
