"""Checks of the components that plugins announce, and of their classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from aamc_sdk.errors import PluginError
from aamc_sdk.hookspecs import Component

_WITHOUT_INTERFACE = frozenset({"model_pool", "command", "check"})
"""The kinds whose targets need not be classes."""
_NAME = re.compile(r"[^\W_][\w.-]*")
"""The name of a component, or a word of a command's path."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""A character that ends a line or steers a terminal."""


def kind_text(kind: str) -> str:
    """Return a kind in words, for messages."""
    return kind.replace("_", " ")


def check_class(kind: str, description: str, target: Any) -> None:
    """Check that the target is a class with its kind's interface, if that has one, and with the class attributes that are read before it is made."""
    if kind in _WITHOUT_INTERFACE:  # first, as the interfaces take commands a third of their time to start
        return
    from aamc_sdk.interfaces import INTERFACES, NoOptions, Requirements

    base = INTERFACES[kind]
    if not (isinstance(target, type) and issubclass(target, base)):
        raise PluginError(f"{description} must be a class that derives from aamc_sdk.interfaces.{base.__name__}, not {target!r:.80}")
    config = getattr(target, "Config", NoOptions)
    if not (isinstance(config, type) and attrs.has(config)):
        raise PluginError(f"Config of {description} must be an attrs class of its options, not {config!r:.80}")
    requires = getattr(target, "requires", Requirements())
    if kind == "router" and not isinstance(requires, Requirements | property):
        raise PluginError(f"requires of {description} must be aamc_sdk.Requirements, not {requires!r:.80}")
    dataset = getattr(target, "default_dataset", None)
    if kind == "orchestrator" and not isinstance(dataset, str | None):
        raise PluginError(f"default_dataset of {description} must be text such as 'tasks:mixed', or None, not {dataset!r:.80}")


def checked_components(kind: str, result: object) -> list[Component]:
    """Return the result of a component hook, which must be a list of components with valid names and targets."""
    if not isinstance(result, Iterable):
        raise PluginError(f"a component hook must return a list of aamc_sdk.Component, not {result!r:.200}")
    components = list(result)
    for component in components:
        _check_component(kind, component)
    return components


def _check_component(kind: str, component: object) -> None:
    if not isinstance(component, Component):
        raise PluginError(f"a component hook must return a list of aamc_sdk.Component, not of {type(component).__name__}")
    name, target = component.name, component.target
    words = name.split(" ") if isinstance(name, str) and kind == "command" else [name]
    if not all(isinstance(word, str) and _NAME.fullmatch(word) for word in words):
        allowed = "must begin with a letter or digit and hold only letters, digits, '-', '_' and '.'"
        raise PluginError(f"the name of a {kind_text(kind)} {allowed}{', or be several such words' if kind == 'command' else ''}, not {name!r}")
    if (kind, name) == ("estimator", "none"):
        raise PluginError("no estimator can be named 'none': --estimator none chooses to have none; rename it")
    if not isinstance(component.summary, str) or _CONTROL.search(component.summary):
        raise PluginError(f"the summary of component {name!r} must be one line without control characters, not {component.summary!r:.80}")
    if not isinstance(target, str) or target.count(":") != 1:
        raise PluginError(f"component {name!r} must name its class as 'package.module:Class', not {target!r}")
