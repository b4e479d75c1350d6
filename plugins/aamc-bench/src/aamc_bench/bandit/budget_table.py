"""The records and the table of the budgets in ``aamc bench bandit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aamc_report.formats import fixed, per_thousand
from aamc_report.tables import Column, Table, TableRecord

from aamc_bench.bandit.budgets import FIGURES
from aamc_bench.bandit.pareto_bandit import NAME as PARETO
from aamc_bench.bandit.statistics import by_unit
from aamc_bench.samples import student
from aamc_sdk.types import Floats

BUDGETS = "budgets"
COLUMNS = (
    Column("regret", key="regret", write=fixed(4)),
    Column("regret less ParetoBandit's", key="against_pareto", write=fixed(4)),
    Column("over budget %", key="overspend", write=fixed(2, factor=100)),
    Column("maximum %", key="maximum_overspend", write=fixed(2, factor=100)),
    Column("quality", key="quality", write=fixed(3)),
    Column("USD / 1k", key="cost_usd", write=per_thousand),
)
NOTE = (
    "One day of requests under a budget, from 0 (the cheapest candidate on each request) to 1 (the one with the best mean quality). "
    "regret: the mean quality that the linear program reaches within the budget, knowing all outcomes, minus the router's. "
    "over budget: the day's spending over the budget, negative for less; its maximum is over all streams. "
    "drift: from noon on half of the best candidate's answers fail, and its calls cost 1.5 times their price. "
    "bursty: half of the requests in eight bursts. ParetoBandit and paced (mean) are given the budget divided by the number of requests, "
    "paced (day) the budget and the number, paced (day, unknown traffic) only the budget. "
    "Means over seeds and streams, with Student's 95% intervals over seeds."
)


def records(options: Mapping[str, Any], place: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> list[TableRecord]:
    """Return a record for each traffic, budget and router of a dataset; none without files."""
    if not files:
        return []
    routers = options["paced"]
    found: list[TableRecord] = []
    for t, traffic in enumerate(options["traffic"]):
        for b, budget in enumerate(options["budgets"]):
            own: dict[str, list[Floats]] = {name: [file[name][t, b][None, :, :, None] for file in files] for name in FIGURES}
            units = {name: by_unit(each)[:, 0, :, 0] for name, each in own.items()}
            worst = np.max([each.max(axis=2)[0, :, 0] for each in own["overspend"]], axis=0)
            for r, router in enumerate(routers):
                record: dict[str, Any] = {**place, "traffic": traffic, "budget": f"{budget:g}", "router": router}
                record |= {name: student(values[:, r]) for name, values in units.items()}
                record["maximum_overspend"] = {"value": float(worst[r]), "ci95": None}
                if PARETO in routers:
                    record["against_pareto"] = student(units["regret"][:, r] - units["regret"][:, routers.index(PARETO)])
                found.append(record)
    return found


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the table; none without records."""
    if not document["budgets"]:
        return {}
    known = [column for column in COLUMNS if any(column.key in record for record in document["budgets"])]
    return {BUDGETS: Table.of_records("A day's budget", ("dataset", "traffic", "budget", "router"), known, document["budgets"], NOTE)}
