"""The settings of the arena: ``gateway.arena`` in a configuration file."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, unknown_name

CHOOSE, VOTE, SYNTHESIZE = "choose", "vote", "synthesize"
"""The values of ``aggregate``."""


@attrs.frozen(kw_only=True)
class ArenaSettings:
    """Requests that several candidates answer; ``max_concurrent`` and ``on_error`` are those of vLLM Semantic Router's ``type: concurrent``."""

    candidates: int | None = option(2, "Number of candidates that answer: the router's choice and others drawn; none: all allowed.", at_least=2)
    share: float = option(0.0, "Share of the requests for aamc/auto without tools that the arena answers.", at_least=0, at_most=1)
    share_streams: bool = option(False, "Whether the share is of streamed requests too; their answers begin when all candidates have answered.")
    aggregate: str = option(
        CHOOSE,
        "choose: the answer that the judge prefers, the router's choice without a judge; vote: the answer that most candidates gave; "
        "synthesize: one answer written from all of them.",
        choices=(CHOOSE, VOTE, SYNTHESIZE),
    )
    judge: str = option("", "Candidate that compares the answers, each pair in both orders, with choose and for ties of vote; '' for none.")
    synthesizer: str = option("", "Candidate that writes the answer with synthesize; '' for the router's choice.")
    timeout_seconds: float = option(60.0, "Time limit of an answer or a verdict, in seconds.", above=0)
    max_concurrent: int | None = option(None, "Maximum number of concurrent calls for one request; none: no limit.", at_least=1)
    on_error: str = option("skip", "Effect of a failed call: skip leaves its candidate out, fail fails the request.", choices=("skip", "fail"))
    keep_s: float = option(86_400.0, "Time for which answers wait for a vote, in seconds; 0 keeps none.", at_least=0)
    keep_mb: float = option(20.0, "Size of the prompts and answers that wait for a vote, in MB of 1e6 bytes; the oldest go first.", above=0)


def check_arena(settings: ArenaSettings, names: Collection[str]) -> None:
    """Check that the candidates which the settings name can be called.

    Raises:
        ConfigError: One cannot.
    """
    for role in ("judge", "synthesizer"):
        name = getattr(settings, role)
        if name and name not in names:
            raise ConfigError(unknown_name(f"gateway.arena.{role} must be a candidate with an endpoint, not", name, names, "there are"))
