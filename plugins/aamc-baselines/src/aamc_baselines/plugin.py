"""What this plugin offers."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the baselines and the learned routers."""
    return [
        Component("llm-only", "aamc_baselines.simple.fixed:LlmOnly", "Always the largest model."),
        Component("slm-only", "aamc_baselines.simple.fixed:SlmOnly", "Always one cheap model that is good enough on average."),
        Component(
            "best-single", "aamc_baselines.simple.best_single:BestSingle", "The candidate with the best mean training reward under the preference."
        ),
        Component("rule", "aamc_baselines.simple.rule:Rule", "A small, a middle or a large model by thresholds on the estimated complexity."),
        Component("random", "aamc_baselines.simple.uniform:Random", "Any allowed candidate, each as likely as the others."),
        Component("greedy", "aamc_baselines.simple.greedy:Greedy", "The greatest expected utility, by the estimator's quality."),
        Component("supervised", "aamc_baselines.supervised.router:Supervised", "A classifier of the best candidate under the preference."),
        Component("knn", "aamc_baselines.learned.knn:Knn", "The quality of the nearest training queries, into the reward."),
        Component("ridge", "aamc_baselines.learned.ridge:Ridge", "Ridge regression of each candidate's quality, into the reward."),
        Component("logistic", "aamc_baselines.learned.logistic:Logistic", "Logistic regression of each candidate's quality, into the reward."),
        Component("svm", "aamc_baselines.learned.svm:Svm", "Support vector machines with calibrated margins, into the reward."),
        Component("mlp", "aamc_baselines.learned.mlp:Mlp", "A neural network with one hidden layer, into the reward."),
        Component("gbdt", "aamc_baselines.learned.gbdt:Gbdt", "Gradient-boosted trees of each candidate's quality, into the reward."),
        Component("mf", "aamc_baselines.learned.mf:Mf", "Matrix factorization as in RouteLLM, of outcomes or comparisons, into the reward."),
        Component("irt", "aamc_baselines.learned.irt:Irt", "Multidimensional item response theory, into the reward."),
        Component(
            "ensemble", "aamc_baselines.learned.ensemble:Ensemble", "A blend of learned routers with weights from cross-validation, into the reward."
        ),
        Component("oracle", "aamc_baselines.simple.greedy:Oracle", "The greatest utility in hindsight: a yardstick, never served."),
    ]
