"""Datasets of experiments: reading, dividing into splits, near-duplicates, and fingerprints of training rows."""

from aamc_experiments.data.splits import (
    SPLITS,
    Groups,
    Readers,
    about_split,
    check_same_candidates,
    check_unchanged,
    fit_to_pool,
    group_name,
    read_dataset,
    read_splits,
    read_whole,
    row_names,
    split_hash,
    split_rows,
)
from aamc_experiments.data.training_fingerprint import TrainingFingerprint, decision_name

__all__ = [
    "SPLITS",
    "Groups",
    "Readers",
    "TrainingFingerprint",
    "about_split",
    "check_same_candidates",
    "check_unchanged",
    "decision_name",
    "fit_to_pool",
    "group_name",
    "read_dataset",
    "read_splits",
    "read_whole",
    "row_names",
    "split_hash",
    "split_rows",
]
