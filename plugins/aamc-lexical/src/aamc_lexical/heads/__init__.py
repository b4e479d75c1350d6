"""Heads on an embedding: complexity, category, tool use and quality."""

from aamc_lexical.heads.head_weights import HeadOutputs, HeadWeights
from aamc_lexical.heads.targets import UNLABELLED, Targets

__all__ = ["UNLABELLED", "HeadOutputs", "HeadWeights", "Targets"]
