"""The expected quality of each candidate, from an embedding."""

from aamc_lexical.quality.cross_validation import Questions, fold_of, stacking_weights
from aamc_lexical.quality.experts import CategoryExpert, Expert, HeadExpert
from aamc_lexical.quality.smoothing import known_outcomes, near_count, nearest_rows, ridge_coefficients, shrunken_means, unit_rows

__all__ = [
    "CategoryExpert",
    "Expert",
    "HeadExpert",
    "Questions",
    "fold_of",
    "known_outcomes",
    "near_count",
    "nearest_rows",
    "ridge_coefficients",
    "shrunken_means",
    "stacking_weights",
    "unit_rows",
]
