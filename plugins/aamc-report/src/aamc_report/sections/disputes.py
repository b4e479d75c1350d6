"""The most disputed questions: those on which routers disagree most, with the outcome of each choice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

import attrs
import numpy as np
from aamc_experiments.evaluation import HEADLINE, Comparison, Integers
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.setup import dataset_readers

from aamc_report.formats import PER_THOUSAND, fixed, per_thousand
from aamc_report.page import DisputedQuestion, Section
from aamc_report.results import ORACLE, Results
from aamc_report.tables import Cell, Column, Table, TableRow
from aamc_sdk.cli import is_printable
from aamc_sdk.errors import AamcError
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import make_services
from aamc_sdk.types import Dataset, Floats, text_hash

WITHOUT_OPINION = ("random", ORACLE)
"""Routers that choose at random or know the outcome: they do not count as disagreeing."""
MAXIMUM_QUESTIONS = 12
MAXIMUM_LETTERS = 600
"""Letters of a question that are shown."""
COLUMNS = (
    Column("Expected", "quality", "Quality that the run's router expected from this choice."),
    Column("Quality", "", "Realised quality."),
    Column("Cost", PER_THOUSAND, "Realised cost, of 1,000 such answers."),
)


def disputes(comparison: Comparison, headline: int, maximum: int) -> list[DisputedQuestion]:
    """Return the questions on which routers disagree most at the headline's preference.

    Disagreement is the probability that two routers, drawn with replacement, choose differently. Equally disputed questions are
    ordered by the difference of the choices' qualities, the largest first, and each text comes once. Routers that choose the same candidate for all
    questions, at random, or knowing the outcome do not count, though their choice is shown.
    """
    chosen = comparison.chosen[:, HEADLINE]
    parties = [r for r, name in enumerate(comparison.routers.tolist()) if name not in WITHOUT_OPINION and len(np.unique(chosen[r])) > 1]
    if len(parties) < 2:
        return []
    views = chosen[parties]
    disagreement = (views[:, None] != views[None]).mean(axis=(0, 1))
    stake = np.ptp(_outcome(comparison, comparison.quality)[parties], axis=0)
    order = np.lexsort((-stake, -disagreement))
    order = order[disagreement[order] > 0]
    _, first = np.unique(comparison.queries[order], return_index=True)
    return [_dispute(comparison, headline, int(row)) for row in order[np.sort(first)[:maximum]]]


def _outcome(comparison: Comparison, values: Floats) -> Floats:
    """Return the outcome of each router's choice at the headline's preference, ``[R, Q]``."""
    if not comparison.is_table:
        return values[:, HEADLINE]
    return values[np.arange(len(comparison.queries)), comparison.chosen[:, HEADLINE]]


def _dispute(comparison: Comparison, headline: int, row: int) -> DisputedQuestion:
    chosen: Integers = comparison.chosen[:, HEADLINE, row]
    candidates, votes = np.unique(chosen, return_counts=True)
    answers = [_answer(comparison, headline, row, int(candidate)) for candidate in candidates[np.argsort(-votes, kind="stable")]]
    table = Table("The outcome of each choice.", ["Choice of"], COLUMNS, answers)
    return DisputedQuestion(str(comparison.queries[row]), str(comparison.category[row]), table)


def _answer(comparison: Comparison, headline: int, row: int, candidate: int) -> TableRow:
    """Return a choice with the routers that made it, and a cell for each of ``COLUMNS``; in streams the means over these routers."""
    choosers = np.flatnonzero(comparison.chosen[:, HEADLINE, row] == candidate)
    quality, cost = (float(_outcome(comparison, values)[choosers, row].mean()) for values in (comparison.quality, comparison.cost_usd))
    expected = float(comparison.expected_quality[headline, row, candidate])
    cells = [Cell(expected, fixed(3)), Cell(quality, fixed(3)), Cell(cost, per_thousand)]
    return TableRow([f"{comparison.candidates[candidate]}: {', '.join(comparison.routers[choosers])}"], cells)


def shown_disputes(results: Results) -> list[DisputedQuestion]:
    """Return the questions that the page shows."""
    return disputes(results.decisions, results.position, MAXIMUM_QUESTIONS)


def section(results: Results, texts: Mapping[str, str]) -> Section:
    """Return the section of disputed questions, with the known texts by the SHA-256 of each; empty if routers disagree on none."""
    found = shown_disputes(results)
    questions = [attrs.evolve(each, text=_excerpt(texts[each.sha256])) if each.sha256 in texts else each for each in found]
    notes = ["Ordered by the probability that two routers choose differently, then by the difference of their choices' qualities."]
    unknown = sum(question.text is None for question in questions)
    if unknown:
        why = "texts were not wanted, or the run's data is gone or has changed"
        notes.append(f"{unknown} of {len(found)} questions are named by the SHA-256 of their text: {why}.")
    return Section(name="disputes", title="The most disputed questions", questions=questions, notes=notes if found else [])


def _excerpt(text: str) -> str:
    """Return the beginning of a text, without control characters."""
    shown = "".join(letter if is_printable(letter) or letter == "\n" else " " for letter in text.strip())
    return shown if len(shown) <= MAXIMUM_LETTERS else shown[:MAXIMUM_LETTERS].rstrip() + " …"


def find_texts(run: RunFolder, wanted: Collection[str]) -> Mapping[str, str]:
    """Read a run's data again and return the texts of some questions, by the SHA-256 of each; a run's folder holds only hashes.

    None is found if the data is gone or no plugin reads it, fewer if it has changed.
    """
    found: dict[str, str] = {}
    with suppress(AamcError, OSError):  # a report is complete without texts
        for text in _texts(run):
            name = text_hash(text)
            if name in wanted:
                found[name] = text
            if len(found) == len(wanted):
                break
    return found


def _texts(run: RunFolder) -> Iterator[str]:
    """Yield the text of each query of the run's datasets, the test dataset first."""
    plugins, settings = get_plugin_manager(), run.settings
    readers = dataset_readers(settings, plugins, make_services(run.pool, plugins, settings))
    for source in (settings.test_dataset, settings.dataset):
        if source is not None:
            read = readers(source).read(source.path)
            for part in (read,) if isinstance(read, Dataset) else read.values():
                yield from (query.text for query in part.queries)
