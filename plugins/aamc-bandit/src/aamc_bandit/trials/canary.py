"""``canary``: a new router serves a share of the traffic, and the log can tell whether it is better.

Both routers choose for every request, the stable one with probabilities p_s, the candidate with p_c, and the candidate is drawn from
their mixture,

    mu(a | x) = (1 - share) p_s(a | x) + share p_c(a | x),

which is the decision's exact propensity. Where both choose alike nothing is lost, and nothing has to be compared. Each decision
notes the share and both routers' choices, from which :func:`served_by` says who served it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_bandit.trials.router_pair import Pair, PairOptions, by_name
from aamc_sdk.config import option
from aamc_sdk.routing import choice_probabilities, uniform
from aamc_sdk.types import Decision, RoutingRequest, Scores

NOTE = "canary"


@attrs.frozen(kw_only=True)
class CanaryOptions(PairOptions):
    """Options of ``canary``."""

    share: float = option(0.1, "the share of requests that the candidate serves", at_least=0.0, at_most=1.0)


class Canary(Pair):
    """Two routers that share the traffic. Utilities and explanations are the stable one's."""

    Config = CanaryOptions

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn: always, even where neither router draws."""
        return True

    def score(self, request: RoutingRequest) -> Scores:
        """Return the mixture of both routers' choices."""
        return self._mixed(request, self.stable.score(request), self.candidate.score(request))

    async def ascore(self, request: RoutingRequest) -> Scores:
        """Return the mixture of both routers' choices, without holding up the event loop."""
        return self._mixed(request, await self.stable.ascore(request), await self.candidate.ascore(request))

    def _mixed(self, request: RoutingRequest, stable: Scores, candidate: Scores) -> Scores:
        ours = choice_probabilities(stable, request, self.stable.samples)
        theirs = choice_probabilities(candidate, request, self.candidate.samples)
        share = self.config.share
        notes = [
            {
                **(stable.notes[row] if stable.notes else {}),
                NOTE: {
                    "share": share,
                    "stable": {"router": self.label("stable"), "probabilities": by_name(ours, request, row)},
                    "candidate": {"router": self.label("candidate"), "probabilities": by_name(theirs, request, row)},
                },
            }
            for row in range(len(request))
        ]
        return Scores(
            utility=stable.utility,
            probabilities=(1 - share) * ours + share * theirs,
            propensity_known=all(
                scores.propensity_known or not router.samples for router, scores in ((self.stable, stable), (self.candidate, candidate))
            ),
            spent_usd=stable.spent_usd + candidate.spent_usd,
            spent_ms=stable.spent_ms + candidate.spent_ms,
            expected_quality=stable.expected_quality,
            notes=notes,
        )


def served_by(decision: Decision) -> str | None:
    """Return which router a canary's decision was served by, ``"stable"`` or ``"candidate"``; None for another router's decision.

    The draw decides: who was chosen tells it where only one of the two could have chosen that candidate, and where both could, a
    number that belongs to the decision's id does, with the right odds. So the log says it again whenever it is asked.
    """
    note: Mapping[str, Any] | None = decision.notes.get(NOTE)
    if note is None:
        return None
    weights = {
        "stable": (1 - note["share"]) * note["stable"]["probabilities"].get(decision.candidate, 0.0),
        "candidate": note["share"] * note["candidate"]["probabilities"].get(decision.candidate, 0.0),
    }
    return "candidate" if uniform(0, f"{decision.id}/{NOTE}") * sum(weights.values()) < weights["candidate"] else "stable"
