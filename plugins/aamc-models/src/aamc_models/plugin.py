"""The hooks of this package; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_providers() -> list[Component]:
    """Offer the providers."""
    return [
        Component("openai", "aamc_models.providers.openai:OpenAI", "Servers with OpenAI's API."),
        Component("litellm", "aamc_models.providers.litellm:LiteLLM", "Servers of other dialects, through LiteLLM as a library."),
        Component("anthropic", "aamc_models.providers.anthropic:Anthropic", "Servers with Anthropic's Messages API."),
    ]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the commands about models, and the collection of outcomes."""
    return [
        Component("models check", "aamc_models.commands.check:check", "Call each model of a pool once and suggest fixes."),
        Component("models prices", "aamc_models.commands.prices:prices", "Fill a pool file with list prices."),
        Component("data collect", "aamc_models.commands.collect:collect", "Ask your models your questions, judge the answers, and write outcomes."),
    ]
