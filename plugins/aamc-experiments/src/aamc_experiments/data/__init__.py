"""Reading and dividing datasets, and the guard against training on test questions."""

from aamc_experiments.data.splits import (
    SPLITS,
    Groups,
    Readers,
    about_split,
    check_same_candidates,
    check_unchanged,
    fit_to_pool,
    read_splits,
    split_hash,
    split_rows,
)
from aamc_experiments.data.training_fingerprint import TrainingFingerprint
from aamc_experiments.data.votes import typical_outcomes

__all__ = [
    "SPLITS",
    "Groups",
    "Readers",
    "TrainingFingerprint",
    "about_split",
    "check_same_candidates",
    "check_unchanged",
    "fit_to_pool",
    "read_splits",
    "split_hash",
    "split_rows",
    "typical_outcomes",
]
