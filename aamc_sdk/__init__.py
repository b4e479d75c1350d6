"""Route every request to the right model or agent.

The public names are imported on first use, so importing this package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_sdk.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from aamc_sdk.config import option
    from aamc_sdk.controller import MetaController
    from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, DataError, ForkedError
    from aamc_sdk.hookspecs import Component, hookimpl
    from aamc_sdk.interfaces import (
        Agent,
        AgentOutput,
        AsyncRouter,
        Budget,
        Completion,
        DatasetFormat,
        Environment,
        Estimator,
        OnlineRouter,
        Orchestrator,
        Provider,
        Requirements,
        Reward,
        Router,
        Services,
        Step,
        Store,
        Training,
    )
    from aamc_sdk.plugins import get_plugin_manager
    from aamc_sdk.storage import read_arrays, read_json, write_arrays, write_json
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
        PoolState,
        Preference,
        Prices,
        Query,
        RoutingRequest,
        Scores,
        Turn,
    )

__version__ = "0.2.0"

__all__ = [
    "AamcError",
    "Agent",
    "AgentOutput",
    "AsyncRouter",
    "Attempt",
    "Budget",
    "Candidate",
    "CheckpointError",
    "Completion",
    "Component",
    "ConfigError",
    "DataError",
    "Dataset",
    "DatasetFormat",
    "Decision",
    "Environment",
    "Estimates",
    "Estimator",
    "Experience",
    "Feedback",
    "ForkedError",
    "Labels",
    "Latency",
    "MetaController",
    "ModelSpec",
    "OnlineRouter",
    "Orchestrator",
    "Outcomes",
    "Pool",
    "PoolState",
    "Preference",
    "Prices",
    "Provider",
    "Query",
    "Requirements",
    "Reward",
    "Router",
    "RoutingRequest",
    "Scores",
    "Services",
    "Step",
    "Store",
    "Training",
    "Turn",
    "get_plugin_manager",
    "hookimpl",
    "option",
    "read_arrays",
    "read_json",
    "write_arrays",
    "write_json",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, ("hookspecs", "errors", "plugins", "config", "types", "interfaces", "storage", "controller"))
