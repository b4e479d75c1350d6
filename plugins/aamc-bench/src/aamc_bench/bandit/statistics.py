"""Cumulative regret, quality and cost over the streams of one dataset, with Student's intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_report.tables import TableRecord

from aamc_bench.bandit.job import BEST_FIXED, FIGURES
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
        return cls(points, {name: by_unit([_interpolated(file, name, points) for file in files]) for name in FIGURES})

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


def by_unit(each: Sequence[Floats]) -> Floats:
    """Return the means over each seed's streams, ``[U, scenarios, R + 1, P]``; the streams themselves if there is only one seed.

    Seeds are the units of intervals: the streams of one seed share its estimator and rows.

    Args:
        each: The values of each seed, ``[scenarios, R + 1, streams, P]``.
    """
    return np.stack([one.mean(axis=2) for one in each]) if len(each) > 1 else np.moveaxis(each[0], 2, 0)


def _clear_best(regret: Floats, rivals: Sequence[int]) -> int | None:
    """Return the rival with the lowest mean of ``[R + 1, U]`` if the interval of its difference to each other one excludes zero, else None."""
    if len(rivals) < 2:
        return None
    best = min(rivals, key=lambda rival: float(regret[rival].mean()))
    leads = [student_interval(regret[rival] - regret[best]) for rival in rivals if rival != best]
    return best if all(lead is not None and lead[0] > 0 for lead in leads) else None
