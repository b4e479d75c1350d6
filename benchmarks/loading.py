"""The time of reading published files as datasets, compared with only parsing them.

``AAMC_DATA=FOLDER python benchmarks/loading.py`` prints a JSON line for each format. Both are measured in turns in one run; ``ratio``
is the time of a dataset over that of the bare rows of ``csv`` or ``json``. The folder holds some of ``llmrouter``, ``routellm``
and ``routerarena``, as their sources publish them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aamc_sdk import DatasetFormat, ModelSpec, Pool, Services, get_plugin_manager
from aamc_sdk.routing import LinearReward

FORMATS = ("llmrouter", "routellm", "routerarena")
RUNS = 7


def parse(folder: Path) -> None:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open(encoding="utf-8", newline="") as lines:
            if file.suffix == ".csv":
                list(csv.reader(lines))
            elif file.suffix == ".jsonl":
                [json.loads(line) for line in lines]
            else:
                json.load(lines)


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def measure(reader: DatasetFormat, folder: Path) -> dict[str, Any]:
    """Return the times of parsing a folder and of reading it as a dataset."""
    rows = len(reader.read(str(folder)))  # also fills the disk's cache
    pairs = [(seconds(parse, folder), seconds(reader.read, str(folder))) for _ in range(RUNS)]
    bare, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"rows": rows, "runs": RUNS, "bare_s": bare, "dataset_s": ours, "ratio": statistics.median(mine / other for other, mine in pairs)}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    data, plugins = Path(os.environ["AAMC_DATA"]), get_plugin_manager()
    services = Services(pool=Pool([ModelSpec("any")]), reward=LinearReward(), make=lambda *_: None)
    for name in FORMATS:
        if (data / name).is_dir():
            print(json.dumps({"format": name, **measure(plugins.make("dataset", name, services), data / name)}))


if __name__ == "__main__":
    main()
