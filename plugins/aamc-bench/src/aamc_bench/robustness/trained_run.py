"""A trained run, ready to be measured on other rows or under other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from aamc_experiments.evaluation import Comparison
from aamc_experiments.measurement import Measurement
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings
from aamc_experiments.setup import ExperimentSetup, make_setup

from aamc_bench.failed_routers import without_left_out
from aamc_sdk.interfaces import Estimator, Progress, Router
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.routing import build_request
from aamc_sdk.types import Query, RoutingRequest


@attrs.frozen(eq=False)
class TrainedRun:
    """A run's trained estimator and routers, with the world to measure them in."""

    run: RunFolder
    world: ExperimentSetup
    estimator: Estimator | None
    routers: Mapping[str, Router]

    @classmethod
    def open(cls, folder: Path, routers: Sequence[str]) -> TrainedRun:
        """Load some of a run's routers, without those that its training left out.

        Raises:
            CheckpointError: The run is incomplete, or does not hold one of the routers.
        """
        run, plugins = RunFolder.open(folder), get_plugin_manager()
        services = run.services(plugins)
        world, held = make_setup(run.settings, plugins, run.fingerprints[1:]), without_left_out(routers, run.folder)
        return cls(run, world, run.estimator(plugins, services), {name: run.router(plugins, services, name) for name in held})

    def request(self, queries: Sequence[Query] | None = None) -> RoutingRequest:
        """Return the test rows as a router sees them, or the same with other texts."""
        queries = self.world.splits["test"].queries if queries is None else queries
        return build_request(queries, self.run.pool, self.run.settings.preference.array, estimator=self.estimator, typical=self.run.candidate_means)

    def play(self, request: RoutingRequest, progress: Progress, settings: Settings | None = None) -> Comparison:
        """Compare the routers on the test rows, with the run's settings or others."""
        return Measurement(
            setup=self.world,
            routers=self.routers,
            request=request,
            candidate_means=self.run.candidate_means,
            settings=settings or self.run.settings,
            progress=progress,
        ).compare()
