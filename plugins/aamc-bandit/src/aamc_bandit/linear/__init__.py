"""Linear contextual bandit: Thompson sampling or LinUCB on a Bayesian linear regression per candidate."""

from aamc_bandit.linear.router import LinearThompson, LinearThompsonOptions

__all__ = ["LinearThompson", "LinearThompsonOptions"]
