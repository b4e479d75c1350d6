"""What the page of a run shows, section by section."""

from __future__ import annotations

from collections.abc import Mapping

from aamc_report.analysis.disputes import Answer, Dispute, disputes
from aamc_report.cells import Cell, Column, Row, Table
from aamc_report.data import Results, number
from aamc_report.formats import dollars, fixed
from aamc_report.pages import Picture, Question, Section
from aamc_report.tables.breakdown import destination_table, model_table, success_table
from aamc_report.tables.comparison import comparison_table, cost_of_quality_table, entries, further_columns, paired_table
from aamc_report.tables.failures import failure_tables
from aamc_report.tables.losses import regret_tables
from aamc_report.tables.reliability import reliability_table

MOST_QUESTIONS = 12
MOST_LETTERS = 600
"""How much of a disputed question is shown."""
Pictures = Mapping[str, Picture]


def disputed(results: Results) -> list[Dispute]:
    """Return the questions that the page shows."""
    return disputes(results.decisions, results.position, MOST_QUESTIONS)


def sections(results: Results, pictures: Pictures, texts: Mapping[str, str]) -> list[Section]:
    """Return the page's sections.

    Args:
        results: What the run measured.
        pictures: Its figures, by name.
        texts: Texts of disputed questions, by the SHA-256 of each, as far as they are known.
    """

    def drawn(*names: str) -> list[Picture]:
        return [pictures[name] for name in names if name in pictures]

    def tables(*found: Table | None) -> list[Table]:
        return [table for table in found if table is not None]

    by_category = [success_table(results)] if results.categories else []
    return [
        _comparison(results),
        Section(
            name="cost-quality", title="Cost and quality", pictures=drawn("cost_quality", "comparison"), tables=tables(cost_of_quality_table(results))
        ),
        Section(
            name="failures",
            title="Where each category goes, and why it fails",
            pictures=drawn("destinations"),
            numbers=[destination_table(results)],
            tables=failure_tables(results),
        ),
        Section(name="by-category", title="Success by category", pictures=drawn("categories"), numbers=by_category),
        Section(name="by-model", title="Distribution over models", pictures=drawn("models"), numbers=[model_table(results)]),
        Section(name="reliability", title="Reliability", pictures=drawn("reliability"), numbers=tables(reliability_table(results))),
        Section(name="regret", title="Regret", pictures=drawn("regret"), tables=regret_tables(results)),
        _disputes(results, texts),
        Section(name="latency", title="Latency", pictures=drawn("latency")),
        _further(results),
        Section(name="learning", title="Learning", pictures=drawn("curves")),
    ]


def _comparison(results: Results) -> Section:
    caption = "Every router answered the same queries. In small type: 95% intervals. A heading sorts by its column."
    missing = int(max(number(metrics.get("missing")) if metrics.get("missing") else 0 for metrics in results.routers.values()))
    notes = [f"Costs: {results.data['cost_note']}"] if results.data.get("cost_note") else []
    if missing:
        notes.append(f"{missing:,} queries with a missing outcome are left out for every router.")
    return Section(name="comparison", title="Comparison", tables=[comparison_table(entries(results), caption)], notes=notes)


def _further(results: Results) -> Section:
    caption = "What papers compare routers by. In small type: 95% intervals. A heading says what it means."
    columns = further_columns(results)
    tables = [comparison_table(entries(results), caption, columns)] if columns else []
    return Section(name="further", title="Further measures", tables=[*tables, *([paired_table(results)] if results.paired else [])])


def _disputes(results: Results, texts: Mapping[str, str]) -> Section:
    found = disputed(results)
    if not found:
        return Section(name="disputes", title="The most disputed questions")
    lost = sum(dispute.question not in texts for dispute in found)
    notes = ["The likelier two routers are to choose differently, the earlier a question comes; then the farther apart their choices' qualities."]
    if lost:
        why = "texts were not wanted, or the run's data is gone or has changed"
        notes.append(f"{lost} of {len(found)} questions are named by the SHA-256 of their text: {why}.")
    questions = [_question(dispute, texts.get(dispute.question)) for dispute in found]
    return Section(name="disputes", title="The most disputed questions", questions=questions, notes=notes)


def _question(dispute: Dispute, text: str | None) -> Question:
    columns = [Column("Expected", "quality"), Column("Quality"), Column("Cost", "USD")]
    table = Table("What each choice brings.", "Choice of", columns, [_answer_row(answer) for answer in dispute.answers])
    return Question(dispute.question if text is None else _excerpt(text), text is not None, dispute.category, table)


def _excerpt(text: str) -> str:
    """Return the beginning of a text, without control characters."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text.strip())
    return shown if len(shown) <= MOST_LETTERS else shown[:MOST_LETTERS].rstrip() + " …"


def _answer_row(answer: Answer) -> Row:
    qualities = [Cell(value, fixed(3)(value)) for value in (answer.expected, answer.quality)]
    return Row(f"{answer.candidate}: {', '.join(answer.routers)}", [*qualities, Cell(answer.cost_usd, dollars(answer.cost_usd))])
