"""Calling models for the AAMC SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_sdk.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from aamc_models.local_requests import foreign_header, is_loopback
    from aamc_models.providers.anthropic import Anthropic
    from aamc_models.providers.openai import OpenAI
    from aamc_models.transport.http import HttpProvider
    from aamc_models.transport.options import DeploymentOptions, EndpointOptions, check_variable

__all__ = [
    "Anthropic",
    "DeploymentOptions",
    "EndpointOptions",
    "HttpProvider",
    "OpenAI",
    "check_variable",
    "foreign_header",
    "is_loopback",
]

# so that importing aamc_models alone loads no HTTP library
_MODULES = ("local_requests", "transport.options", "transport.http", "providers.openai", "providers.anthropic")
__getattr__, __dir__ = lazy_exports(__name__, __all__, _MODULES)
