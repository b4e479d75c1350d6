"""The settings of the gateway: the section ``gateway`` of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs
from aamc_models.dialects import FOREIGN_STATE

from aamc_gateway.access.settings import AccessSettings, CacheSettings
from aamc_gateway.arena.settings import ArenaSettings
from aamc_gateway.feedback.settings import ImplicitSettings
from aamc_gateway.observe.settings import ObserveSettings
from aamc_gateway.orchestrations.settings import OrchestratorSettings
from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError, unknown_name

_HEADER = re.compile(r"[A-Za-z0-9_-]+")


@attrs.frozen(kw_only=True)
class RequestLimits:
    """Limits of one request."""

    body_mb: float = option(32.0, "Maximum size of a request's body, in megabytes.", above=0)
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
        for tie in self.ties:
            if tie not in FOREIGN_STATE:
                raise ConfigError(unknown_name("ties must name state of a request, not", tie, FOREIGN_STATE, "there are"))


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
class GatewaySettings:
    """The settings of the gateway."""

    host: str = option("127.0.0.1", "The address to listen on.")
    port: int = option(8000, "The port to listen on; 0 for a free one.", at_least=0, at_most=65535)
    workers: int = option(1, "Number of worker processes.", at_least=1, at_most=256)
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
