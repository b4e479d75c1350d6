"""The options of the stores that the core ships, and of plugins' stores that share their rules."""

from __future__ import annotations

import attrs

from aamc_sdk.config import option


@attrs.frozen(kw_only=True)
class Retention:
    """Limits of a log; None for no limit."""

    days: float | None = option(None, "Days that a decision is kept.", above=0)
    max_gb: float | None = option(None, "Size of the log in GB of 1e9 bytes.", above=0)
    aggregate_days: float | None = option(None, "Days that the sums over dropped decisions are kept, from the day of the decisions.", above=0)


@attrs.frozen(kw_only=True)
class LogOptions:
    """The options of every log."""

    store_text: bool = option(False, "Whether the log keeps prompts; otherwise only their estimates and token counts.")
    pending_days: float = option(30.0, "Days after which feedback without a decision is deleted.", above=0)
    max_pending: int = option(100_000, "Maximum number of pending entries; the oldest ones beyond it are deleted.", at_least=1)


@attrs.frozen(kw_only=True)
class FallibleOptions(LogOptions):
    """The options of a log whose writes may fail."""

    on_store_failure: str = option(
        "refuse",
        "If a decision cannot be logged: refuse it, or serve it unlogged with unknown propensity and count it.",
        choices=("refuse", "serve"),
    )


@attrs.frozen(kw_only=True)
class StoreOptions(FallibleOptions):
    """The options of a log that outlives its process."""

    retention: Retention = option(  # noqa: RUF009  # it is frozen
        Retention(),
        "Limits beyond which the oldest partitions are dropped, days and max_gb (GB of 1e9 bytes), and aggregate_days for the sums over them.",
    )
    durability: str = option(
        "durable",
        "durable: acknowledged when on disk; relaxed: sooner, and a crash of the machine may lose the last entries (see the store's page).",
        choices=("durable", "relaxed"),
    )
