"""What this plugin offers."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the baselines."""
    return [
        Component("llm-only", "aamc_baselines.fixed:LlmOnly", "Always the largest model."),
        Component("slm-only", "aamc_baselines.fixed:SlmOnly", "Always one cheap model that is good enough on average."),
        Component("best-single", "aamc_baselines.best_single:BestSingle", "The candidate with the best mean training reward under the preference."),
        Component("rule", "aamc_baselines.rule:Rule", "A small, a middle or a large model by thresholds on the estimated complexity."),
        Component("random", "aamc_baselines.chance:Random", "Any allowed candidate, each as likely as the others."),
        Component("greedy", "aamc_baselines.greedy:Greedy", "The greatest expected utility, by the estimator's quality."),
        Component("supervised", "aamc_baselines.supervised:Supervised", "A classifier of the best candidate under the preference."),
        Component("oracle", "aamc_baselines.greedy:Oracle", "The greatest utility in hindsight: a yardstick, never served."),
    ]
