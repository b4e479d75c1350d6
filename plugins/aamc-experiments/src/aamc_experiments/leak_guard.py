"""The leak guard: rows that a router or its estimator was trained on are left out of its evaluation, or refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.data import Readers, TrainingFingerprint, check_unchanged, decision_name, group_name, read_splits, read_whole, row_names
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_sdk.errors import DataError
from aamc_sdk.types import Dataset, tenant_user

logger = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class EvaluationRows:
    """The rows of an evaluation.

    Attributes:
        rows: The rows.
        split: The name of the run's own split that they are; None for other data.
        dropped: The number of rows that were left out because a component was trained on them.
    """

    rows: Dataset
    split: str | None = "test"
    dropped: int = 0


def read_evaluation_rows(run: RunFolder, settings: Settings, readers: Readers, source: Source | None, split: str) -> EvaluationRows:
    """Read the rows to evaluate a run on: other data without its training rows, or one of its own splits.

    Args:
        run: The run.
        settings: The run's settings, with the ``evaluation.strict`` of this evaluation.
        readers: Makes the reader of a source.
        source: Other data; None for rows of the run itself.
        split: One of the run's splits; ignored with a source.

    Raises:
        DataError: No row is left, ``strict`` is set and a component was trained on a row, or the run's data has changed.
    """
    strict = settings.evaluation.strict
    if source is not None:
        return attrs.evolve(leave_out_trained_rows(read_whole(source, readers), run.fingerprints, strict), split=None)
    try:
        found = EvaluationRows(read_splits(settings, readers)[split], split)
    except DataError as error:
        why = f"the data of {run.folder} cannot be read again: {str(error).partition(';')[0]}"
        raise DataError(f"{why}; name the same rows elsewhere with --dataset {settings.dataset.name}:PATH: trained ones are left out") from error
    if split == "test":  # the splits are disjoint; only checkpoints from other runs may have been trained on test rows
        found = leave_out_trained_rows(found.rows, run.fingerprints[1:], strict)
    else:
        logger.warning("the run was trained on its %s rows: its results there do not carry over to other questions", split)
    check_unchanged({split: Dataset(found.rows.queries)}, run.splits, run.folder)  # outcomes come later, from the environment
    return found


def leave_out_trained_rows(rows: Dataset, fingerprints: Sequence[TrainingFingerprint], strict: bool, near_duplicates: bool = True) -> EvaluationRows:
    """Return the rows without those that some fingerprint contains.

    Args:
        rows: Rows to evaluate.
        fingerprints: The training rows of all components.
        strict: Whether a training row among them is an error.
        near_duplicates: Whether near-duplicates of training rows are left out too.

    Raises:
        DataError: All rows are training rows, or ``strict`` is set and some are.
    """
    trained = trained_rows(_names(rows), fingerprints, near_duplicates)
    if not trained.any():
        return EvaluationRows(rows)
    example = shorten(rows.queries[int(trained.argmax())].text, 80)
    what = "were trained on, or near-duplicates of them," if near_duplicates else "were trained on,"
    found = f"{trained.sum()} of {len(rows)} rows of {rows.source or 'the data'} {what} such as {example!r}"
    if strict:
        raise DataError(f"{found}; give other rows, or leave out --strict to evaluate the rest")
    if trained.all():
        raise DataError(f"{found}; none is left to evaluate: use rows that no component was trained on, or train the run on others")
    logger.warning("%s; they are left out", found)
    return EvaluationRows(rows.take(np.flatnonzero(~trained)), dropped=int(trained.sum()))


def trained_rows(names: Sequence[str], fingerprints: Iterable[TrainingFingerprint], near_duplicates: bool = True) -> NDArray[np.bool_]:
    """Return whether some fingerprint contains each row, by the rows' names, ``[Q]``."""
    unique = list(dict.fromkeys(names))
    trained = np.zeros(len(unique), dtype=bool)
    for fingerprint in fingerprints:
        trained |= fingerprint.contains(unique) if near_duplicates else fingerprint.contains_equal(unique)
    found = dict(zip(unique, trained.tolist(), strict=True))
    return np.array([found[name] for name in names], dtype=bool)


def fingerprint_of(splits: Mapping[str, Dataset]) -> TrainingFingerprint:
    """Return the fingerprint of a run's own rows: training rows, and validation rows, which decide when training stops."""
    return TrainingFingerprint.of(_trained_questions(splits))


def _trained_questions(splits: Mapping[str, Dataset]) -> list[str]:
    """Return the names of training rows: their questions or decisions, and their groups or users, by which rows with groups are compared."""
    trained = [splits[name] for name in ("train", "validation") if name in splits]
    groups = {group for rows in trained for group in rows.groups or () if group}
    users = {tenant_user(query.user, query.tenant) for rows in trained for query in rows.queries if query.user is not None}
    return [*map(group_name, groups | users), *(name for rows in trained for name in _names(attrs.evolve(rows, groups=None)))]


def _names(rows: Dataset) -> list[str]:
    """Return the name of each row, ``[Q]``; for a row without text that of its decision, where each row is one."""
    names = row_names(rows)
    if rows.experience is None or not rows.rows_are_decisions:
        return names
    return [name or decision_name(decision_id) for name, decision_id in zip(names, rows.experience.rows, strict=True)]


def other_fingerprints(fingerprints: Iterable[TrainingFingerprint], splits: Mapping[str, Dataset]) -> list[TrainingFingerprint]:
    """Return the fingerprints of rows other than a run's own, which the splits already keep apart from its test rows."""
    own = _trained_questions(splits)
    return [fingerprint for fingerprint in fingerprints if not fingerprint.is_of(own)]


def checkpoint_fingerprints(folders: Iterable[Path], strict: bool) -> list[TrainingFingerprint]:
    """Return the training rows of checkpoints, read from the runs that hold them, once for each run.

    Args:
        folders: The folders of routers and estimators.
        strict: Whether a checkpoint with unknown training rows is an error; else it is a warning.

    Raises:
        DataError: ``strict`` is set, and a checkpoint is outside a run or its run has no fingerprints.
        CheckpointError: A run is damaged.
    """
    fingerprints: dict[Path, list[TrainingFingerprint]] = {}
    for folder in folders:
        run = RunFolder.holding(folder)
        if run is not None and run.content.get("fingerprints"):
            if run.folder not in fingerprints:
                fingerprints[run.folder] = run.fingerprints
            continue
        why = "it is in no run's folder" if run is None else "its run was made by another version and does not say"
        unknown = f"what {folder} was trained on is not known, for {why}"
        if strict:
            raise DataError(f"{unknown}; name a checkpoint in the folder of a run that does, or evaluate without --strict")
        logger.warning("%s: test rows may be among it", unknown)
    return [fingerprint for of_run in fingerprints.values() for fingerprint in of_run]
