"""Judges: they score the answers to a prompt from 0 to 1."""

from aamc_models.collect.judges.interface import Ask, Judge
from aamc_models.collect.judges.model_judge import RubricJudge
from aamc_models.collect.judges.specs import make_judge

__all__ = ["Ask", "Judge", "RubricJudge", "make_judge"]
