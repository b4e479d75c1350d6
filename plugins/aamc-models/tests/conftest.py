"""Fixtures of this package's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from misbehaving_server import Script, Upstream, serving

from aamc_sdk import Services, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.interfaces import Provider
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services

collect_ignore = [] if importlib.util.find_spec("litellm") else ["test_litellm_provider.py"]
"""LiteLLM contradicts our pins, so its provider is tested by ``tox -e litellm``."""


@pytest.fixture(scope="session")
def services() -> Services:
    """Services with every installed plugin."""
    return make_services(default_pool(), get_plugin_manager(), ServingSettings(seed=3, device="cpu"))


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """Start a server that follows scripts."""
    with ExitStack() as started:

        def start(*scripts: Script) -> Upstream:
            return started.enter_context(serving(*scripts))

        yield start


@pytest.fixture
def provider(services: Services) -> Callable[..., Provider]:
    """Make a provider by its options."""

    def make(name: str = "openai", **options: Any) -> Any:
        return services.make("provider", name, options)

    return make
