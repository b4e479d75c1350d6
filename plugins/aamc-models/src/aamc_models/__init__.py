"""Calling models for the AAMC SDK."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aamc_models.providers.anthropic import Anthropic
    from aamc_models.providers.openai import OpenAI
    from aamc_models.transport.http import HttpProvider
    from aamc_models.transport.options import DeploymentOptions, EndpointOptions

_MODULES = {
    "Anthropic": "aamc_models.providers.anthropic",
    "DeploymentOptions": "aamc_models.transport.options",
    "EndpointOptions": "aamc_models.transport.options",
    "HttpProvider": "aamc_models.transport.http",
    "OpenAI": "aamc_models.providers.openai",
}
__all__ = ["Anthropic", "DeploymentOptions", "EndpointOptions", "HttpProvider", "OpenAI"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: ``import aamc_models`` alone loads no HTTP library."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
