"""What this package offers."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_estimators() -> list[Component]:
    """Offer the lexical estimator."""
    return [
        Component(
            "lexical", "aamc_lexical.estimator:LexicalEstimator", "A text's words and letters, without torch; expects each candidate's quality."
        )
    ]
