"""Datasets of questions with gold answers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aamc_sdk import Dataset
from aamc_sdk.errors import DataError


@attrs.frozen(eq=False)
class QuestionDataset(Dataset):
    """Questions, each with its gold answers.

    Attributes:
        golds: The gold answers of each question, Q tuples of at least one.
    """

    row_fields = ("golds",)
    golds: Sequence[tuple[str, ...]] = attrs.field(default=(), kw_only=True)


def golds_of(dataset: Dataset) -> Sequence[tuple[str, ...]]:
    """Return the gold answers of each row; a dataset with references has one each.

    Raises:
        DataError: The dataset has no gold answers.
    """
    if isinstance(dataset, QuestionDataset):
        return dataset.golds
    if dataset.references is not None:
        return [(reference,) for reference in dataset.references]
    raise DataError("the dataset has no gold answers; use questions with answers, such as nq:PATH or hotpotqa:PATH")
