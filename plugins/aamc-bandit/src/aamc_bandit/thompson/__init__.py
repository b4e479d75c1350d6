"""Thompson sampling and epsilon-greedy on Beta posteriors, with the state file that ``storage_path`` names."""

from aamc_bandit.thompson.beta_evidence import BetaEvidence
from aamc_bandit.thompson.evidence_keys import EvidenceKeys, session_key
from aamc_bandit.thompson.options import EpsilonGreedyOptions, ThompsonOptions
from aamc_bandit.thompson.router import EpsilonGreedy, Thompson

__all__ = ["BetaEvidence", "EpsilonGreedy", "EpsilonGreedyOptions", "EvidenceKeys", "Thompson", "ThompsonOptions", "session_key"]
