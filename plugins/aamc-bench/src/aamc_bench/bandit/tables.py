"""The figures of ``aamc bench bandit`` with Student's intervals, its tables, and the curves of regret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
from aamc_report.formats import fixed, per_thousand
from aamc_report.style import Look, looks_of
from aamc_report.tables import Column, Table, TableRecord
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aamc_bench.bandit.budgets import FIGURES as BUDGET_FIGURES
from aamc_bench.bandit.budgets import PARETO
from aamc_bench.bandit.jobs import BEST_FIXED, FIGURES
from aamc_bench.benchmark import distinct
from aamc_bench.figures import panels
from aamc_bench.samples import student, student_interval
from aamc_sdk.types import Floats

PUBLISHED, UNIFORM = "published", "uniform"
YARDSTICKS = (BEST_FIXED, UNIFORM)


@attrs.frozen(eq=False)
class StreamResults:
    """The results of the streams of one dataset and kind of estimates.

    Attributes:
        points: The numbers of decisions at which sums were taken, ``[P]``.
        figures: The values of each unit by name, ``[U, scenarios, R + 1, P]``; see :func:`by_unit`.
    """

    points: Floats
    figures: Mapping[str, Floats]

    @classmethod
    def of(cls, files: Sequence[Mapping[str, Any]]) -> StreamResults:
        """Combine the seeds up to the end of the shortest one's streams."""
        points = min(files, key=lambda file: file["points"][-1])["points"]
        return cls(points, {name: by_unit([_interpolated(file, name, points) for file in files], streams=2) for name in FIGURES})

    def records(self, scenario: int, routers: Sequence[str]) -> list[TableRecord]:
        """Return a record for each router of a scenario."""
        last = {name: values[:, scenario, :, -1].T for name, values in self.figures.items()}  # [R + 1, U]
        best = _clear_best(last["regret"], [position for position, name in enumerate(routers) if name not in YARDSTICKS])
        found: list[TableRecord] = []
        for position, name in enumerate(routers):
            record: dict[str, Any] = {"router": name, "regret": student(last["regret"][position]) | {"best": position == best}}
            record["over_fixed"] = student(last["regret"][position] - last["regret"][-1])
            if PUBLISHED in routers:
                record["saved"] = student(last["regret"][routers.index(PUBLISHED)] - last["regret"][position])
            record |= {key: student(last[key][position] / self.points[-1]) for key in FIGURES[1:]}
            found.append(record)
        return found

    def curves(self, scenario: int, routers: Sequence[str]) -> list[dict[str, Any]]:
        """Return the regret of each router of a scenario at each point."""
        values = self.figures["regret"][:, scenario]
        return [
            {"router": name, "decisions": self.points, "regret": [student(values[:, position, point]) for point in range(len(self.points))]}
            for position, name in enumerate(routers)
        ]


def _interpolated(file: Mapping[str, Any], name: str, points: Floats) -> Floats:
    """Return a file's array, interpolated at ``points``, ``[scenarios, R + 1, streams, P]``."""
    own, values = file["points"], file[name]
    return np.apply_along_axis(lambda curve: np.interp(points, own, curve), -1, values)


def by_unit(each: Sequence[Floats], streams: int) -> Floats:
    """Return the means of each seed's values over the axis of the streams, ``[U, ...]``; the streams themselves if there is only one seed.

    Seeds are the units of intervals: the streams of one seed share its estimator and rows.
    """
    return np.stack([one.mean(axis=streams) for one in each]) if len(each) > 1 else np.moveaxis(each[0], streams, 0)


def _clear_best(regret: Floats, rivals: Sequence[int]) -> int | None:
    """Return the rival with the lowest mean of ``[R + 1, U]`` if the interval of its difference to each other one excludes zero, else None."""
    if len(rivals) < 2:
        return None
    best = min(rivals, key=lambda rival: float(regret[rival].mean()))
    leads = [student_interval(regret[rival] - regret[best]) for rival in rivals if rival != best]
    return best if all(lead is not None and lead[0] > 0 for lead in leads) else None


COLUMNS = (
    Column("regret", key="regret", write=fixed(1)),
    Column("over best fixed", key="over_fixed", write=fixed(1)),
    Column("saved vs published", key="saved", write=fixed(1)),
    Column("quality", key="quality", write=fixed(3)),
    Column("USD / 1k", key="cost_usd", write=per_thousand),
)
_SAVED = "saved vs published: regret of published minus the router's, on the same streams. "
NOTE = (
    "regret: the sum over a stream's decisions of the maximum reward of an available candidate minus that of the chosen one. "
    f"over best fixed: regret minus that of the candidate that was best in hindsight. {_SAVED}"
    "estimates: what the estimator was trained on: outcomes of other rows, or only their categories and complexity (labels). "
    "Means over seeds and streams, with Student's 95% intervals over seeds. "
    "Bold: less regret than every other router except reference routers, each paired interval excludes zero."
)
PANELS_PER_ROW = 4


def figures_of(document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
    """Return functions that draw the curves of each dataset and kind of estimates, by the figures' names."""
    places = dict.fromkeys((curve["dataset"], curve["estimates"]) for curve in document["curves"])
    found = {}
    for number, place in enumerate(places, start=1):
        own = [curve for curve in document["curves"] if (curve["dataset"], curve["estimates"]) == place]
        found[f"regret-{number}-{place[1]}"] = partial(draw, own)
    return found


def draw(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw regret against decisions with 95% bands, a panel for each scenario."""
    scenarios, routers = distinct(curves, "scenario"), distinct(curves, "router")
    looks = looks_of(routers)
    columns = min(PANELS_PER_ROW, len(scenarios))
    page, axes = panels(-(-len(scenarios) // columns), columns, height=2.4)
    for panel, scenario in zip(axes, scenarios, strict=False):
        panel.set_title(scenario)
        panel.set_xlabel("decisions")
        for curve in curves:
            if curve["scenario"] == scenario:
                _draw_curve(panel, curve, looks[curve["router"]])
        panel.set_ylim(bottom=0)
    axes[0].set_ylabel("cumulative regret")
    for unused in axes[len(scenarios) :]:
        unused.set_visible(False)
    page.suptitle(f"{curves[0]['dataset']}, estimator trained on {curves[0]['estimates']}", fontsize="medium")
    page.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(routers), 8))
    return page


def _draw_curve(axes: Axes, curve: Mapping[str, Any], look: Look) -> None:
    decisions, values = np.asarray(curve["decisions"]), [point["value"] for point in curve["regret"]]
    low, high = zip(*(point["ci95"] or (np.nan, np.nan) for point in curve["regret"]), strict=True)
    width, front = (2.0, 3) if look.emphasised else (1.2, 2)
    axes.plot(decisions, values, color=look.colour, linewidth=width, zorder=front, label=curve["router"])
    axes.fill_between(decisions, low, high, color=look.colour, alpha=0.15, linewidth=0)


BUDGETS = "budgets"
BUDGET_COLUMNS = (
    Column("regret", key="regret", write=fixed(4)),
    Column("regret less ParetoBandit's", key="against_pareto", write=fixed(4)),
    Column("over budget %", key="overspend", write=fixed(2, factor=100)),
    Column("maximum %", key="maximum_overspend", write=fixed(2, factor=100)),
    Column("quality", key="quality", write=fixed(3)),
    Column("USD / 1k", key="cost_usd", write=per_thousand),
)
BUDGET_NOTE = (
    "One day of requests under a budget, from 0 (the cheapest candidate on each request) to 1 (the one with the best mean quality). "
    "regret: the mean quality that the linear program reaches within the budget, knowing all outcomes, minus the router's. "
    "over budget: the day's spending over the budget, negative for less; its maximum is over all streams. "
    "drift: from noon on half of the best candidate's answers fail, and its calls cost 1.5 times their price. "
    "bursty: half of the requests in eight bursts. ParetoBandit and paced (mean) are given the budget divided by the number of requests, "
    "paced (day) the budget and the number, paced (day, unknown traffic) only the budget. "
    "Means over seeds and streams, with Student's 95% intervals over seeds."
)


def budget_records(options: Mapping[str, Any], place: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> list[TableRecord]:
    """Return a record for each traffic, budget and router of a dataset."""
    routers = options["paced"]
    found: list[TableRecord] = []
    for t, traffic in enumerate(options["traffic"]):
        for b, budget in enumerate(options["budgets"]):
            units = {name: by_unit([file[name][t, b] for file in files], streams=1) for name in BUDGET_FIGURES}
            worst = np.max([file["overspend"][t, b].max(axis=1) for file in files], axis=0)
            for r, router in enumerate(routers):
                record: dict[str, Any] = {**place, "traffic": traffic, "budget": f"{budget:g}", "router": router}
                record |= {name: student(values[:, r]) for name, values in units.items()}
                record["maximum_overspend"] = {"value": float(worst[r]), "ci95": None}
                if PARETO in routers:
                    record["against_pareto"] = student(units["regret"][:, r] - units["regret"][:, routers.index(PARETO)])
                found.append(record)
    return found


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the table of regret, and that of budgets if any were measured."""
    title = f"Cumulative regret while learning: {', '.join(distinct(document['datasets'], 'dataset'))}"
    note = NOTE if any("saved" in record for record in document["records"]) else NOTE.replace(_SAVED, "")
    found = {"regret": _table(title, ("dataset", "estimates", "scenario", "router"), COLUMNS, document["records"], note)}
    if document["budgets"]:
        note = BUDGET_NOTE if PARETO in document["paced"] else BUDGET_NOTE.replace("ParetoBandit and paced (mean) are", "paced (mean) is")
        found[BUDGETS] = _table("A day's budget", ("dataset", "traffic", "budget", "router"), BUDGET_COLUMNS, document["budgets"], note)
    return found


def _table(title: str, names: Sequence[str], columns: Sequence[Column], records: Sequence[TableRecord], note: str) -> Table:
    """Return a table with the columns that some record has."""
    known = [column for column in columns if any(column.key in record for record in records)]
    return Table.of_records(title, names, known, records, note)
