"""Dataset format ``outcomes``, the native format: quality, cost and latency of each candidate on each query.

A folder holds ``outcomes.jsonl`` (or ``outcomes.parquet``) and, unless all costs are measured, ``pool.yaml`` with the
candidates and their prices. A line is

    {"query": "...", "category": "math", "outcomes": {"small": {"quality": 1, "cost_usd": 2e-5, "latency_ms": 340, "output_tokens": 95}}}

Instead of ``output_tokens`` a candidate may have its ``response``, whose tokens are estimated at 4 bytes each. A candidate
that is missing in a line, or whose quality is null, is unknown there. An optional ``cost_note`` in ``pool.yaml`` describes costs
that were not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from aamc_datasets.outcomes.outcome_rows import OutcomeRow, read_outcome_rows
from aamc_datasets.recognition import single_file
from aamc_sdk import Dataset, DatasetFormat, Labels, ModelSpec, Outcomes, Pool
from aamc_sdk.config import load_yaml
from aamc_sdk.errors import DataError, PoolError
from aamc_sdk.messages import check_known, check_type
from aamc_sdk.routing import expected_cost, pool_to_dict, read_pool
from aamc_sdk.storage import to_json, write_text, write_yaml
from aamc_sdk.types import Floats

ROWS_FILE, POOL_FILE = "outcomes.jsonl", "pool.yaml"
SUFFIXES = (".jsonl", ".parquet")


class OutcomesFormat(DatasetFormat):
    """Measured outcomes, as JSON lines or Parquet."""

    def read(self, path: str) -> Dataset:
        """Read a file of outcomes, or a folder with one.

        Raises:
            DataError: The path does not exist, has another format, or contains an invalid row; the message gives the line.
        """
        file = single_file(path, "outcomes", SUFFIXES, preferred="outcomes")
        rows = list(read_outcome_rows(file))
        if not rows:
            raise DataError(f"{file} is empty; give at least one line with a query and its outcomes")
        pool = _pool(file, rows)
        outcomes, cost_note = _table(rows, pool)
        notes = [note for note in (_note(file), cost_note) if note]
        references = [row.reference or "" for row in rows]
        return Dataset(
            [row.query for row in rows],
            pool=pool,
            outcomes=outcomes,
            labels=_labels(rows),
            references=references if any(references) else None,
            source=str(file),
            cost_note="; ".join(notes),
        )


def _pool(file: Path, rows: Sequence[OutcomeRow]) -> Pool:
    """Return the candidates of ``pool.yaml``; without it, those in the rows, in order of appearance."""
    named: dict[str, str] = {}
    for row in rows:
        for name in row.outcomes:
            named.setdefault(name, row.location)
    if not named:
        raise DataError(f"{file}: no row has an outcome; give the quality of at least one candidate in 'outcomes'")
    pool_file = file.parent / POOL_FILE
    if not pool_file.is_file():
        try:
            return Pool(ModelSpec(name) for name in named)
        except PoolError as error:
            raise DataError(f"{file}: {error}") from error
    pool = read_pool(pool_file)
    for name, location in named.items():
        check_known([name], pool.names, f"{location}: {pool_file} has no candidate", DataError)
    for name in pool.names:
        if name not in named:
            raise DataError(f"candidate {name!r} of {pool_file} has no outcome in {file}; add its outcomes, or take it out of the pool")
    return pool


def _note(file: Path) -> str:
    """Return the ``cost_note`` of ``pool.yaml``, or ``""``."""
    pool_file = file.parent / POOL_FILE
    note = load_yaml(pool_file).get("cost_note", "") if pool_file.is_file() else ""
    check_type(note, str, f"{pool_file}: cost_note must be a text", DataError)
    return note


def _table(rows: Sequence[OutcomeRow], pool: Pool) -> tuple[Outcomes, str]:
    """Return the outcomes ``[Q, M]``, and a note about costs that were computed from prices."""
    columns = {name: column for column, name in enumerate(pool.names)}
    table = np.full((4, len(rows), len(pool)), np.nan)
    for number, row in enumerate(rows):
        for name, figures in row.outcomes.items():
            table[:, number, columns[name]] = figures
    quality, cost, latency, output = table
    lengths = output if np.isfinite(output).any() else None
    unpriced = np.isfinite(quality) & np.isnan(cost)
    if not unpriced.any():
        return Outcomes(quality, cost, latency, output_tokens=lengths), ""
    prices = expected_cost([row.query for row in rows], pool, lengths)
    unknown = np.argwhere(unpriced & np.isnan(prices))
    if len(unknown):
        number, name = unknown[0][0], pool.names[unknown[0][1]]
        raise DataError(f"{rows[number].location}: candidate {name!r} has no cost_usd, and no prices in {POOL_FILE} to compute it from")
    note = (
        f"{unpriced.sum()} of {np.isfinite(quality).sum()} costs were not measured and are prices times tokens; "
        "tokens that a row does not give are estimated, the prompt's at 4 bytes of UTF-8 each, the answer's at 256"
    )
    return Outcomes(quality, np.where(unpriced, prices, cost), latency, output_tokens=lengths), note


def _labels(rows: Sequence[OutcomeRow]) -> Labels:
    """Return the labels; a row without a label has NaN or category ``""`` if other rows have one."""
    complexity = np.array([row.complexity for row in rows])
    tool_use = np.array([row.tool_use for row in rows])
    category = np.array([row.category or "" for row in rows])
    return Labels(
        complexity=complexity if np.isfinite(complexity).any() else None,
        category=category if (category != "").any() else None,
        tool_use=tool_use if np.isfinite(tool_use).any() else None,
    )


def write_outcomes(dataset: Dataset, folder: Path) -> None:
    """Write a dataset with outcomes as ``outcomes.jsonl`` and ``pool.yaml``, each whole or not at all.

    Raises:
        DataError: The dataset has no outcomes, or a row has no text.
        OutputError: The folder cannot be written.
    """
    if dataset.outcomes is None or dataset.pool is None:
        raise DataError("only a dataset with outcomes and a pool can be written in the native format")
    for number, query in enumerate(dataset.queries, start=1):
        if not query.text.strip():
            raise DataError(f"row {number} has no text, which the format outcomes requires; leave it out")
    lines = "".join(to_json(line) + "\n" for line in _lines(dataset, dataset.outcomes, dataset.pool))
    note = {"cost_note": dataset.cost_note} if dataset.cost_note else {}
    write_yaml(folder / POOL_FILE, {**pool_to_dict(dataset.pool), **note})
    write_text(folder / ROWS_FILE, lines)


def _lines(dataset: Dataset, outcomes: Outcomes, pool: Pool) -> Iterable[dict[str, object]]:
    labels = dataset.labels
    tokens = np.full_like(outcomes.cost_usd, np.nan) if outcomes.output_tokens is None else outcomes.output_tokens
    table = np.stack((outcomes.known_quality, outcomes.cost_usd, outcomes.latency_ms, tokens), axis=-1)
    for row, query in enumerate(dataset.queries):
        cells = {name: _figures(table[row, column]) for column, name in enumerate(pool.names)}
        line = {
            "query": query.text,
            "user": query.user,
            "session": query.session,
            "needs": sorted(query.needs),
            "prompt_tokens": query.prompt_tokens,
            "output_tokens": query.output_tokens,
            "category": None if labels.category is None else str(labels.category[row]),
            "complexity": None if labels.complexity is None else _number(labels.complexity[row]),
            "tool_use": None if labels.tool_use is None else _number(labels.tool_use[row]),
            "reference": None if dataset.references is None else dataset.references[row],
        }
        known = {key: value for key, value in line.items() if value not in (None, "", [])}
        yield {**known, "outcomes": {name: cell for name, cell in cells.items() if cell}}


def _figures(figures: Floats) -> dict[str, float | None]:
    """Return a candidate's known figures by name; empty if none is known."""
    named = {name: _number(figure) for name, figure in zip(("quality", "cost_usd", "latency_ms", "output_tokens"), figures, strict=True)}
    if all(figure is None for figure in named.values()):
        return {}
    return {name: figure for name, figure in named.items() if name == "quality" or figure is not None}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
