"""The components of the core, offered through the same hooks as those of any plugin."""

from __future__ import annotations

from aamc_sdk.hookspecs import Component, hookimpl


@hookimpl
def aamc_rewards() -> list[Component]:
    """Offer the default reward."""
    return [Component("linear", "aamc_sdk.routing.rewards:LinearReward", "Quality, cheapness and quickness on the scales of the training data.")]


@hookimpl
def aamc_model_pools() -> list[Component]:
    """Offer the default pool."""
    return [Component("default", "aamc_sdk.routing.pools:default_pool", "Seven models from small to very large, at public list prices.")]


@hookimpl
def aamc_providers() -> list[Component]:
    """Offer the provider that calls no model."""
    return [Component("echo", "aamc_sdk.serving.models.echo:Echo", "Answers with the last message, or a fixed reply; calls no model.")]


@hookimpl
def aamc_stores() -> list[Component]:
    """Offer the stores that need no server."""
    return [
        Component("sqlite", "aamc_sdk.log.sqlite.store:SqliteStore", "A file, durable through group commit; sqlite:PATH."),
        Component("memory", "aamc_sdk.log.memory:MemoryStore", "In memory only, lost with the process; memory:."),
    ]


@hookimpl
def aamc_checks() -> list[Component]:
    """Offer the checks of torch and the working folder, which several plugins use."""
    return [
        Component("torch", "aamc_sdk.cli.commands.doctor:check_torch", "torch and its devices."),
        Component("folder", "aamc_sdk.cli.commands.doctor:check_folder", "The working folder."),
    ]
