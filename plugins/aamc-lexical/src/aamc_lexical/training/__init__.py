"""Training on any embedding: the training rows, and experts of quality by cross-fitting, and lengths of answers."""

from aamc_lexical.training.cross_fitting import FittedParts, TrainingResult, smoothing_experts, with_lengths, with_quality
from aamc_lexical.training.training_rows import Rows, TrainingRows

__all__ = ["FittedParts", "Rows", "TrainingResult", "TrainingRows", "smoothing_experts", "with_lengths", "with_quality"]
