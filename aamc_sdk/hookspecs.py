"""Specifications of the hooks.

A component hook is called once, when plugins are discovered, and returns a list of
:class:`Component`. It must be quick: a component names its class as a string, so that
listing components imports no implementation.

The other hooks are events. ``aamc_decided`` and ``aamc_learned`` run on a thread of their own,
after the entry is durable in the log, ``aamc_run_finished`` in the command. Their errors are
logged and have no other effect.
"""

# Specifications have no bodies:
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from aamc_sdk.types import Decision, Feedback

PROJECT = "aamc"
"""The name of the pluggy project and of the entry-point group."""
hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks a function as a hook specification."""
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of a hook."""


@attrs.frozen
class Component:
    """A component that a plugin offers.

    Attributes:
        name: The name that users type; for commands a path such as ``"bench bandit"``.
        target: The class as ``"package.module:Class"``; imported when the component is used.
        summary: One sentence for ``aamc plugins``, on one line.
        listed: Whether ``aamc plugins`` lists it. An unlisted component, for tests or under a second name, can be used by name; a listed component
            of the same name takes precedence.
    """

    name: str
    target: str
    summary: str
    listed: bool = attrs.field(default=True, kw_only=True)


@hookspec
def aamc_estimators() -> list[Component]:
    """Announce estimators: classes of :class:`aamc_sdk.interfaces.Estimator`."""


@hookspec
def aamc_routers() -> list[Component]:
    """Announce routers: classes of :class:`aamc_sdk.interfaces.Router`."""


@hookspec
def aamc_environments() -> list[Component]:
    """Announce environments: classes of :class:`aamc_sdk.interfaces.Environment`."""


@hookspec
def aamc_rewards() -> list[Component]:
    """Announce rewards: classes of :class:`aamc_sdk.interfaces.Reward`."""


@hookspec
def aamc_model_pools() -> list[Component]:
    """Announce model pools: functions without arguments that return a :class:`aamc_sdk.types.Pool`."""


@hookspec
def aamc_providers() -> list[Component]:
    """Announce providers: classes of :class:`aamc_sdk.interfaces.Provider`, named in a candidate's ``endpoint``."""


@hookspec
def aamc_datasets() -> list[Component]:
    """Announce dataset formats: classes of :class:`aamc_sdk.interfaces.DatasetFormat`."""


@hookspec
def aamc_agents() -> list[Component]:
    """Announce agents: classes of :class:`aamc_sdk.interfaces.Agent`."""


@hookspec
def aamc_orchestrators() -> list[Component]:
    """Announce orchestrators: classes of :class:`aamc_sdk.interfaces.Orchestrator`."""


@hookspec
def aamc_stores() -> list[Component]:
    """Announce stores: classes of :class:`aamc_sdk.interfaces.Store`, chosen by a URL's scheme."""


@hookspec
def aamc_config_formats() -> list[Component]:
    """Announce formats of other systems' configuration files: classes of :class:`aamc_sdk.interfaces.ConfigFormat`."""


@hookspec
def aamc_commands() -> list[Component]:
    """Announce commands: ``click.Command`` objects; the component's name is the path on the command line."""


@hookspec
def aamc_checks() -> list[Component]:
    """Announce checks for ``aamc doctor``: functions without arguments that return a list of :class:`aamc_sdk.interfaces.Diagnosis`."""


@hookspec
def aamc_decided(decision: Decision) -> None:
    """Called after a decision is in the log."""


@hookspec
def aamc_learned(feedback: Feedback) -> None:
    """Called after feedback is in the log and the router has learned from it; where no router learns, once feedback and decision are in the log."""


@hookspec
def aamc_run_finished(folder: Path) -> None:
    """Called after a run's folder is complete, ``metrics.json`` and ``decisions.npz`` included."""
