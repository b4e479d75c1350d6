"""Dataset format ``arena``: votes of Chatbot Arena, each on two models' answers to one prompt.

For example https://huggingface.co/datasets/lmsys/lmsys-arena-human-preference-55k (Apache-2.0). Columns ``model_a``,
``model_b``, ``prompt``, and either ``winner`` or one each of ``winner_model_a``, ``winner_model_b``, ``winner_tie``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aamc_datasets.columns import Column, column_names, read_columns, require_columns
from aamc_datasets.recognition import hint, table_file
from aamc_sdk import Dataset, DatasetFormat, Decision, Experience, Feedback, ModelSpec, Pool, Preference, Query
from aamc_sdk.batch import Estimates
from aamc_sdk.errors import DataError, one_of

PLAYERS = ("model_a", "model_b")
PROMPT, WINNER, ONE_HOT = "prompt", "winner", ("winner_model_a", "winner_model_b", "winner_tie")
A, B, TIE = range(3)
VERDICTS = {"model_a": A, "model_b": B, "tie": TIE, "tie (bothbad)": TIE, "both_bad": TIE}
"""The values of ``winner``."""
SOURCE = "arena"


class Arena(DatasetFormat):
    """Comparisons, for routers that learn from them; nobody measured an outcome."""

    def read(self, path: str) -> Dataset:
        """Read a CSV or Parquet file of votes.

        Raises:
            DataError: It is missing, of another format, or has a bad row.
        """
        file = table_file(path, "arena")
        found = column_names(file)
        winners = (WINNER,) if WINNER in found else ONE_HOT if set(ONE_HOT) <= set(found) else (WINNER,)
        require_columns(file, (*PLAYERS, PROMPT, *winners), found, hint(file, "arena"))
        columns = read_columns(file, (*PLAYERS, PROMPT, *winners))
        first, second = (columns[name].texts() for name in PLAYERS)
        queries = [Query(_first_turn(prompt)) for prompt in columns[PROMPT].texts()]
        verdicts = _verdicts(file, columns)
        pool = Pool(ModelSpec(name) for name in sorted({*first, *second}))
        return Dataset(queries, pool=pool, experience=_experience(file, queries, first, second, verdicts), source=str(file))


def _first_turn(prompt: str) -> str:
    """Return what is asked first: prompts are a text, or a dialogue's turns as JSON, where half a surrogate pair may stand."""
    try:
        turns = json.loads(prompt) if prompt.startswith("[") else None
    except ValueError:
        return prompt
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str) or not turns[0].strip():
        return prompt
    return turns[0].encode(errors="replace").decode()


def _verdicts(file: Path, columns: Mapping[str, Column]) -> list[int]:
    """Return each row's verdict."""
    if WINNER in columns:
        names = columns[WINNER].names()
        for row, name in enumerate(names):
            if name not in VERDICTS:
                raise DataError(f"{file}, row {row + 1}: {WINNER} must be one of {one_of(VERDICTS)}, not {name!r}")
        return [VERDICTS[name] for name in names]
    marks = np.stack([columns[name].scores() for name in ONE_HOT], axis=1)
    wrong = np.flatnonzero((np.sort(marks, axis=1) != (0, 0, 1)).any(axis=1))
    if len(wrong):
        raise DataError(f"{file}, row {wrong[0] + 1}: exactly one of {', '.join(ONE_HOT)} must be 1 and the others 0")
    return [int(verdict) for verdict in marks.argmax(axis=1)]


def _experience(file: Path, queries: Sequence[Query], first: Sequence[str], second: Sequence[str], verdicts: Sequence[int]) -> Experience:
    """Return the votes as a log: the first model served, and the feedback says who beat whom."""
    decisions, feedback = [], []
    for row, (a, b, verdict) in enumerate(zip(first, second, verdicts, strict=True)):
        if a == b:
            raise DataError(f"{file}, row {row + 1}: {a!r} stands against itself; leave such rows out")
        decisions.append(Decision(f"{SOURCE}/{row}", a, propensity=np.nan, preference=Preference(1, 0, 0), router=SOURCE))
        winner, loser = (b, a) if verdict == B else (a, b)
        feedback.append(Feedback(decision_id=f"{SOURCE}/{row}", candidate=winner, over=loser, tie=verdict == TIE, source=SOURCE))
    return Experience(len(queries), queries, Estimates.unknown(len(queries)), decisions, feedback=feedback)
