"""Serving decisions: load a run, make components, learn online, keep snapshots."""

from aamc_sdk.serving.learner import Learner
from aamc_sdk.serving.loading import ServedComponents, estimates_fingerprint, load_checkpoints, load_components, make_components
from aamc_sdk.serving.model_client import ModelClient, price
from aamc_sdk.serving.orchestration import Session, TaskQuery, TeamOptions, TeamOrchestrator, WorkOptions
from aamc_sdk.serving.orchestrators import find_orchestrator, load_orchestrator, newest_orchestrator, trained_name
from aamc_sdk.serving.pool_tracker import PoolTracker
from aamc_sdk.serving.run import EVALUATION, ORCHESTRATOR, Run, find_checkpoint, part_name
from aamc_sdk.serving.services import DefaultSettings, make_services
from aamc_sdk.serving.snapshots import restore, state_of

__all__ = [
    "EVALUATION",
    "ORCHESTRATOR",
    "DefaultSettings",
    "Learner",
    "ModelClient",
    "PoolTracker",
    "Run",
    "ServedComponents",
    "Session",
    "TaskQuery",
    "TeamOptions",
    "TeamOrchestrator",
    "WorkOptions",
    "estimates_fingerprint",
    "find_checkpoint",
    "find_orchestrator",
    "load_checkpoints",
    "load_components",
    "load_orchestrator",
    "make_components",
    "make_services",
    "newest_orchestrator",
    "part_name",
    "price",
    "restore",
    "state_of",
    "trained_name",
]
