"""Access to the gateway: keys, budgets and limits, and state that workers share."""

from aamc_gateway.access.access import Access
from aamc_gateway.access.admission import Admission
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.settings import AccessSettings, CacheSettings, Limits
from aamc_gateway.access.shared import SharedState, open_shared

__all__ = [
    "Access",
    "AccessSettings",
    "Admission",
    "CacheSettings",
    "Caller",
    "ErasableValues",
    "Limits",
    "Refused",
    "SharedState",
    "open_shared",
]
