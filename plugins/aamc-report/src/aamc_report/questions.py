"""The most disputed questions, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping

from aamc_report.analysis.disputes import Answer, Dispute, disputes
from aamc_report.cells import Cell, Column, Row, Table
from aamc_report.data import Results
from aamc_report.formats import dollars, fixed
from aamc_report.pages import Question, Section

MOST_QUESTIONS = 12
MOST_LETTERS = 600
"""How much of a question is shown."""
COLUMNS = (
    Column("Expected", "quality", "What the router in question expected of this choice."),
    Column("Quality", "", "What came of it."),
    Column("Cost", "USD", "What it cost."),
)


def disputed(results: Results) -> list[Dispute]:
    """Return the questions that the page shows."""
    return disputes(results.decisions, results.position, MOST_QUESTIONS)


def question_section(results: Results, texts: Mapping[str, str]) -> Section:
    """Return the section of disputed questions; empty where there is no dispute.

    Args:
        results: What the run measured.
        texts: Texts of these questions, by the SHA-256 of each, as far as they are known.
    """
    found = disputed(results)
    questions = [_question(dispute, texts.get(dispute.question)) for dispute in found]
    notes = ["The likelier two routers are to choose differently, the earlier a question comes; then the farther apart their choices' qualities."]
    lost = sum(not question.known for question in questions)
    if lost:
        why = "texts were not wanted, or the run's data is gone or has changed"
        notes.append(f"{lost} of {len(found)} questions are named by the SHA-256 of their text: {why}.")
    return Section(name="disputes", title="The most disputed questions", questions=questions, notes=notes if found else [])


def _question(dispute: Dispute, text: str | None) -> Question:
    table = Table("What each choice brings.", "Choice of", COLUMNS, [_answer_row(answer) for answer in dispute.answers])
    return Question(dispute.question if text is None else _excerpt(text), text is not None, dispute.category, table)


def _excerpt(text: str) -> str:
    """Return the beginning of a text, without control characters."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text.strip())
    return shown if len(shown) <= MOST_LETTERS else shown[:MOST_LETTERS].rstrip() + " …"


def _answer_row(answer: Answer) -> Row:
    qualities = [Cell(value, fixed(3)(value)) for value in (answer.expected, answer.quality)]
    return Row(f"{answer.candidate}: {', '.join(answer.routers)}", [*qualities, Cell(answer.cost_usd, dollars(answer.cost_usd))])
