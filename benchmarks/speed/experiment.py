"""``aamc bench speed``: parts, jobs, table. Each job has a process of its own, one at a time, so nothing of ours runs beside it."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_report.formats import significant

from aamc_bench.grid import THREADS, Job
from aamc_bench.speed.clock import machine
from aamc_bench.tables import Column, Table
from aamc_sdk.errors import ConfigError, one_of
from aamc_sdk.files import to_json
from aamc_sdk.interfaces import Silence

PARTS: Mapping[str, tuple[str, ...]] = {
    "simulator": ("simulator:measure",),
    "ppo": ("ppo:measure", "ppo:memory", "sb3:measure", "reach:measure"),
    "decision": ("decision:measure",),
    "estimate": ("estimate:measure",),
    "startup": ("startup:measure",),
    "evaluation": ("evaluation:measure",),
}
"""The functions that measure each part."""
FULL = ("full", "paper")
"""The presets at which nothing is shortened."""
COLUMNS = (
    Column("value", "measured", significant(3)),
    Column("other", "compared", significant(3)),
    Column("ratio", "ratio", significant(3)),
)
NOTE = (
    "CPU time of one thread, the least of some repeats, so other programs hardly count; both sides of a row are measured in turns in one process. "
    "ratio: measured over compared."
)


def options_of(parts: str | None = None, preset: str | None = None) -> dict[str, Any]:
    """Return all that the result follows from.

    Raises:
        ConfigError: There is no such part.
    """
    named = list(PARTS) if parts is None else [name.strip() for name in parts.split(",")]
    for name in named:
        if name not in PARTS:
            raise ConfigError(f"there is no part {name!r} to measure (there are: {one_of(PARTS)})")
    return {"parts": list(dict.fromkeys(named)), "preset": preset or "quick"}


def jobs_of(options: Mapping[str, Any]) -> list[Job]:
    """Return the jobs, to be done one at a time."""
    full = options["preset"] in FULL
    functions = [function for part in options["parts"] for function in PARTS[part]]
    return [Job(function.replace(":", "-"), f"aamc_bench.speed.{function}", {"full": full}) for function in functions]


def use_one_thread() -> None:
    """Let numerical libraries of processes that are started from now on compute on one thread, as what is compared does."""
    os.environ[THREADS] = "1"


def document_of(options: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON document: a record for each figure, and what else each job measured."""
    records = [record for job in jobs_of(options) if job.key in results for record in results[job.key]["records"]]
    details = {key: found["details"] for key, found in results.items()}
    return {"schema": 1, "command": "bench speed", "options": dict(options), "machine": machine(), "records": records, "details": details}


def tables_of(document: Mapping[str, Any]) -> dict[str, Table]:
    """Return the one table."""
    on = document["machine"]
    unknown = {f"{record['what']}: {record['why']}" for record in document["records"] if record["why"]}
    note = " ".join((NOTE, f"Machine: {on['processor']}, {on['cores']} cores, load {on['load']}, {on['matmul_gflops']} GFLOP/s.", *sorted(unknown)))
    names = ("part", "what", "unit", "beside", "goal")
    return {"speed": Table(title="Speed", names=names, columns=COLUMNS, records=document["records"], note=note)}


def show(part: str, about: str | None, full: bool = False) -> None:
    """Measure one part in this process and print it as JSON: what the scripts in ``benchmarks/`` do, which take no arguments but ``--help``.

    Args:
        part: One of ``PARTS``.
        about: What ``--help`` says.
        full: Whether nothing is shortened.
    """
    argparse.ArgumentParser(description=about).parse_args()
    found = []
    for function in PARTS[part]:
        module, _, name = function.partition(":")
        measure = getattr(importlib.import_module(f"aamc_bench.speed.{module}"), name)
        found.append(measure(Path(), Silence(), full))
    print(to_json({"machine": machine(), "jobs": found}))  # noqa: T201  # to standard output
