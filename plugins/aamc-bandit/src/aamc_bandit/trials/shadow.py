"""``shadow``: one router serves, and each decision notes what another would have done.

The other one changes nothing that users see: neither the choice nor, where it fails, the answer. What it computes takes the
request's time, so a slow one is better tried as a canary.
"""

from __future__ import annotations

import logging
from typing import Any

import attrs
import numpy as np

from aamc_bandit.trials.router_pair import Pair, by_name
from aamc_sdk.routing import choice_probabilities
from aamc_sdk.types import Experience, RoutingRequest, Scores

NOTE = "shadow"
logger = logging.getLogger(__name__)


class Shadow(Pair):
    """A router that serves, and one that is only watched."""

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn, as the serving router says."""
        return self.stable.samples

    def score(self, request: RoutingRequest) -> Scores:
        """Return the serving router's scores, with the other one's choices among the notes."""
        served = self.stable.score(request)
        try:
            watched = self._watched(request, self.candidate.score(request))
        except Exception as error:  # what is only watched may raise anything, and no request must notice
            watched = self._failed(request, error)
        return self._noted(served, watched)

    async def ascore(self, request: RoutingRequest) -> Scores:
        """Return what :meth:`score` does, without holding up the event loop."""
        served = await self.stable.ascore(request)
        try:
            watched = self._watched(request, await self.candidate.ascore(request))
        except Exception as error:  # likewise
            watched = self._failed(request, error)
        return self._noted(served, watched)

    def learn(self, experience: Experience) -> None:
        """Let both learn; the watched one's failure does not stop the serving one."""
        self.stable.learn(experience)
        try:
            self.candidate.learn(experience)
        except Exception:  # likewise
            logger.exception("the shadow %s failed to learn up to position %d of the log", self.label("candidate"), experience.position)

    def _watched(self, request: RoutingRequest, scores: Scores) -> list[dict[str, Any]]:
        probabilities = choice_probabilities(scores, request, self.candidate.samples)
        known = scores.propensity_known or not self.candidate.samples
        names, chosen = request.pool.names, probabilities.argmax(axis=1)
        return [
            {
                "choice": names[chosen[row]],
                "probabilities": by_name(probabilities, request, row) if known else {},
                "utility": {names[m]: float(scores.utility[row, m]) for m in np.flatnonzero(request.mask[row])},
            }
            for row in range(len(request))
        ]

    def _failed(self, request: RoutingRequest, error: Exception) -> list[dict[str, Any]]:
        logger.warning("the shadow %s failed: %r", self.label("candidate"), error)
        return [{"error": repr(error)} for _ in range(len(request))]

    def _noted(self, served: Scores, watched: list[dict[str, Any]]) -> Scores:
        about = {"stable": {"router": self.label("stable")}}
        notes = [
            {**(served.notes[row] if served.notes else {}), NOTE: {**about, "candidate": {"router": self.label("candidate"), **seen}}}
            for row, seen in enumerate(watched)
        ]
        return attrs.evolve(served, notes=notes)
