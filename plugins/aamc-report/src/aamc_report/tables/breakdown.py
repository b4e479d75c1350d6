"""Shares of queries: by category, by model, and both."""

from __future__ import annotations

from aamc_report.analysis.destinations import Destinations
from aamc_report.cells import Cell, Column, Row, Table, count, share, with_interval
from aamc_report.data import Results
from aamc_report.formats import percent


def cut_note(results: Results) -> str:
    """Return how many categories a table leaves out, in words."""
    shown, every = len(results.shown_categories), len(results.categories)
    return "" if shown == every else f" The {shown} most frequent of {every:,} categories."


def success_tables(results: Results) -> list[Table]:
    """Return a row for each category: its number of queries, and each router's success rate; nothing without categories."""
    rows = [Row(name, [count(n), *(_success(results, router, name) for router in results.routers)]) for name, n in results.shown_categories.items()]
    caption = f"Success rate at the preference, by the category of the query.{cut_note(results)}"
    return [Table(caption, "Category", [Column("Queries"), *map(Column, results.routers)], rows)] if rows else []


def model_table(results: Results) -> Table:
    """Return a row for each candidate that the pool has: how often each router chose it."""
    names = results.decisions.candidates.tolist()
    rows = [Row(name, [_chosen(results, router, name) for router in results.routers]) for name in names]
    return Table("Share of queries that each router gave to each model, at the preference.", "Model", list(map(Column, results.routers)), rows)


def _success(results: Results, router: str, category: str) -> Cell:
    bounds = results.category_interval(router, category, "success_rate")
    return with_interval(results.category_value(router, category, "success_rate"), bounds, percent)


def _chosen(results: Results, router: str, model: str) -> Cell:
    return with_interval(results.model_share(router, model), results.model_share_interval(router, model), percent)


def destination_table(results: Results) -> Table:
    """Return a row for each category: where the headline's router sent it."""
    found = Destinations.of(results)
    rows = [Row(group.name, [count(group.size), *map(share, shares)]) for group, shares in zip(found.groups, found.shares.tolist(), strict=True)]
    caption = f"Share of each category's queries that {results.headline} gave to each model, at the preference.{cut_note(results)}"
    return Table(caption, "Category", [Column("Queries"), *map(Column, found.models)], rows)
