"""``canary``: a new router serves a share of the traffic, and the log shows whether it is better.

Both routers score every request: the stable one has choice probabilities p_s, the candidate p_c. A decision is drawn from their
mixture,

    mu(a | x) = (1 - share) p_s(a | x) + share p_c(a | x),

which is the decision's exact propensity. Each decision's notes contain the share and both routers' choice probabilities, from
which :func:`served_by` derives the router that served it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_bandit.trials.router_pair import RouterPair, RouterPairOptions, possible_candidates
from aamc_sdk.config import option
from aamc_sdk.routing import choice_probabilities, uniform
from aamc_sdk.types import Decision, RoutingRequest, Scores

NOTE = "canary"


@attrs.frozen(kw_only=True)
class CanaryOptions(RouterPairOptions):
    """Options of ``canary``."""

    share: float = option(0.1, "share of requests that the candidate serves", at_least=0.0, at_most=1.0)


class Canary(RouterPair):
    """Two routers that share the traffic. Utilities and explanations are those of the stable router."""

    Config = CanaryOptions

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn: always, even if neither router draws."""
        return True

    def score(self, request: RoutingRequest) -> Scores:
        """Return the mixture of both routers' choice probabilities."""
        return self._mixed(request, self.stable.score(request), self.candidate.score(request))

    def _mixed(self, request: RoutingRequest, stable: Scores, candidate: Scores) -> Scores:
        stable_choices = choice_probabilities(stable, request, self.stable.samples)
        candidate_choices = choice_probabilities(candidate, request, self.candidate.samples)
        share = self.config.share
        notes = [
            {
                **(stable.notes[row] if stable.notes else {}),
                NOTE: {
                    "share": share,
                    "stable": {"router": self.label("stable"), "probabilities": possible_candidates(stable_choices, request, row)},
                    "candidate": {"router": self.label("candidate"), "probabilities": possible_candidates(candidate_choices, request, row)},
                },
            }
            for row in range(len(request))
        ]
        return Scores(
            utility=stable.utility,
            probabilities=(1 - share) * stable_choices + share * candidate_choices,
            propensity_known=all(
                scores.propensity_known or not router.samples for router, scores in ((self.stable, stable), (self.candidate, candidate))
            ),
            spent_usd=stable.spent_usd + candidate.spent_usd,
            spent_ms=stable.spent_ms + candidate.spent_ms,
            expected_quality=stable.expected_quality,
            notes=notes,
        )


def served_by(decision: Decision) -> str | None:
    """Return the router that served a canary's decision, ``"stable"`` or ``"candidate"``; None for a decision of another router.

    If only one router could have chosen the candidate, it served the decision. If both could, a number derived from the
    decision's id selects one with the right odds, so that the answer never changes.
    """
    note: Mapping[str, Any] | None = decision.notes.get(NOTE)
    if note is None:
        return None
    weights = {
        "stable": (1 - note["share"]) * note["stable"]["probabilities"].get(decision.candidate, 0.0),
        "candidate": note["share"] * note["candidate"]["probabilities"].get(decision.candidate, 0.0),
    }
    return "candidate" if uniform(0, f"{decision.id}/{NOTE}") * sum(weights.values()) < weights["candidate"] else "stable"
