"""What the page of a run shows, section by section."""

from __future__ import annotations

from collections.abc import Mapping

from aamc_report.data import Results, number
from aamc_report.formats import listed
from aamc_report.pages import Picture, Section
from aamc_report.questions import question_section
from aamc_report.tables.breakdown import destination_table, model_table, success_tables
from aamc_report.tables.comparison import comparison_table, cost_of_quality_tables, entries, further_tables, paired_tables
from aamc_report.tables.failures import failure_tables
from aamc_report.tables.gate import gate_tables
from aamc_report.tables.losses import regret_tables
from aamc_report.tables.reliability import reliability_tables


def sections(results: Results, pictures: Mapping[str, Picture], texts: Mapping[str, str]) -> list[Section]:
    """Return the page's sections.

    Args:
        results: What the run measured.
        pictures: Its figures, by name.
        texts: Texts of disputed questions, by the SHA-256 of each, as far as they are known.
    """

    def drawn(*names: str) -> list[Picture]:
        return [pictures[name] for name in names if name in pictures]

    further = [*further_tables(results), *paired_tables(results)]
    return [
        _comparison(results),
        Section(name="cost-quality", title="Cost and quality", pictures=drawn("cost_quality", "comparison"), tables=cost_of_quality_tables(results)),
        Section(
            name="failures",
            title="Where each category goes, and why it fails",
            pictures=drawn("destinations"),
            numbers=[destination_table(results)],
            tables=failure_tables(results),
        ),
        Section(name="by-category", title="Success by category", pictures=drawn("categories"), numbers=success_tables(results)),
        Section(name="by-model", title="Distribution over models", pictures=drawn("models"), numbers=[model_table(results)]),
        Section(name="reliability", title="Reliability", pictures=drawn("reliability"), numbers=reliability_tables(results)),
        Section(name="regret", title="Regret", pictures=drawn("regret"), tables=regret_tables(results)),
        question_section(results, texts),
        Section(name="latency", title="Latency", pictures=drawn("latency")),
        Section(name="further", title="Further measures", tables=further),
        Section(name="learning", title="Learning", pictures=drawn("curves")),
    ]


def _comparison(results: Results) -> Section:
    caption = "Every router answered the same queries. In small type: 95% intervals. A heading sorts by its column."
    missing = max(int(number(metrics.get("missing") or 0)) for metrics in results.routers.values())
    dropped = int(number(results.data.get("dropped") or 0))
    notes = [f"Costs: {results.data['cost_note']}"] if results.data.get("cost_note") else []
    notes += _constant(results)
    if missing:
        notes.append(f"{missing:,} queries with a missing outcome are left out for every router.")
    if dropped:
        notes.append(f"{dropped:,} queries are left out because they had been trained on.")
    tables = [comparison_table(entries(results), caption), *gate_tables(results)]
    verdict = "" if results.gate is None else f"{results.gate.why}."
    return Section(name="comparison", title="Comparison", lead=verdict, tables=tables, notes=notes)


def _constant(results: Results) -> list[str]:
    """Say which routers gave every query to one candidate, and which of them are therefore one."""
    routers: dict[str, list[str]] = {}
    for router in results.routers:
        if (candidate := results.only_candidate(router)) is not None:
            routers.setdefault(candidate, []).append(router)
    if not routers or len(results.decisions.candidates) == 1:
        return []
    parts = [f"{candidate} by {listed(names)}{', which are one here' if len(names) > 1 else ''}" for candidate, names in routers.items()]
    return [f"One candidate for every query: {'; '.join(parts)}."]
