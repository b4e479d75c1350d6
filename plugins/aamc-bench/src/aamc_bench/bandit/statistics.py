"""Cumulative regret, quality and cost over the streams of one dataset, with Student's intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from aamc_report.tables import TableRecord

from aamc_bench.bandit.job import BEST_FIXED, FIGURES
from aamc_bench.samples import clear_best, figure
from aamc_sdk.types import Floats

PUBLISHED, UNIFORM = "published", "uniform"
YARDSTICKS = (BEST_FIXED, UNIFORM)


@attrs.frozen(eq=False)
class StreamResults:
    """The results of the streams of one dataset and kind of estimates.

    Attributes:
        points: The numbers of decisions at which sums were taken, ``[P]``.
        figures: By name, the mean over streams and B draws of it, ``[1 + B, scenarios, R + 1, P]``; see :func:`over_streams`.
    """

    points: Floats
    figures: Mapping[str, Floats]

    @classmethod
    def of(cls, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> StreamResults:
        """Combine the seeds up to the end of the shortest one's streams."""
        shortest = min(files, key=lambda file: file["points"][-1])
        resamples = options["settings"]["evaluation"]["resamples"]
        points = shortest["points"]
        return cls(points, {name: over_streams([_interpolated(file, name, points) for file in files], resamples) for name in FIGURES})

    def records(self, scenario: int, routers: Sequence[str]) -> list[TableRecord]:
        """Return a record for each router of a scenario."""
        last = {name: values[:, scenario, :, -1].T for name, values in self.figures.items()}  # [R + 1, 1 + B]
        rivals = np.array([name not in YARDSTICKS for name in routers])
        best = clear_best(np.where(rivals[:, None], last["regret"], np.nan), lower_is_better=True)
        found: list[TableRecord] = []
        for position, name in enumerate(routers):
            record: dict[str, Any] = {"router": name, "regret": figure(last["regret"][position]) | {"best": position == best}}
            record["over_fixed"] = figure(last["regret"][position] - last["regret"][-1])
            if PUBLISHED in routers:
                record["saved"] = figure(last["regret"][routers.index(PUBLISHED)] - last["regret"][position])
            record |= {key: figure(last[key][position] / self.points[-1]) for key in FIGURES[1:]}
            found.append(record)
        return found

    def curves(self, scenario: int, routers: Sequence[str]) -> list[dict[str, Any]]:
        """Return the regret of each router of a scenario at each point."""
        values = self.figures["regret"][:, scenario]
        return [
            {"router": name, "decisions": self.points, "regret": [figure(values[:, position, point]) for point in range(len(self.points))]}
            for position, name in enumerate(routers)
        ]


def _interpolated(file: Mapping[str, Any], name: str, points: Floats) -> Floats:
    """Return a file's array, interpolated at ``points``, ``[scenarios, R + 1, streams, P]``."""
    own, values = file["points"], file[name]
    return np.apply_along_axis(lambda curve: np.interp(points, own, curve), -1, values)


def over_streams(each: Sequence[Floats], resamples: int) -> Floats:
    """Return the mean over seeds and their streams, and B draws from its Student distribution, ``[1 + B, scenarios, R + 1, P]``.

    A draw is the mean plus sum_s z_s (m_s - mean) / sqrt(n (n - 1)) / sqrt(c / (n - 1)), where m_s is the mean of a seed's streams,
    n the number of seeds, z are normal, and c is chi-squared with n - 1 degrees of freedom. So the quantiles of draws, and of
    differences of two routers' draws, are Student's interval over seeds; a bootstrap of few seeds is too narrow. With one seed
    its streams take the place of seeds. With one stream draws are NaN.

    Args:
        each: The values of each seed, ``[scenarios, R + 1, streams, P]``.
        resamples: B.
    """
    units = np.stack([one.mean(axis=2) for one in each]) if len(each) > 1 else np.moveaxis(each[0], 2, 0)
    mean, (rng, degrees) = units.mean(axis=0), (np.random.default_rng(0), len(units) - 1)
    if not degrees:
        return np.concatenate((mean[None], np.full((resamples, *mean.shape), np.nan)))
    deviations = rng.normal(size=(resamples, len(units))) / np.sqrt(len(units) * rng.chisquare(degrees, size=(resamples, 1)))
    return np.concatenate((mean[None], mean + np.tensordot(deviations, units - mean, axes=1)))
