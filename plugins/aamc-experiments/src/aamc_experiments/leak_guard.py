"""The leak guard: rows of an evaluation that a router or its estimator was trained on are left out, or refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import attrs
import numpy as np

from aamc_experiments.data.splits import Readers, check_unchanged, read_splits, read_whole
from aamc_experiments.data.training_fingerprint import TrainingFingerprint
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings, Source
from aamc_sdk.errors import DataError
from aamc_sdk.types import Dataset, question

logger = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Tested:
    """The rows of an evaluation.

    Attributes:
        rows: The rows.
        split: Which of the run's own splits they are; None for other data.
        dropped: How many more there were, which had been trained on.
    """

    rows: Dataset
    split: str | None = "test"
    dropped: int = 0


def rows_to_evaluate(run: RunFolder, settings: Settings, readers: Readers, source: Source | None, split: str) -> Tested:
    """Return the rows to evaluate a run on: of other data those that it was not trained on, else one of its own splits.

    Args:
        run: Whose routers are evaluated.
        settings: The run's, with ``evaluation.strict`` as it is to be.
        readers: Make the reader of a source.
        source: Other data, or None.
        split: Which of the run's splits, where there is no other data.

    Raises:
        DataError: Nothing is left, rows were trained on and that is to be an error, or the run's data has changed.
    """
    strict = settings.evaluation.strict
    if source is not None:
        return attrs.evolve(guard(read_whole(source, readers), run.seals, strict), split=None)
    tested = Tested(read_splits(settings, readers)[split], split)
    if split == "test":  # its own training rows are none of them; those of checkpoints that it took over may be
        tested = guard(tested.rows, run.seals[1:], strict)
    else:
        logger.warning("the run was trained on its %s rows: what it does there says nothing of other questions", split)
    check_unchanged({split: Dataset(tested.rows.queries)}, run.content["splits"], run.folder)  # what came of them is the environment's to say
    return tested


def guard(test: Dataset, seals: Sequence[TrainingFingerprint], strict: bool) -> Tested:
    """Leave out the rows that were trained on.

    Args:
        test: Rows to evaluate.
        seals: What was trained on.
        strict: Whether such rows are an error.

    Raises:
        DataError: There are such rows and that is an error, or there are no others.
    """
    questions = [question(query) for query in test.queries]
    trained = np.zeros(len(test), dtype=bool)
    for seal in seals:
        trained |= seal.holds(questions)
    if not trained.any():
        return Tested(test)
    example = shorten(test.queries[int(trained.argmax())].text, 80)
    found = f"{trained.sum()} of {len(test)} rows of {test.source or 'the data'} were trained on, or near-duplicates of them, such as {example!r}"
    if strict:
        raise DataError(f"{found}; give other rows, or leave out --strict to evaluate the rest")
    if trained.all():
        raise DataError(f"{found}; none is left to evaluate: give other rows, or evaluate the run's own by --split train")
    logger.warning("%s; they are left out", found)
    return Tested(test.take(np.flatnonzero(~trained)), dropped=int(trained.sum()))


def seal_of(splits: Mapping[str, Dataset]) -> TrainingFingerprint:
    """Return the seal of a run's own rows: validation rows count too, for training stops and chooses by them."""
    return TrainingFingerprint.of([question(query) for name in ("train", "validation") for query in splits[name].queries])


def checkpoint_seals(folders: Iterable[Path], strict: bool) -> list[TrainingFingerprint]:
    """Return what checkpoints were trained on, as the runs that hold them say.

    Args:
        folders: A router's or an estimator's folder each.
        strict: Whether a checkpoint of which nobody knows that, for it is outside a run or its run does not say, is an error.

    Raises:
        DataError: It is one.
        CheckpointError: What a run says is damaged.
    """
    seals: list[TrainingFingerprint] = []
    for folder in folders:
        run = next((RunFolder.open(above) for above in folder.resolve().parents[:2] if (above / "run.yaml").is_file()), None)
        if run is not None and run.content.get("seals"):
            seals += run.seals
            continue
        why = "it is in no run's folder" if run is None else "its run was made by another version and does not say"
        unknown = f"what {folder} was trained on is not known, for {why}"
        if strict:
            raise DataError(f"{unknown}; name a checkpoint in the folder of a run that does, or evaluate without --strict")
        logger.warning("%s: test rows may be among it", unknown)
    return seals
