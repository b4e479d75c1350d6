"""The settings of the gateway: the section ``gateway`` of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
from aamc_models.dialects import FOREIGN_STATE

from aamc_gateway.access.settings import AccessSettings, CacheSettings
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import check_known, unknown_name

CHOOSE, VOTE, SYNTHESIZE = "choose", "vote", "synthesize"
"""The values of ``aggregate``."""
REASONING, CONTENT, NONE = "reasoning", "content", "none"
"""The values of ``show_steps``."""
_HEADER = re.compile(r"[A-Za-z0-9_-]+")


@attrs.frozen(kw_only=True)
class RequestLimits:
    """Limits of one request."""

    body_mb: float = option(32.0, "Maximum size of a request's body, in megabytes.", above=0)
    bodies_mb: float = option(256.0, "Maximum size of the bodies above 1 MB that a worker has in progress, together, in megabytes.", above=0)
    key_bodies_mb: float = option(128.0, "Maximum size of the bodies above 1 MB that one key has in progress in a worker, in megabytes.", above=0)
    nesting: int = option(100, "Maximum depth of nested objects and lists in a body.", at_least=8, at_most=200)
    header_kb: float = option(64.0, "Maximum size of a request's line and headers, in kilobytes.", above=0)
    header_s: float = option(10.0, "Maximum time until a request's headers are complete, in seconds.", above=0)
    read_s: float = option(60.0, "Maximum time until a request's body is complete, in seconds.", above=0)
    write_s: float = option(120.0, "Maximum time that a client may take no data of its answer, in seconds.", above=0)
    fallbacks: int = option(3, "Maximum number of further candidates that are called after the first one failed.", at_least=0)
    output_tokens: int = option(
        4096,
        "Maximum tokens of an answer under a budget, where neither the request nor the pool gives one.",
        at_least=1,
    )


@attrs.frozen(kw_only=True)
class SessionSettings:
    """The options of conversations: how they are recognised and remembered."""

    header: str = option("x-aamc-session", "The header that names a conversation.")
    cache_s: float = option(300.0, "Time for which a candidate is expected to keep a conversation's prompt cache, in seconds.", at_least=0)
    keep_s: float = option(86400.0, "Time for which the candidate of a conversation is remembered, in seconds.", above=0)
    ties: Sequence[str] = option(
        ["open_tool_calls", "previous_response_id", "item_reference", "container", "encrypted_reasoning", "thinking"],
        "State in a request that keeps the conversation on its candidate; other state is taken out when the candidate changes.",
    )
    at_most: int = option(10_000, "Maximum number of conversations that a worker remembers, at about 300 bytes each.", at_least=1)

    def __attrs_post_init__(self) -> None:
        if not _HEADER.fullmatch(self.header):
            raise ConfigError(f"header must be the name of a header, of letters, digits, - and _, not {self.header!r}")
        check_known(self.ties, FOREIGN_STATE, "ties must name state of a request, not", ConfigError, "there are")


@attrs.frozen(kw_only=True)
class ClassifiedSettings:
    """The options of the classified part of a request."""

    earlier_messages: int = option(2, "Human messages before the last one that are classified with it.", at_least=0, at_most=20)
    characters: int = option(16_000, "Characters of a message that are classified, half of them from its end.", at_least=100)
    side_requests: bool = option(True, "Whether requests for a title or a summary go to the cheapest candidate.")


@attrs.frozen(kw_only=True)
class StreamSettings:
    """The options of streamed answers."""

    keep_alive_s: float = option(15.0, "Silence after which a comment keeps a stream alive, in seconds.", above=0)
    usage_s: float = option(5.0, "Maximum time that a stream's last chunk waits for the usage, in seconds.", at_least=0)


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
    on_error: str = option(
        "skip", "Effect of a failed call: skip leaves its candidate out, fail fails a request for aamc/arena.", choices=("skip", "fail")
    )
    keep_s: float = option(86_400.0, "Time for which answers wait for a vote, in seconds; 0 keeps none.", at_least=0)
    keep_mb: float = option(20.0, "Size of a tenant's prompts and answers that wait for a vote, in MB of 1e6 bytes; the oldest go first.", above=0)


@attrs.frozen(kw_only=True)
class ImplicitSettings:
    """Feedback that the gateway infers."""

    escalation: bool = option(True, "Whether a request for a stronger model, in plain words, counts against the answer before it.")
    rephrasing: bool = option(False, "Whether the same question in other words counts against the answer before it.")
    similarity: float = option(0.6, "Share of common words from which a question is the same in other words.", above=0, at_most=1)
    within_s: float = option(180.0, "Time after the answer within which a question counts as the same in other words, in seconds.", above=0)
    confidence: float = option(0.5, "Confidence of inferred feedback.", at_least=0, at_most=1)
    sessions: int = option(5_000, "Conversations that a worker remembers for this.", at_least=1)


@attrs.frozen(kw_only=True)
class TracingSettings:
    """OpenTelemetry spans; needs ``aamc-gateway[tracing]``."""

    enabled: bool = option(False, "Whether spans are exported.")
    endpoint: str = option("http://127.0.0.1:4318/v1/traces", "URL of the collector, which takes OTLP over HTTP.")
    headers: Mapping[str, str] = option({}, "Headers of the exports; a value that begins with $ names an environment variable.")
    sample_ratio: float = option(0.01, "Share of the requests that are traced; those whose caller traces them always are.", at_least=0, at_most=1)
    service_name: str = option("aamc-gateway", "Name of this service in the spans.")

    def __attrs_post_init__(self) -> None:
        if not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"endpoint must be a URL such as http://127.0.0.1:4318/v1/traces, not {self.endpoint!r}")


@attrs.frozen(kw_only=True)
class LogSettings:
    """Logs on standard error."""

    format: str = option("text", "Form of the lines.", choices=["text", "json"])
    requests: bool = option(
        True, "Whether each request for an answer or a decision gets a line, unless it is invalid or not permitted; only with format json."
    )


@attrs.frozen(kw_only=True)
class ObserveSettings:
    """The options of metrics, traces and log lines."""

    metrics: bool = option(True, "Whether /metrics serves Prometheus metrics.")
    metrics_public: bool = option(False, "Whether /metrics needs no admin key.")
    tracing: TracingSettings = attrs.field(factory=TracingSettings, metadata={"meaning": "OpenTelemetry spans."})
    logs: LogSettings = attrs.field(factory=LogSettings, metadata={"meaning": "Logs."})


@attrs.frozen(kw_only=True)
class OrchestratorSettings:
    """One orchestrator that requests may ask for, as ``aamc/NAME``. Only those that are named here can be asked for: agents may act."""

    run: str = option("", "Folder of its training; '' for the newest under runs, else untrained.")
    pool: str = option("", "Name or file of the models that its agents call; '' for those of the training, without one the gateway's.")
    agents: Sequence[str] | None = option(None, "Names of its agents; none: those of the training.")
    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "Options of agents, by the agent's name.")
    options: Mapping[str, Any] = option({}, "Options of the orchestrator, such as policy of router-r1.")
    paths: int | None = option(None, "Maximum number of parallel paths; none: as trained.", at_least=1)
    steps: int | None = option(None, "Maximum number of steps; none: as trained.", at_least=1)
    budget_usd: float = option(1.0, "Maximum cost of one request in USD, which its budget reserves; a request may ask for less.", above=0)
    seconds: float = option(300.0, "Time limit of one request, in seconds.", above=0)
    parallel: int = option(4, "Maximum number of requests at the same time, each on a thread of its own.", at_least=1)
    show_steps: str = option(
        REASONING,
        "Where the steps before the last are shown: reasoning, as a reasoning model's; content, before the answer; or none.",
        choices=(REASONING, CONTENT, NONE),
    )


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """The settings of the gateway."""

    host: str = option("127.0.0.1", "The address to listen on.")
    port: int = option(8000, "The port to listen on; 0 for a free one.", at_least=0, at_most=65535)
    workers: int = option(1, "Number of worker processes.", at_least=1, at_most=256)
    shared_state: str = option(
        "",
        "Where keys, budgets and sessions are kept, as the URL of a store: sqlite:PATH, redis://... or postgres://...; '' for the log's own.",
    )
    shutdown_s: float = option(
        600.0,
        "Maximum time for which a shutdown waits for answers in progress, in seconds. 10 s later the process ends, even if a plugin hangs.",
        at_least=0,
    )
    limits: RequestLimits = attrs.field(factory=RequestLimits, metadata={"meaning": "Limits of one request."})
    sessions: SessionSettings = attrs.field(factory=SessionSettings, metadata={"meaning": "How conversations are recognised and kept."})
    classified: ClassifiedSettings = attrs.field(factory=ClassifiedSettings, metadata={"meaning": "Which part of a request is classified."})
    access: AccessSettings = attrs.field(factory=AccessSettings, metadata={"meaning": "Who may call, and how much it may cost."})
    cache: CacheSettings = attrs.field(factory=CacheSettings, metadata={"meaning": "The exact cache of answers."})
    observe: ObserveSettings = attrs.field(factory=ObserveSettings, metadata={"meaning": "What can be seen of the gateway's work."})
    streams: StreamSettings = attrs.field(factory=StreamSettings, metadata={"meaning": "How answers are streamed."})
    arena: ArenaSettings = attrs.field(factory=ArenaSettings, metadata={"meaning": "Requests that several candidates answer."})
    implicit: ImplicitSettings = attrs.field(factory=ImplicitSettings, metadata={"meaning": "Feedback that the gateway infers."})
    orchestrators: Mapping[str, OrchestratorSettings] = option({}, "Orchestrators that requests may ask for as aamc/NAME, by name.")


def check_arena(settings: ArenaSettings, names: Collection[str]) -> None:
    """Raise ConfigError if a candidate that the settings name cannot be called."""
    for role in ("judge", "synthesizer"):
        name = getattr(settings, role)
        if name and name not in names:
            raise ConfigError(unknown_name(f"gateway.arena.{role} must be a candidate with an endpoint, not", name, names, "there are"))
