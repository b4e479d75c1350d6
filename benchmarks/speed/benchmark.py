"""``aamc bench speed``: its parts, jobs and table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aamc_bench.benchmark import Benchmark, Stage
from aamc_bench.grid import THREADS, GridJob
from aamc_report.formats import significant
from aamc_report.tables import Column, Table

from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import one_of
from speed.clock import machine

PARTS: Mapping[str, tuple[str, ...]] = {
    "simulator": ("simulator:measure",),
    "ppo": ("ppo:measure", "ppo:memory", "sb3:measure", "reach:measure"),
    "decision": ("decision:measure",),
    "estimate": ("estimate:measure",),
    "startup": ("startup:measure",),
    "evaluation": ("evaluation:measure",),
}
"""The functions that measure each part."""
COLUMNS = (
    Column("measured", key="value", write=significant(3)),
    Column("compared", key="other", write=significant(3)),
    Column("ratio", key="ratio", write=significant(3)),
)
NOTE = (
    "CPU time of one thread, the minimum of some repeats, so other programs hardly matter; both sides of a row are measured in turns in one process. "
    "ratio: measured over compared."
)


class SpeedBenchmark(Benchmark):
    """``aamc bench speed``; each job has its own process, one at a time, so that no two run at once."""

    command = "bench speed"

    def options(self, parts: str | None = None, preset: str | None = None, **given: Any) -> dict[str, Any]:
        """Return the parts and the preset.

        Raises:
            ConfigError: There is no such part.
        """
        named = list(PARTS) if parts is None else [name.strip() for name in parts.split(",")]
        for name in named:
            if name not in PARTS:
                raise ConfigError(f"there is no part {name!r} to measure (there are: {one_of(PARTS)})")
        return {"parts": list(dict.fromkeys(named)), "preset": preset or "quick"}

    def jobs(self, options: Mapping[str, Any]) -> list[GridJob]:
        full = options["preset"] == "full"
        functions = [function for part in options["parts"] for function in PARTS[part]]
        return [GridJob(function.replace(":", "-"), f"speed.{function}", {"full": full}) for function in functions]

    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the one stage; its processes compute on one thread, as the programs do that ours are compared with."""
        os.environ[THREADS] = "1"
        yield Stage(self.jobs(options), one_at_a_time=True)

    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the ``machine``, a record for each measurement, and the jobs' ``details``."""
        records = [record for job in self.jobs(options) if job.key in results for record in results[job.key]["records"]]
        return {"machine": machine(), "records": records, "details": {key: found["details"] for key, found in results.items()}}

    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        on = document["machine"]
        unknown = {f"{record['what']}: {record['why']}" for record in document["records"] if record["why"]}
        machine = f"Machine: {on['processor']}, {on['cores']} cores, load {on['load']}, {on['matmul_gflops']} GFLOP/s."
        note = " ".join((NOTE, machine, *sorted(unknown)))
        return {"speed": Table.of_records("Speed", ("part", "what", "unit", "beside", "goal"), COLUMNS, document["records"], note)}
