"""The training rows of an estimator."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_lexical.config import LearningConfig
from aamc_lexical.heads.targets import Targets
from aamc_lexical.quality.cross_validation import Questions, numbered
from aamc_lexical.text_length import LengthFeature
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Training

Rows = NDArray[np.intp]


@attrs.frozen(kw_only=True, eq=False)
class TrainingRows:
    """The training and validation rows of an estimator.

    Attributes:
        training: The dataset, the folder for checkpoints, whether to resume, and the progress reporter.
        texts: Texts of all N training rows.
        questions: Their questions.
        targets: Labels of the training rows.
        rows: Indices of the rows to fit: all, or ``max_train_texts`` of them.
        validation_texts: Texts of the validation rows.
        validation_targets: Labels of the validation rows; None without any label of the heads that are trained.
        seed: Seed of all randomness.
    """

    training: Training
    texts: Sequence[str]
    questions: Questions
    targets: Targets
    rows: Rows
    validation_texts: Sequence[str]
    validation_targets: Targets | None
    seed: int

    @classmethod
    def of(cls, config: LearningConfig, training: Training, seed: int) -> TrainingRows:
        """Read the training and validation rows.

        Raises:
            DataError: There is no training row.
        """
        if not len(training.dataset):
            raise DataError("the training split is empty; give the estimator at least one row")
        texts = [query.text for query in training.dataset.queries]
        targets = Targets.of(training.dataset)
        validation = training.validation if training.validation is not None and len(training.validation) else None
        validation_targets = None if validation is None else Targets.of(validation, like=targets)
        return cls(
            training=training,
            texts=texts,
            questions=Questions.of(training.dataset),
            targets=targets,
            rows=np.sort(np.random.default_rng(seed).permutation(len(texts))[: config.max_train_texts or len(texts)]),
            validation_texts=[] if validation is None else [query.text for query in validation.queries],
            validation_targets=validation_targets if validation_targets is not None and validation_targets.has_labels(targets.head_sizes()) else None,
            seed=seed,
        )

    def labels_by_question(self, rows: Rows, labels: Rows) -> Rows:
        """Return a label for each of the N rows: that of the row of ``rows`` with its question or a near-duplicate, -1 without one.

        ``labels`` are those of ``rows``, equal for near-duplicates.
        """
        groups, first = np.unique(self.questions.group[rows], return_index=True)
        place = np.searchsorted(groups, self.questions.group).clip(max=len(groups) - 1)
        return np.where(groups[place] == self.questions.group, labels[first][place], -1)

    def distinct_texts(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return the first of some rows of each text, and the place of each row's text among them.

        A text that is embedded twice may differ by rounding, and so have other nearest rows among equally near ones.
        """
        place = numbered([self.texts[row] for row in rows])
        return rows[np.unique(place, return_index=True)[1]], place

    def text_length(self, characters: int) -> LengthFeature | None:
        """Return the length of a text as a feature, from the rows to fit, where ``characters`` of a text are read."""
        return LengthFeature.fit([self.texts[row] for row in self.rows], characters)
