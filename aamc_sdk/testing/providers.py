"""Checks of providers and of configuration formats."""

from __future__ import annotations

import inspect

from aamc_sdk.interfaces import ConfigFormat, Provider
from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.findings import require
from aamc_sdk.testing.subject import Subject


def check_a_provider_is_asynchronous(subject: Subject) -> None:
    """``complete`` is a coroutine function, ``stream`` an asynchronous iterator, and ``dialect`` a name."""
    require(issubclass(subject.target, Provider), "a provider must be a subclass of aamc_sdk.interfaces.Provider")
    require(inspect.iscoroutinefunction(subject.target.complete), "complete must be a coroutine function (async def)")
    streams = inspect.isasyncgenfunction(subject.target.stream) or not inspect.iscoroutinefunction(subject.target.stream)
    require(streams, "stream must return an asynchronous iterator, not a coroutine")
    require(isinstance(subject.target.dialect, str) and subject.target.dialect, "dialect must name the wire dialect")


def check_it_leaves_other_files_alone(subject: Subject) -> None:
    """A configuration format recognizes neither an empty file nor one of the SDK's own format."""
    found = subject.target()
    require(isinstance(found, ConfigFormat), "a configuration format must be a subclass of aamc_sdk.interfaces.ConfigFormat")
    for content in ({}, {"router": "thompson", "seed": 1}):
        require(not found.recognizes(content), f"it recognizes {content!r}, which has another format")


PROVIDER_CHECKS = (*OPTION_CHECKS, check_a_provider_is_asynchronous)
CONFIG_FORMAT_CHECKS = (check_it_leaves_other_files_alone,)
