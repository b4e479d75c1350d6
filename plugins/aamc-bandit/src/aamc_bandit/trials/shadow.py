"""``shadow``: the stable router serves, and each decision notes the choice probabilities of the challenger.

The challenger changes neither the choice nor, if it fails or takes too long, the answer. It scores while the stable router does, and
delays a request until its time limit at most. Until it has scored that request, it delays no other one.
"""

from __future__ import annotations

from typing import Any

import attrs

from aamc_bandit.inner_router import by_name, with_notes
from aamc_bandit.trials.router_pair import RouterPair
from aamc_bandit.trials.trial_notes import SHADOW
from aamc_sdk.types import Floats, RoutingRequest, Scores


class Shadow(RouterPair):
    """A stable router that serves, and a challenger that is only recorded."""

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn, as for the stable router."""
        return self.stable.samples

    def score(self, request: RoutingRequest) -> Scores:
        """Return the stable router's scores, with the challenger's choices in the notes."""
        served, challenger = (self.stable.score(request), "it still scores an earlier request") if self.is_late else self.score_both(request)
        if isinstance(challenger, str):
            self.challenger_failed(f"failed to score: {challenger}")
            recorded: list[dict[str, Any]] = [{"error": challenger}] * len(request)
        else:
            recorded = self._recorded(request, *challenger)
        pair = self.described()
        notes = [{SHADOW: {**pair, "candidate": {**pair["candidate"], **choices}}} for choices in recorded]
        return attrs.evolve(served, notes=with_notes(served, notes))

    def _recorded(self, request: RoutingRequest, scores: Scores, probabilities: Floats) -> list[dict[str, Any]]:
        known = scores.propensity_known or not self.challenger.samples
        names, chosen = request.pool.names, probabilities.argmax(axis=1)
        return [
            {
                "choice": names[chosen[row]],
                "probabilities": by_name(names, probabilities[row], probabilities[row] > 0) if known else {},
                "utility": by_name(names, scores.utility[row], request.mask[row]),
            }
            for row in range(len(request))
        ]
