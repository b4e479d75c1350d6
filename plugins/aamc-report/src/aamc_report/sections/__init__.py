"""The sections of a run's page, in their order; each module holds one section's analysis, figure and tables."""

from __future__ import annotations

from collections.abc import Mapping

from aamc_report.page import Drawing, Picture, Section
from aamc_report.results import Results
from aamc_report.sections import (
    answer_lengths,
    categories,
    comparison,
    cost_quality,
    destinations,
    disputes,
    latency,
    learning,
    models,
    regret,
    reliability,
)

DRAWINGS: tuple[Drawing[Results], ...] = (
    cost_quality.DRAWING,
    comparison.DRAWING,
    destinations.DRAWING,
    models.DRAWING,
    categories.DRAWING,
    reliability.DRAWING,
    regret.DRAWING,
    latency.DRAWING,
    learning.DRAWING,
)
"""The figures of a report."""


def sections(results: Results, pictures: Mapping[str, Picture], texts: Mapping[str, str]) -> list[Section]:
    """Return the page's sections, with the drawn figures by name, and the known texts of disputed questions by the SHA-256 of each."""

    def drawn(*drawings: Drawing[Results]) -> list[Picture]:
        return [pictures[drawing.name] for drawing in drawings if drawing.name in pictures]

    return [
        comparison.section(results),
        Section(
            name="cost-quality",
            title="Cost and quality",
            pictures=drawn(cost_quality.DRAWING, comparison.DRAWING),
            tables=cost_quality.cost_of_quality_tables(results),
        ),
        Section(
            name="failures",
            title=destinations.DRAWING.title,
            pictures=drawn(destinations.DRAWING),
            numbers=[destinations.destination_table(results)],
            tables=destinations.failure_tables(results),
        ),
        Section(name="by-category", title=categories.DRAWING.title, pictures=drawn(categories.DRAWING), numbers=categories.success_tables(results)),
        Section(name="by-model", title=models.DRAWING.title, pictures=drawn(models.DRAWING), numbers=[models.model_table(results)]),
        Section(
            name="reliability",
            title="Reliability",
            pictures=drawn(reliability.DRAWING),
            numbers=reliability.reliability_tables(results),
            notes=reliability.notes(results),
        ),
        Section(name="answer-lengths", title="Lengths of answers", tables=answer_lengths.length_tables(results)),
        Section(name="regret", title="Regret", pictures=drawn(regret.DRAWING), tables=regret.regret_tables(results)),
        disputes.section(results, texts),
        Section(name="latency", title="Latency", pictures=drawn(latency.DRAWING)),
        Section(name="further", title="Further measures", tables=[*comparison.further_tables(results), *comparison.paired_tables(results)]),
        Section(name="learning", title="Learning", pictures=drawn(learning.DRAWING)),
    ]
