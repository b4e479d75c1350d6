"""What each kind of component does. A plugin author subclasses one of these.

Every part is made as ``Class(config, services)``, where ``config`` is its own ``Config``, and
keeps what it learned through :meth:`Part.save` and :meth:`Part.load`. Shapes: B queries,
M candidates, n streams.
"""

from aamc_sdk.interfaces.agents import Agent, AgentOutput, Budget, Orchestrator, Step
from aamc_sdk.interfaces.config_formats import ConfigFormat, ForeignSettings
from aamc_sdk.interfaces.environments import DatasetFormat, Environment, RoutingStreams
from aamc_sdk.interfaces.parts import NoOptions, Part, Progress, Services, Silence, Training
from aamc_sdk.interfaces.routing import Estimator, Reward, Router
from aamc_sdk.interfaces.store import Store

__all__ = [
    "Agent",
    "AgentOutput",
    "Budget",
    "ConfigFormat",
    "DatasetFormat",
    "Environment",
    "Estimator",
    "ForeignSettings",
    "NoOptions",
    "Orchestrator",
    "Part",
    "Progress",
    "Reward",
    "Router",
    "RoutingStreams",
    "Services",
    "Silence",
    "Step",
    "Store",
    "Training",
]
