"""The components that this plugin offers."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the routers that learn online."""
    return [
        Component("thompson", "aamc_bandit.thompson.router:Thompson", "Draws each candidate with the probability that it is the best."),
        Component("epsilon-greedy", "aamc_bandit.thompson.router:EpsilonGreedy", "Takes the best by the same posteriors, and any candidate now and then."),
        Component("linear-thompson", "aamc_bandit.linear.router:LinearThompson", "Learns online how each candidate's quality depends on the query."),
        Component("canary", "aamc_bandit.trials.canary:Canary", "A new router serves a share of the requests beside one that has proved itself."),
        Component("shadow", "aamc_bandit.trials.shadow:Shadow", "One router serves, and decisions note what another would have done."),
    ]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the comparison of a canary."""
    return [Component("canary", "aamc_bandit.trials.canary_command:canary", "Say whether a canary, or a router in a shadow, is better.")]


@hookimpl
def aamc_config_formats() -> list[Component]:
    """Offer the format of vLLM Semantic Router's files."""
    target = "aamc_bandit.semantic_router:SemanticRouterFormat"
    return [Component("vllm-semantic-router", target, "Configuration files of vLLM Semantic Router.")]
