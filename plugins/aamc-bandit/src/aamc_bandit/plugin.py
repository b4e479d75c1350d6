"""The components of aamc-bandit."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Return the routers that learn online."""
    best = "Takes the best candidate by the same posteriors, and with probability epsilon any candidate."
    return [
        Component("thompson", "aamc_bandit.thompson:Thompson", "Draws each candidate with the probability that it is the best."),
        Component("epsilon-greedy", "aamc_bandit.thompson:EpsilonGreedy", best),
        Component("linear-thompson", "aamc_bandit.linear:LinearThompson", "Learns online how each candidate's quality depends on the query."),
        Component("canary", "aamc_bandit.trials.canary:Canary", "A new router serves a share of the requests, the stable one the rest."),
        Component("paced", "aamc_bandit.pacing.router:Paced", "Keeps budgets and a service level around any router."),
        Component("shadow", "aamc_bandit.trials.shadow:Shadow", "One router serves, and decisions record the choices of another."),
    ]


@hookimpl
def aamc_commands() -> list[Component]:
    """Return the command that compares routers on trial."""
    return [Component("canary", "aamc_bandit.trials.canary_command:canary", "Test whether a new router (canary or shadow) beats the stable one.")]


@hookimpl
def aamc_config_formats() -> list[Component]:
    """Return the format of vLLM Semantic Router's files."""
    target = "aamc_bandit.semantic_router:SemanticRouterFormat"
    return [Component("vllm-semantic-router", target, "Configuration files of vLLM Semantic Router.")]
