"""Dataset format ``arena``: votes of Chatbot Arena, each between two models' answers to one prompt.

An example is https://huggingface.co/datasets/lmsys/lmsys-arena-human-preference-55k (Apache-2.0). Columns: ``model_a``,
``model_b``, ``prompt``, and either ``winner`` or all of ``winner_model_a``, ``winner_model_b`` and ``winner_tie``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np

from aamc_datasets.columns import TableColumn, column_names, read_columns, require_columns
from aamc_datasets.recognition import hint, single_file
from aamc_sdk import Dataset, DatasetFormat, Decision, Experience, Feedback, ModelSpec, Pool, Preference, Query, option
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.types import Estimates

PLAYERS = ("model_a", "model_b")
PROMPT, WINNER, ONE_HOT = "prompt", "winner", ("winner_model_a", "winner_model_b", "winner_tie")
A, B, TIE = range(3)
VERDICTS = {"model_a": A, "model_b": B, "tie": TIE, "tie (bothbad)": TIE, "both_bad": TIE}
"""The values of ``winner``."""
SOURCE = "arena"


class _Vote(NamedTuple):
    """A row of the file: its number, two models, and the verdict."""

    row: int
    first: str
    second: str
    verdict: int


@attrs.frozen(kw_only=True)
class ArenaVotesOptions:
    """Options of ``arena``."""

    candidates: Mapping[str, list[str]] = option(
        {}, "Models that count as one candidate, such as {gpt-4: [gpt-4-0314, gpt-4-0613]}; votes between two of them are left out."
    )

    @property
    def candidate_of(self) -> dict[str, str]:
        """The candidate of each model that counts as another candidate."""
        return {model: candidate for candidate, models in self.candidates.items() for model in models}

    def __attrs_post_init__(self) -> None:
        models = [model for models in self.candidates.values() for model in models]
        if repeated := {model for model in models if models.count(model) > 1}:
            raise ConfigError(f"a model counts as one candidate; candidates lists in several places: {one_of(repeated)}; list each once")


class ArenaVotes(DatasetFormat):
    """Votes as comparisons, for routers that learn from comparisons; there are no outcomes."""

    Config = ArenaVotesOptions

    def read(self, path: str) -> Dataset:
        """Read a CSV or Parquet file of votes.

        Raises:
            DataError: The file is missing, has another format, or contains an invalid row.
        """
        file = single_file(path, "arena")
        found = column_names(file)
        winners = (WINNER,) if WINNER in found else ONE_HOT if set(ONE_HOT) <= set(found) else (WINNER,)
        require_columns(file, (*PLAYERS, PROMPT, *winners), found, hint(file, "arena"))
        columns = read_columns(file, (*PLAYERS, PROMPT, *winners))
        prompts = columns[PROMPT].texts()
        votes = self._counted(_votes(file, columns))
        queries = [Query(_first_turn(prompts[vote.row])) for vote in votes]
        pool = Pool(ModelSpec(name) for name in sorted({name for vote in votes for name in (vote.first, vote.second)}))
        return Dataset(queries, pool=pool, experience=_experience(queries, votes), source=str(file))

    def _counted(self, votes: Sequence[_Vote]) -> list[_Vote]:
        """Return the votes between different candidates.

        Raises:
            DataError: The options name a model without votes, or no vote is left.
        """
        known, candidate_of = {name for vote in votes for name in (vote.first, vote.second)}, self.config.candidate_of
        for model in candidate_of:
            if model not in known:
                raise DataError(f"candidates name {model!r}, and no vote is on such a model{nearest(model, known)}")
        renamed = [vote._replace(first=candidate_of.get(vote.first, vote.first), second=candidate_of.get(vote.second, vote.second)) for vote in votes]
        counted = [vote for vote in renamed if vote.first != vote.second]
        if not counted:
            raise DataError("no vote is between two candidates; let fewer models count as one")
        return counted


def _first_turn(prompt: str) -> str:
    """Return the first turn of a prompt: a text, or a JSON list of turns, which may contain unpaired surrogates."""
    try:
        turns = json.loads(prompt) if prompt.startswith("[") else None
    except (ValueError, RecursionError):
        return prompt
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str) or not turns[0].strip():
        return prompt
    return turns[0].encode(errors="replace").decode()


def _votes(file: Path, columns: Mapping[str, TableColumn]) -> list[_Vote]:
    """Return every row's vote."""
    first, second = (columns[name].texts() for name in PLAYERS)
    votes = [_Vote(row, *rest) for row, rest in enumerate(zip(first, second, _verdicts(file, columns), strict=True))]
    for vote in votes:
        if vote.first == vote.second:
            raise DataError(f"{file}, row {vote.row + 1}: {vote.first!r} is compared with itself; remove such rows")
    return votes


def _verdicts(file: Path, columns: Mapping[str, TableColumn]) -> list[int]:
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


def _experience(queries: Sequence[Query], votes: Sequence[_Vote]) -> Experience:
    """Return the votes as a log: the first candidate served each decision, and its feedback is the comparison."""
    decisions, feedback = [], []
    for row, first, second, verdict in votes:
        decisions.append(Decision(f"{SOURCE}/{row}", first, propensity=np.nan, preference=Preference(1, 0, 0), router=SOURCE))
        winner, loser = (second, first) if verdict == B else (first, second)
        feedback.append(Feedback(decision_id=f"{SOURCE}/{row}", candidate=winner, over=loser, tie=verdict == TIE, source=SOURCE))
    return Experience(len(queries), queries, Estimates.unknown(len(queries)), decisions, feedback)
