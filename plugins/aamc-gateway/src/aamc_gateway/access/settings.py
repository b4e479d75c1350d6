"""The settings of access: ``gateway.access`` in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from aamc_models import check_variable

from aamc_sdk.config import option
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import check_type

REFUSE, CHEAPER = "refuse", "cheaper"
"""The values of ``over_budget``."""


@attrs.frozen(kw_only=True)
class Limits:
    """Budgets and limits of a key, a tenant, a user or a model; None for no limit. Days and months are those of UTC."""

    usd_per_day: float | None = option(None, "USD that requests may cost a day.", at_least=0)
    usd_per_month: float | None = option(None, "USD that requests may cost a calendar month.", at_least=0)
    usd_total: float | None = option(None, "USD that requests may cost in all.", at_least=0)
    requests_per_minute: int | None = option(None, "Requests per minute.", at_least=1)
    tokens_per_minute: int | None = option(None, "Tokens of prompts and answers per minute.", at_least=1)
    parallel_requests: int | None = option(None, "Requests at the same time.", at_least=1)

    @property
    def has_budget(self) -> bool:
        """Whether there is a limit in USD."""
        return not (self.usd_per_day is None and self.usd_per_month is None and self.usd_total is None)


NO_LIMITS = Limits()


@attrs.frozen(kw_only=True)
class AccessSettings:
    """The options of access: keys, budgets and limits."""

    admin_key_env: str = option("AAMC_ADMIN_KEY", "Environment variable of an admin key, besides the keys of aamc keys.")
    over_budget: str = option(
        REFUSE,
        "What happens to a request that may cost more than a budget has left: refuse it, or route it to a cheaper candidate that still fits. "
        "The router paced spreads a budget over the day.",
        choices=[REFUSE, CHEAPER],
    )
    limits: Limits = attrs.field(factory=Limits, metadata={"meaning": "Limits of each key without own ones."})
    tenants: Mapping[str, Limits] = option({}, "Limits of tenants, by name; '*' stands for each other tenant.")
    users: Mapping[str, Limits] = option({}, "Limits of users, by name; '*' stands for each other user. A tenant's users are its own.")
    models: Mapping[str, Limits] = option({}, "Limits of candidates over all keys, by name.")

    def __attrs_post_init__(self) -> None:
        check_variable(self.admin_key_env, "admin_key_env", "AAMC_ADMIN_KEY")
        for name in ("tenants", "users", "models"):
            for key, limits in getattr(self, name).items():
                check_type(limits, Limits, f"{name}.{key} must be aamc_gateway.access.Limits", ConfigError)


@attrs.frozen(kw_only=True)
class CacheSettings:
    """The exact cache of answers: ``gateway.cache``."""

    enabled: bool = option(False, "Whether answers are kept, and given again to the same request of the same tenant.")
    ttl_s: float = option(3600.0, "Time that an answer is kept, in seconds.", above=0)
    max_mb: float = option(100.0, "Size of a tenant's answers in MB of 1e6 bytes; the oldest go first.", above=0)
    any_temperature: bool = option(False, "Whether answers of requests without temperature 0 are kept too.")
