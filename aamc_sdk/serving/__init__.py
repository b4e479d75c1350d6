"""Serving: load a run or make components, decide requests, call models, learn online, run orchestrators."""

from aamc_sdk.serving.arguments import AttemptKeywords, FeedbackKeywords, RouteKeywords
from aamc_sdk.serving.config_files import components_from_file, recognized_format
from aamc_sdk.serving.learner.component_state import restore, state_name, state_of
from aamc_sdk.serving.learner.learner import Learner
from aamc_sdk.serving.models.call import Call, counted_calls, price, settled_attempts
from aamc_sdk.serving.models.model_client import ModelClient, conversation
from aamc_sdk.serving.orchestration.orchestration import (
    LoggedOrchestrator,
    Orchestration,
    OrchestrationOptions,
    TaskQuery,
    TeamOptions,
    TeamOrchestrator,
    start_orchestration,
)
from aamc_sdk.serving.orchestration.orchestrators import find_orchestrator, trained_name
from aamc_sdk.serving.run import EVALUATION, ORCHESTRATOR, Run, component_name, find_checkpoint, names_checkpoint
from aamc_sdk.serving.served_components import (
    ServedComponents,
    check_privileged,
    components_from_run,
    components_from_settings,
    estimates_fingerprint,
)
from aamc_sdk.serving.services import make_services, services_with_reward

__all__ = [
    "EVALUATION",
    "ORCHESTRATOR",
    "AttemptKeywords",
    "Call",
    "FeedbackKeywords",
    "Learner",
    "LoggedOrchestrator",
    "ModelClient",
    "Orchestration",
    "OrchestrationOptions",
    "RouteKeywords",
    "Run",
    "ServedComponents",
    "TaskQuery",
    "TeamOptions",
    "TeamOrchestrator",
    "check_privileged",
    "component_name",
    "components_from_file",
    "components_from_run",
    "components_from_settings",
    "conversation",
    "counted_calls",
    "estimates_fingerprint",
    "find_checkpoint",
    "find_orchestrator",
    "make_services",
    "names_checkpoint",
    "price",
    "recognized_format",
    "restore",
    "services_with_reward",
    "settled_attempts",
    "start_orchestration",
    "state_name",
    "state_of",
    "trained_name",
]
