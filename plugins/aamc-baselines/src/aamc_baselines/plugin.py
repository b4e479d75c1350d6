"""The hooks of this package."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Announce the baselines and the learned routers."""
    return [
        Component("llm-only", "aamc_baselines.simple:LlmOnly", "Always the largest model."),
        Component("slm-only", "aamc_baselines.simple:SlmOnly", "Always one cheap model that is good enough on average."),
        Component("best-single", "aamc_baselines.simple:BestSingle", "The candidate with the best mean training reward under the preference."),
        Component("rule", "aamc_baselines.simple:Rule", "A small, a middle or a large model by thresholds on the estimated complexity."),
        Component("random", "aamc_baselines.simple:Random", "Any allowed candidate, with equal probability."),
        Component("greedy", "aamc_baselines.simple:Greedy", "The maximum expected utility, with the estimator's quality."),
        Component("supervised", "aamc_baselines.supervised:Supervised", "A classifier of the best candidate under the preference."),
        Component("knn", "aamc_baselines.learned.knn:Knn", "Maximum utility with the mean quality of the nearest training queries."),
        Component("ridge", "aamc_baselines.learned.ridge:Ridge", "Maximum utility with a ridge regression of each candidate's quality."),
        Component("logistic", "aamc_baselines.learned.logistic:Logistic", "Maximum utility with a logistic regression of each candidate's quality."),
        Component("svm", "aamc_baselines.learned.svm:Svm", "Maximum utility with support vector machines with calibrated margins."),
        Component("mlp", "aamc_baselines.learned.mlp:Mlp", "Maximum utility with a neural network with one hidden layer."),
        Component("gbdt", "aamc_baselines.learned.gbdt:Gbdt", "Maximum utility with gradient-boosted trees of each candidate's quality."),
        Component("mf", "aamc_baselines.learned.mf:Mf", "Maximum utility with matrix factorization of outcomes or comparisons, as in RouteLLM."),
        Component("irt", "aamc_baselines.learned.irt:Irt", "Maximum utility with multidimensional item response theory."),
        Component(
            "ensemble", "aamc_baselines.learned.ensemble:Ensemble", "Maximum utility with a blend of learned routers, weighted by cross-validation."
        ),
        Component("oracle", "aamc_baselines.simple:Oracle", "The maximum utility in hindsight, for comparison only; never served."),
    ]
