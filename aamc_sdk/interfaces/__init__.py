"""Base classes of components, for plugin authors.

A component is made as ``Class(config, services)``, where ``config`` is its own ``Config``. Its learned
state is saved and loaded by :meth:`BaseComponent.save` and :meth:`BaseComponent.load`. Shapes: B queries, M candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aamc_sdk.interfaces.agents import Agent, AgentOutput, Budget, EvaluatedOrchestrator, Orchestrator, Step
from aamc_sdk.interfaces.components import BaseComponent, ExportableComponent, NamedComponent, NoOptions, Reward, Services
from aamc_sdk.interfaces.config_formats import ConfigFormat, ForeignSettings
from aamc_sdk.interfaces.datasets import DatasetFormat
from aamc_sdk.interfaces.diagnoses import Diagnosis
from aamc_sdk.interfaces.environments import CounterfactualStreams, Environment, RecoveringStreams, RoutingStreams, StatefulStreams
from aamc_sdk.interfaces.estimators import Estimator
from aamc_sdk.interfaces.models import ANY_OUTPUT_LIMIT, Chunk, Completion, Message, ModelCaller, Usage, output_limit, without_replaced_limits
from aamc_sdk.interfaces.providers import EndpointState, Provider, WireProvider, WireReply, WireRequest
from aamc_sdk.interfaces.routers import AsyncRouter, OnlineRouter, Requirements, Router
from aamc_sdk.interfaces.store import Store, public_url
from aamc_sdk.interfaces.training import NoProgress, Progress, Training

INTERFACES: Mapping[str, type[Any]] = {
    "estimator": Estimator,
    "router": Router,
    "environment": Environment,
    "reward": Reward,
    "provider": Provider,
    "dataset": DatasetFormat,
    "agent": Agent,
    "orchestrator": Orchestrator,
    "store": Store,
    "config_format": ConfigFormat,
}
"""The base class of each kind of component that has one."""

__all__ = [
    "ANY_OUTPUT_LIMIT",
    "INTERFACES",
    "Agent",
    "AgentOutput",
    "AsyncRouter",
    "BaseComponent",
    "Budget",
    "Chunk",
    "Completion",
    "ConfigFormat",
    "CounterfactualStreams",
    "DatasetFormat",
    "Diagnosis",
    "EndpointState",
    "Environment",
    "Estimator",
    "EvaluatedOrchestrator",
    "ExportableComponent",
    "ForeignSettings",
    "Message",
    "ModelCaller",
    "NamedComponent",
    "NoOptions",
    "NoProgress",
    "OnlineRouter",
    "Orchestrator",
    "Progress",
    "Provider",
    "RecoveringStreams",
    "Requirements",
    "Reward",
    "Router",
    "RoutingStreams",
    "Services",
    "StatefulStreams",
    "Step",
    "Store",
    "Training",
    "Usage",
    "WireProvider",
    "WireReply",
    "WireRequest",
    "output_limit",
    "public_url",
    "without_replaced_limits",
]
