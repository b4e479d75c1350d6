"""The settings of inferred feedback: ``gateway.implicit`` in a configuration file."""

from __future__ import annotations

import attrs

from aamc_sdk.config import option


@attrs.frozen(kw_only=True)
class ImplicitSettings:
    """Feedback that the gateway infers."""

    escalation: bool = option(True, "Whether a request for a stronger model, in plain words, counts against the answer before it.")
    rephrasing: bool = option(False, "Whether the same question in other words counts against the answer before it.")
    similarity: float = option(0.6, "Share of common words from which a question is the same in other words.", above=0, at_most=1)
    within_s: float = option(180.0, "Time after the answer within which a question counts as the same in other words, in seconds.", above=0)
    confidence: float = option(0.5, "Confidence of inferred feedback.", at_least=0, at_most=1)
    sessions: int = option(5_000, "Conversations that a worker remembers for this.", at_least=1)
