"""Route every request to the right model or agent.

Names are imported when they are first used, so importing this package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aamc_sdk.config import option
    from aamc_sdk.controller import MetaController
    from aamc_sdk.errors import AamcError
    from aamc_sdk.hookspecs import Component, hookimpl
    from aamc_sdk.interfaces import (
        Agent,
        AgentOutput,
        DatasetFormat,
        Environment,
        Estimator,
        Orchestrator,
        Reward,
        Router,
        Services,
        Store,
        Training,
    )
    from aamc_sdk.plugins import get_plugin_manager
    from aamc_sdk.types import (
        Attempt,
        Candidate,
        Dataset,
        Decision,
        Estimates,
        Experience,
        Feedback,
        Labels,
        Latency,
        ModelSpec,
        Outcomes,
        Pool,
        Preference,
        Prices,
        Query,
        RoutingRequest,
        Scores,
    )

__version__ = "0.1.0"

_HOMES = {
    "config": ("option",),
    "controller": ("MetaController",),
    "errors": ("AamcError",),
    "hookspecs": ("Component", "hookimpl"),
    "interfaces": (
        "Agent",
        "AgentOutput",
        "DatasetFormat",
        "Environment",
        "Estimator",
        "Orchestrator",
        "Reward",
        "Router",
        "Services",
        "Store",
        "Training",
    ),
    "plugins": ("get_plugin_manager",),
    "types": (
        "Attempt",
        "Candidate",
        "Dataset",
        "Decision",
        "Estimates",
        "Experience",
        "Feedback",
        "Labels",
        "Latency",
        "ModelSpec",
        "Outcomes",
        "Pool",
        "Preference",
        "Prices",
        "Query",
        "RoutingRequest",
        "Scores",
    ),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AamcError",
    "Agent",
    "AgentOutput",
    "Attempt",
    "Candidate",
    "Component",
    "Dataset",
    "DatasetFormat",
    "Decision",
    "Environment",
    "Estimates",
    "Estimator",
    "Experience",
    "Feedback",
    "Labels",
    "Latency",
    "MetaController",
    "ModelSpec",
    "Orchestrator",
    "Outcomes",
    "Pool",
    "Preference",
    "Prices",
    "Query",
    "Reward",
    "Router",
    "RoutingRequest",
    "Scores",
    "Services",
    "Store",
    "Training",
    "get_plugin_manager",
    "hookimpl",
    "option",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'aamc_sdk' has no attribute {name!r}")
    return getattr(import_module(f"aamc_sdk.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
